//! Leases: who takes them, who keeps them, when they expire.

use switchboard_core::directory::{
    Lease, LeaseState, Load, Operation, OperationError, Reply, SeenLease,
};
use switchboard_core::id::{Epoch, InstanceId};

use crate::pair::{LEASE, Pair, RedisDirectory, TICK};
use crate::{claim, lease};

/// Where the leases are.
const INSTANCES: &str = "sb:{p0000}instances";

#[test]
fn a_claim_needs_a_higher_epoch_than_the_entrys_dead_or_alive() {
    let mut pair = Pair::start();
    assert_eq!(pair.reply(&claim(1, 2)), Reply::Claimed { replaced: None });
    for _ in ["alive", "dead"] {
        for epoch in [1, 2] {
            let standing = Epoch::new(2);
            assert_eq!(
                pair.reply(&claim(1, epoch)),
                Reply::ClaimRefused { epoch: standing }
            );
        }
        pair.pass(TICK * 4);
    }
    let replaced = Some(lease(2));
    assert_eq!(pair.reply(&claim(1, 3)), Reply::Claimed { replaced });
}

/// H36: an epoch that nobody can have counted to is nobody's: it is not counted on from, not even where
/// it is still read.
#[test]
fn an_entry_with_an_epoch_that_nobody_can_have_gives_way() {
    let mut redis = RedisDirectory::start();
    let id = InstanceId::new(1).to_string();
    for epoch in ["ffffffffffffffff", "8000000000000000", "4000000000000000"] {
        let entry = format!("99999999999999 0 0 {epoch} 0000000000000001 7 up 127.0.0.1:9");
        redis.raw::<()>(&["HSET", INSTANCES, &id, &entry]);
        let readable = epoch.starts_with('4');
        match redis.execute(&Operation::View) {
            Ok(Reply::Leases { leases, malformed }) => {
                assert_eq!(
                    (leases.len(), malformed),
                    (readable.into(), (!readable).into())
                );
            }
            other => panic!("{epoch}: {other:?}"),
        }
        let claimed = redis.execute(&claim(1, 5));
        assert!(
            matches!(claimed, Ok(Reply::Claimed { .. })),
            "{epoch}: {claimed:?}"
        );
        assert_eq!(
            redis.execute(&read_lease(1)),
            Ok(Reply::Lease(Some(lease(5))))
        );
    }
    let highest = (1 << 62) - 1;
    let mut pair = Pair::start();
    assert_eq!(
        pair.reply(&claim(1, highest)),
        Reply::Claimed { replaced: None }
    );
    let epoch = Epoch::new(highest);
    assert_eq!(pair.reply(&claim(1, 6)), Reply::ClaimRefused { epoch });
    assert!(epoch.next() <= Epoch::LAST, "what is claimed next is read");
    let replaced = Some(lease(highest));
    assert_eq!(
        pair.reply(&claim(1, highest + 1)),
        Reply::Claimed { replaced }
    );
    let replaced = Some(lease(highest + 1));
    assert_eq!(pair.reply(&claim(1, 7)), Reply::Claimed { replaced });
}

/// H29: a late renewal brings nothing back, neither what was released nor what has expired nor what
/// was lost.
#[test]
fn a_renewal_revives_no_lease() {
    let mut pair = Pair::start();
    assert_eq!(pair.reply(&renew(1, 1)), Reply::Lost);

    assert_eq!(pair.reply(&claim(1, 1)), Reply::Claimed { replaced: None });
    let release = Operation::Release {
        instance: InstanceId::new(1),
        expected: lease(1),
    };
    assert_eq!(pair.reply(&release), Reply::Released(true));
    assert_eq!(pair.reply(&renew(1, 1)), Reply::Lost);
    assert!(is_released(&leases(&mut pair)));

    assert_eq!(pair.reply(&claim(2, 1)), Reply::Claimed { replaced: None });
    pair.pass(TICK * 4);
    assert_eq!(pair.reply(&renew(2, 1)), Reply::Lost);
    let left = leases(&mut pair);
    assert!(left.iter().all(|seen| seen.remaining.is_none()), "{left:?}");
}

#[test]
fn a_renewal_needs_the_entry_that_it_expects() {
    let mut pair = Pair::start();
    assert_eq!(pair.reply(&claim(1, 2)), Reply::Claimed { replaced: None });
    assert_eq!(pair.reply(&renew(1, 1)), Reply::Lost);
    assert_eq!(pair.reply(&renew(1, 3)), Reply::Lost);
    assert_eq!(pair.reply(&read_lease(1)), Reply::Lease(Some(lease(2))));
}

/// H33: a lease lasts as long as it is renewed, and one lease time after that.
#[test]
fn a_renewal_extends_the_lease_and_changes_what_it_says() {
    let mut pair = Pair::start();
    assert_eq!(pair.reply(&claim(1, 1)), Reply::Claimed { replaced: None });
    for _ in 0..4 {
        pair.pass(TICK * 3);
        assert_eq!(pair.reply(&renew(1, 1)), Reply::Renewed);
    }
    let settled = Lease {
        floor: Epoch::new(1),
        beat: 7,
        state: LeaseState::Up,
        ..lease(1)
    };
    let renewal = Operation::Renew {
        instance: InstanceId::new(1),
        expected: lease(1),
        lease: settled.clone(),
        load: Load {
            connections: 5,
            pushes: u64::MAX,
        },
    };
    assert_eq!(pair.reply(&renewal), Reply::Renewed);
    let seen = leases(&mut pair);
    assert_eq!((&seen[0].lease, seen[0].load.pushes), (&settled, u64::MAX));
    pair.pass(TICK * 3);
    assert!(leases(&mut pair)[0].remaining.is_some());
    pair.pass(TICK);
    assert_eq!(leases(&mut pair)[0].remaining, None);
}

#[test]
fn a_release_ends_only_what_it_expects() {
    let mut pair = Pair::start();
    assert_eq!(pair.reply(&claim(1, 2)), Reply::Claimed { replaced: None });
    for (expected, released) in [(1, false), (2, true), (2, false)] {
        let release = Operation::Release {
            instance: InstanceId::new(1),
            expected: lease(expected),
        };
        assert_eq!(pair.reply(&release), Reply::Released(released));
    }
    assert!(is_released(&leases(&mut pair)));
}

/// Whether there is one lease, which has ended and says so.
fn is_released(leases: &[SeenLease]) -> bool {
    match leases {
        [seen] => seen.remaining.is_none() && seen.lease.state == LeaseState::Released,
        _ => false,
    }
}

#[test]
fn a_lease_can_be_read_after_it_has_run_out() {
    let mut pair = Pair::start();
    assert_eq!(pair.reply(&read_lease(1)), Reply::Lease(None));
    assert_eq!(pair.reply(&claim(1, 1)), Reply::Claimed { replaced: None });
    pair.pass(TICK * 4);
    assert_eq!(pair.reply(&read_lease(1)), Reply::Lease(Some(lease(1))));
}

/// H32: what a crashed instance leaves behind goes without anybody pushing to its users.
#[test]
fn a_lease_that_has_been_dead_for_ten_lease_times_is_removed_by_the_view() {
    let mut pair = Pair::start();
    assert_eq!(pair.reply(&claim(1, 1)), Reply::Claimed { replaced: None });
    pair.pass(TICK * 36);
    assert_eq!(leases(&mut pair).len(), 1);
    assert_eq!(pair.reply(&claim(2, 1)), Reply::Claimed { replaced: None });
    pair.pass(TICK);
    assert_eq!(leases(&mut pair).len(), 1);
    assert_eq!(pair.redis.raw::<i64>(&["HLEN", INSTANCES]), 1);
}

/// H31: deadlines are set and compared by the server's clock alone, in whole milliseconds.
#[test]
fn a_deadline_is_the_servers_time_and_one_lease() {
    let mut redis = RedisDirectory::start();
    let before = server_millis(&mut redis);
    redis.execute(&claim(1, 1)).expect("claimed");
    let entry: String = redis.raw(&["HGET", INSTANCES, "0000000000000001"]);
    let after = server_millis(&mut redis);
    let deadline: u128 = entry
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .expect("plain digits");
    let set_at = deadline - LEASE.as_millis();
    assert!(
        (before..=after).contains(&set_at),
        "{before} {set_at} {after}"
    );
}

/// H36: nor does a lease that nobody understands.
#[test]
fn malformed_leases_are_skipped_counted_and_claimed() {
    let mut redis = RedisDirectory::start();
    let odd = [
        "",
        "up",
        "9999999999999 1 1 zz 0 up host:1",
        "x 1 1 0000000000000009 0000000000000000 up host:1",
    ];
    for value in odd {
        redis.raw::<()>(&["HSET", INSTANCES, "0000000000000001", value]);
        redis.raw::<()>(&["HSET", INSTANCES, "who", "9999999999999 1 1 up"]);
        assert_eq!(redis.execute(&renew(1, 1)), Ok(Reply::Lost));
        let read = redis.execute(&read_lease(1));
        assert!(
            matches!(read, Err(OperationError::Malformed(_))),
            "{read:?}"
        );
        let view = redis.execute(&Operation::View);
        assert!(
            matches!(&view, Ok(Reply::Leases { leases, malformed: 2 }) if leases.is_empty()),
            "{view:?}"
        );
        assert_eq!(
            redis.execute(&claim(1, 1)),
            Ok(Reply::Claimed { replaced: None })
        );
        assert_eq!(
            redis.execute(&read_lease(1)),
            Ok(Reply::Lease(Some(lease(1))))
        );
        redis.raw::<()>(&["DEL", INSTANCES]);
    }
}

fn read_lease(instance: u64) -> Operation {
    Operation::ReadLease {
        instance: InstanceId::new(instance),
    }
}

#[track_caller]
fn leases(pair: &mut Pair) -> Vec<SeenLease> {
    match pair.reply(&Operation::View) {
        Reply::Leases {
            leases,
            malformed: 0,
        } => leases,
        other => panic!("{other:?}"),
    }
}

fn server_millis(redis: &mut RedisDirectory) -> u128 {
    let (seconds, micros): (u128, u128) = redis.raw(&["TIME"]);
    seconds * 1_000 + micros / 1_000
}

/// A renewal that changes nothing but the deadline.
fn renew(instance: u64, epoch: u64) -> Operation {
    Operation::Renew {
        instance: InstanceId::new(instance),
        expected: lease(epoch),
        lease: lease(epoch),
        load: Load::default(),
    }
}
