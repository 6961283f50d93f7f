//! A directory server of a version that cannot do what is needed.

use switchboard_tests::behaviour::{Behaviour, PROCESSES};
use switchboard_tests::behaviours;
use switchboard_tests::matrix::Cell;
use switchboard_tests::patience::eventually;
use switchboard_tests::relay::Relay;
use switchboard_tests::server::Server;
use switchboard_tests::settings::Settings;

pub(crate) const LIST: &[Behaviour] = behaviours![(
    PROCESSES.single_redis(),
    a_redis_below_7_is_refused_by_name_at_the_start_and_later
)];

/// H39: what a server is too old for would fail at some time, in some way. Its version is altered on the
/// way here, as an upgrade or a proxy alters it; all else is a real server's.
fn a_redis_below_7_is_refused_by_name_at_the_start_and_later(cell: Cell) {
    const VERSION: &str = "redis_version:";
    let mut cluster = cell.start(1);
    let relay = Relay::to(cluster.redis().port());
    let far = format!("redis://127.0.0.1:{}", relay.port());
    let by_name = "is too old and is not used: Redis 7.0 or newer";
    let refused = |server: &Server| {
        let log = server.log();
        log.contains(by_name) && log.contains("Redis 6.")
    };

    relay.alter(VERSION, b'6');
    let settings = Settings::for_tests()
        .with("redis", &*far)
        .with_file("cluster_secret_file", "a secret of this cluster");
    let early = Server::start_unready(cell.fleet.adapter(0), &settings);
    eventually("it is refused at the start", || refused(&early));
    assert!(!early.api().is_ready());
    assert_eq!(cluster[0].api().instances().len(), 1, "it writes no lease");

    relay.restore();
    eventually("it is taken once it is new enough", || {
        early.api().is_ready()
    });
    drop(early);
    let late = cluster.add(|s| s.with("redis", &*far));
    relay.alter(VERSION, b'6');
    relay.cut();
    relay.mend();
    eventually("it is refused later", || refused(&cluster[late]));
    let up = || cluster[late].api().metric("switchboard_directory_up");
    eventually("it counts as away", || up() == 0.0);
}
