//! Servers whose keys in Redis are of different layouts.

use switchboard_tests::behaviour::{Behaviour, PROCESSES};
use switchboard_tests::behaviours;
use switchboard_tests::command_line::run;
use switchboard_tests::matrix::Cell;
use switchboard_tests::patience::eventually;
use switchboard_tests::server::Server;
use switchboard_tests::settings::Settings;

pub(crate) const LIST: &[Behaviour] = behaviours![
    (
        PROCESSES.single_redis(),
        a_server_of_another_layout_is_refused_by_name_at_the_start_and_later
    ),
    (
        PROCESSES.single_redis(),
        a_redis_that_was_emptied_is_marked_again
    ),
];

const MARK: &str = "version=1 partitions=1024";

/// Two layouts at one place would be two clusters, each of which takes the other's users for offline.
fn a_server_of_another_layout_is_refused_by_name_at_the_start_and_later(cell: Cell) {
    let cluster = cell.start(1);
    assert_eq!(mark(cluster.redis()), Some(MARK.to_owned()));
    let settings = Settings::for_tests()
        .with("redis", cluster.redis().url())
        .with("partitions", 512)
        .with_file("cluster_secret_file", "a secret of this cluster");
    let other = Server::start_unready(cell.fleet.adapter(0), &settings);
    let said = "are spread over 1024 partitions, and this server has --partitions 512";
    other.await_log(said);
    assert!(
        other.log().contains("ERROR"),
        "somebody has to do something"
    );
    assert!(!other.api().is_ready());
    let file = other.settings_file().display().to_string();
    let output = run(cell.fleet.adapter(0), &["check", "--config", &file]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(said), "{text}");
    assert_eq!(cluster[0].api().instances().len(), 1, "it writes no lease");

    let _: String = cluster
        .redis()
        .command(&["SET", "sb:layout", "version=9 partitions=1024"]);
    eventually("the one that runs notices", || {
        cluster[0].log().contains("are of layout 9") && !is_up(&cluster[0])
    });
    let _: i64 = cluster.redis().command(&["DEL", "sb:layout"]);
    eventually("one of the two is taken", || {
        is_up(&cluster[0]) != is_up(&other)
    });
}

/// Whoever comes next finds the mark of those who are there.
fn a_redis_that_was_emptied_is_marked_again(cell: Cell) {
    let cluster = cell.start(1);
    let _: String = cluster.redis().command(&["FLUSHALL"]);
    eventually("it is marked again", || {
        mark(cluster.redis()) == Some(MARK.to_owned())
    });
    assert!(is_up(&cluster[0]));
}

/// Whether it has a directory link.
fn is_up(server: &Server) -> bool {
    server.api().metric("switchboard_directory_up") == 1.0
}

fn mark(redis: &switchboard_tests::redis::RedisServer) -> Option<String> {
    redis.command(&["GET", "sb:layout"])
}
