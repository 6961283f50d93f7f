//! What a log keeps, what gives way, and how it ends.

use std::time::Duration;

use switchboard_core::directory::log::{
    Content, LogOperation, LogReply, LogStart, Logged, Place, Retention,
};
use switchboard_core::directory::{Operation, OperationError, Reply};
use switchboard_core::position::{Nonce, Position};

use super::asked::{
    AGE, ANN, added, append, append_kept, delete, head, logged, new, of_ann, push, read, retention,
    start,
};
use crate::pair::{Pair, REPEAT_MEMORY, RedisDirectory, TICK, UNUSED_LOG, USED_LOG};

/// H60: the base is the position that was removed last: a reader that has read it misses nothing, one that has not does.
#[test]
fn the_oldest_records_give_way_by_number_bytes_and_age() {
    let by_number = Retention {
        records: 2,
        ..retention()
    };
    let by_bytes = Retention {
        bytes: 10,
        ..retention()
    };
    for retention in [by_number, by_bytes] {
        let mut pair = Pair::start();
        let places: Vec<Place> = (0..3)
            .map(|number| new(pair.reply(&append_kept(number, retention))))
            .collect();
        trimmed_to(&mut pair, &places, 2);
    }
    let mut pair = Pair::start();
    let mut places = vec![added(&mut pair, 0), added(&mut pair, 1)];
    pair.pass(TICK * 3);
    places.push(added(&mut pair, 2));
    assert_eq!(read(&mut pair, LogStart::Last(9)).records.len(), 3);
    pair.pass(TICK * 4);
    places.push(added(&mut pair, 3));
    trimmed_to(&mut pair, &places, 2);
}

/// The newest record stays, whatever its size.
#[test]
fn a_record_that_does_not_fit_is_kept_alone() {
    let mut pair = Pair::start();
    let nothing = Retention {
        records: 0,
        bytes: 0,
        age: AGE,
    };
    let places: Vec<Place> = (0..2)
        .map(|number| new(pair.reply(&append_kept(number, nothing))))
        .collect();
    trimmed_to(&mut pair, &places, 1);
}

/// Nobody may take records that expired for records that he has seen.
#[test]
fn records_run_out_together_and_the_head_stays() {
    let mut pair = Pair::start();
    let places = [added(&mut pair, 0), added(&mut pair, 1)];
    pair.pass(TICK * 7);
    let part = read(
        &mut pair,
        LogStart::After(vec![places[0].position, places[0].before]),
    );
    assert_eq!((part.after, part.base), (None, places[1].position));
    let part = read(&mut pair, LogStart::After(vec![places[1].position]));
    assert_eq!(
        part.after,
        Some(places[1].position),
        "who has all misses nothing"
    );
    let next = added(&mut pair, 2);
    assert_eq!(next.before, places[1].position);
    let part = read(&mut pair, LogStart::After(vec![next.before]));
    assert_eq!(part.records.len(), 1);
    assert_eq!(part.base, next.before);
}

/// A log to which nobody writes ends, unless somebody looks at it, and then sooner than another one.
#[test]
fn a_log_ends_when_nobody_has_looked_at_it_for_long() {
    let mut pair = Pair::start();
    let begun = read(&mut pair, LogStart::Last(0));
    for _ in 0..4 {
        pair.pass(TICK * 9);
        assert_eq!(
            read(&mut pair, LogStart::Last(0)).head,
            begun.head,
            "it was prolonged"
        );
    }
    pair.pass(TICK * 14);
    assert!(UNUSED_LOG < TICK * 14);
    assert_eq!(head(&mut pair), None);
    let place = added(&mut pair, 1);
    pair.pass(TICK * 14);
    assert_eq!(head(&mut pair), Some(place.position));
    pair.pass(TICK * 4);
    read(&mut pair, LogStart::Last(0));
    pair.pass(TICK * 32);
    assert_eq!(head(&mut pair), Some(place.position), "it was prolonged");
    pair.pass(TICK * 2);
    assert!(USED_LOG < TICK * 34);
    assert_eq!(head(&mut pair), None);
}

/// A look at the head costs as little as it can, and prolongs nothing.
#[test]
fn a_look_at_the_head_prolongs_nothing() {
    let mut pair = Pair::start();
    let begun = read(&mut pair, LogStart::Last(0)).head;
    pair.pass(TICK * 12);
    assert_eq!(head(&mut pair), Some(begun));
    pair.pass(TICK * 2);
    assert_eq!(head(&mut pair), None);
}

/// What begins anew has nothing of what was before: no record, and no push that is remembered.
#[test]
fn a_log_whose_head_was_lost_begins_anew() {
    let mut redis = RedisDirectory::start();
    for operation in [append(1), of_ann(start(LogStart::Last(9)))] {
        for lost in ["", "no head"] {
            assert!(redis.execute(&append(1)).is_ok());
            match lost {
                "" => redis.raw::<()>(&["DEL", ANN[0]]),
                text => redis.raw::<()>(&["SET", ANN[0], text]),
            }
            let Ok(Reply::Log(reply)) = redis.execute(&operation) else {
                panic!("{operation:?}");
            };
            match reply {
                LogReply::Appended { logged, .. } => assert!(matches!(logged, Logged::New(_))),
                LogReply::Part(part) => assert_eq!(part.records, []),
                LogReply::Head(_) | LogReply::Confirmed { .. } | LogReply::Deleted { .. } => {
                    panic!("{reply:?}")
                }
            }
            let kept = if matches!(
                operation,
                Operation::Log {
                    operation: LogOperation::Append { .. },
                    ..
                }
            ) {
                1
            } else {
                0
            };
            assert_eq!(redis.raw::<usize>(&["LLEN", ANN[1]]), kept);
            assert_eq!(redis.raw::<usize>(&["LLEN", ANN[2]]), kept);
        }
    }
}

/// Everybody who follows it finds a position that he does not know, also who has read all.
#[test]
fn a_log_that_is_deleted_goes_on_at_a_position_that_nobody_has() {
    let mut pair = Pair::start();
    assert_eq!(delete(&mut pair), 0);
    assert_eq!(
        head(&mut pair),
        None,
        "a log that is not there does not begin"
    );
    let places: Vec<Place> = (0..3).map(|number| added(&mut pair, number)).collect();
    assert_eq!(delete(&mut pair), 3);
    let now = head(&mut pair).expect("it goes on");
    for place in &places {
        for position in [place.before, place.position] {
            assert_ne!(position, now);
            assert_eq!(read(&mut pair, LogStart::After(vec![position])).after, None);
        }
    }
    assert_eq!(
        logged(pair.reply(&append(1))),
        Logged::Expired,
        "a repeat brings nothing back"
    );
    assert_eq!(added(&mut pair, 7).before, now);
    assert_eq!(delete(&mut pair), 1);
    assert_eq!(delete(&mut pair), 0);
}

/// H28: nothing of a log stands without an expiry.
#[test]
fn everything_of_a_log_expires() {
    let mut pair = Pair::start();
    read(&mut pair, LogStart::Last(0));
    let left = |pair: &mut Pair, at: usize| -> u128 {
        u128::try_from(pair.redis.raw::<i64>(&["PTTL", ANN[at]])).expect("it expires")
    };
    let lasts = |left: u128, span: Duration| {
        (span - TICK..=span).contains(&Duration::from_millis(left as u64))
    };
    assert!(lasts(left(&mut pair, 0), UNUSED_LOG));
    added(&mut pair, 1);
    for (at, span) in [(0, USED_LOG), (1, AGE), (2, REPEAT_MEMORY)] {
        assert!(lasts(left(&mut pair, at), span), "{}", ANN[at]);
    }
    delete(&mut pair);
    assert!(lasts(left(&mut pair, 0), USED_LOG));
}

/// H28: a refused append leaves nothing behind, and what frees memory is served.
#[test]
fn a_server_without_memory_takes_no_record_and_deletes_a_log() {
    let mut redis = RedisDirectory::start();
    let no_memory =
        |redis: &mut RedisDirectory| redis.raw::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    no_memory(&mut redis);
    for operation in [append(1), of_ann(start(LogStart::Last(0)))] {
        let outcome = redis.execute(&operation);
        assert!(
            matches!(&outcome, Err(OperationError::Refused(error)) if error.starts_with("OOM")),
            "{outcome:?}"
        );
    }
    assert_eq!(redis.raw::<i64>(&["DBSIZE"]), 0);
    redis.raw::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    assert!(redis.execute(&append(1)).is_ok());
    no_memory(&mut redis);
    assert!(redis.execute(&append(2)).is_err());
    assert!(matches!(
        redis.execute(&of_ann(start(LogStart::Last(9)))),
        Ok(Reply::Log(LogReply::Part(part))) if part.records.len() == 1
    ));
    let deleted = redis.execute(&of_ann(LogOperation::Delete {
        nonce: Nonce::new(9),
    }));
    assert_eq!(deleted, Ok(Reply::Log(LogReply::Deleted { records: 1 })));
}

/// What one user costs in Redis's memory: prints it, and holds it below what is promised.
#[test]
fn a_record_of_200_bytes_costs_less_than_800_bytes_in_all() {
    let mut redis = RedisDirectory::start();
    let usage = |redis: &mut RedisDirectory| -> [i64; 3] {
        ANN.map(|key| {
            redis
                .raw::<Option<i64>>(&["MEMORY", "USAGE", key])
                .unwrap_or(0)
        })
    };
    assert!(redis.execute(&of_ann(start(LogStart::Last(0)))).is_ok());
    println!("no record: {:?}", usage(&mut redis));
    for size in [100, 200] {
        redis.raw::<()>(&["FLUSHALL"]);
        let operation = of_ann(LogOperation::Append {
            push: push(1),
            content: Content {
                flags: 0,
                bytes: vec![7; size].into(),
            },
            nonce: Nonce::new(1),
            retention: Retention::default(),
        });
        assert!(redis.execute(&operation).is_ok());
        let usage = usage(&mut redis);
        let sum: i64 = usage.iter().sum();
        println!("one record of {size} bytes: {usage:?} = {sum}");
        assert!(sum < 800, "{size}: {usage:?}");
    }
}

#[track_caller]
fn trimmed_to(pair: &mut Pair, places: &[Place], kept: usize) {
    let removed = &places[..places.len() - kept];
    let part = read(pair, LogStart::Last(u32::MAX));
    let positions: Vec<Position> = part.records.iter().map(|record| record.position).collect();
    let expected: Vec<Position> = places[removed.len()..]
        .iter()
        .map(|place| place.position)
        .collect();
    assert_eq!(positions, expected);
    let last = removed.last().expect("some are removed");
    assert_eq!(
        (part.base, part.after),
        (last.position, Some(last.position))
    );
    let missed = places[0].before;
    assert_eq!(read(pair, LogStart::After(vec![missed])).after, None);
    let at_base = read(pair, LogStart::After(vec![last.position]));
    assert_eq!(at_base.records.len(), kept);
}
