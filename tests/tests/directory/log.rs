//! Logs: what is added, what is kept, what is known of a position.

use std::time::Duration;

use switchboard_core::directory::log::{
    Content, LogOperation, LogPart, LogReply, LogStart, Logged, Place, Retention,
};
use switchboard_core::directory::{Operation, OperationError, Reply};
use switchboard_core::id::PushId;
use switchboard_core::position::{Nonce, Position};
use switchboard_core::time::Instant;
use switchboard_tests::redis::Clock;
use uuid::Uuid;

use crate::pair::{Pair, REPEAT_MEMORY, RedisDirectory, TICK, UNUSED_LOG, USED_LOG};
use crate::{connection, key, register, row};

/// Where the log of `key("ann")` is: head, records, pushes.
const ANN: [&str; 3] = ["sb:{p0417}m:ann", "sb:{p0417}h:ann", "sb:{p0417}d:ann"];

/// No multiple of [`TICK`].
const AGE: Duration = Duration::from_secs(2_000);

#[test]
fn an_append_is_answered_with_the_place_and_the_rows() {
    let mut pair = Pair::start();
    assert_eq!(pair.reply(&register(1, row(1, 1))), Reply::Registered);
    let head = read(&mut pair, LogStart::Last(0)).head;
    let Reply::Log(LogReply::Appended { logged, rows, .. }) = pair.reply(&append(1)) else {
        panic!("an append");
    };
    assert_eq!(rows, [(connection(1), row(1, 1))]);
    let Logged::New(place) = logged else {
        panic!("{logged:?}");
    };
    assert_eq!(place.before, head, "it follows what was the head");
    let part = read(&mut pair, LogStart::After(vec![head]));
    assert_eq!(part.end(), Some(place.position));
    assert_eq!(part.head, place.position);
    assert_eq!(
        (part.records[0].push, &part.records[0].content),
        (push(1), &content())
    );
}

/// Each names the one before it, whatever the nonces are.
#[test]
fn records_are_a_chain() {
    let mut pair = Pair::start();
    let places: Vec<Place> = (0..5).map(|number| added(&mut pair, number)).collect();
    for pair_of_places in places.windows(2) {
        assert_eq!(pair_of_places[1].before, pair_of_places[0].position);
    }
    let part = read(&mut pair, LogStart::After(vec![places[1].position]));
    let positions: Vec<Position> = part.records.iter().map(|record| record.position).collect();
    assert_eq!(positions, [2, 3, 4].map(|at: usize| places[at].position));
    let last = read(&mut pair, LogStart::Last(2));
    assert_eq!(last.after, Some(places[2].position));
    assert_eq!(last.records, part.records[1..]);
}

/// Whoever follows a log to which nobody has written has a position, and misses nothing later.
#[test]
fn a_log_without_records_has_a_position() {
    let mut pair = Pair::start();
    assert_eq!(head(&mut pair), None);
    let begun = read(&mut pair, LogStart::Last(0));
    assert_eq!((begun.head, begun.after), (begun.base, Some(begun.base)));
    assert_eq!(head(&mut pair), Some(begun.head));
    let place = added(&mut pair, 1);
    assert_eq!(place.before, begun.head);
    let part = read(&mut pair, LogStart::After(vec![begun.head]));
    assert_eq!(part.records.len(), 1);
}

/// A position of a lost history, of the same offset, is not one of this history.
#[test]
fn a_position_is_known_if_it_is_equal_and_in_no_other_case() {
    let mut pair = Pair::start();
    let places: Vec<Place> = (0..3).map(|number| added(&mut pair, number)).collect();
    let (base, head) = (places[0].before, places[2].position);
    for known in [base, places[0].position, places[1].position, head] {
        let others = [
            Position::new(known.offset(), known.tag() ^ 1),
            Position::new(known.offset() + 1, known.tag()),
            known
                .offset()
                .checked_sub(1)
                .and_then(|offset| Position::new(offset, known.tag())),
        ];
        for other in others.into_iter().flatten() {
            let part = read(&mut pair, LogStart::After(vec![other]));
            let expected = LogPart {
                head,
                base,
                after: None,
                records: Vec::new(),
            };
            assert_eq!(part, expected, "{other}");
        }
        let part = read(&mut pair, LogStart::After(vec![known]));
        assert_eq!(part.after, Some(known));
        assert_eq!(part.end(), Some(head));
    }
}

/// A terminal that steps back names what it was sent, newest first.
#[test]
fn of_several_positions_the_first_that_is_known_counts() {
    let mut pair = Pair::start();
    let places: Vec<Place> = (0..3).map(|number| added(&mut pair, number)).collect();
    let lost = Position::new(5, 5).expect("it is in range");
    let asked = vec![lost, places[1].position, places[0].position];
    let part = read(&mut pair, LogStart::After(asked));
    assert_eq!(part.after, Some(places[1].position));
    assert_eq!(part.records.len(), 1);
    let asked = [vec![lost; 16], vec![places[1].position]].concat();
    assert_eq!(
        read(&mut pair, LogStart::After(asked)).after,
        None,
        "the 17th is not looked at"
    );
}

#[test]
fn a_read_ends_at_its_limits_and_never_before_the_first_record() {
    let mut pair = Pair::start();
    for number in 0..5 {
        added(&mut pair, number);
    }
    for (records, bytes, expected) in [
        (2, u32::MAX, 2),
        (9, 12, 2),
        (9, 14, 2),
        (9, 15, 3),
        (9, 0, 1),
        (0, 0, 1),
    ] {
        let operation = of_ann(LogOperation::Read {
            start: LogStart::Last(5),
            records,
            bytes,
            nonce: Nonce::new(0),
        });
        let part = part(pair.reply(&operation));
        assert_eq!(
            part.records.len(),
            expected,
            "{records} records, {bytes} bytes"
        );
        assert_ne!(part.end(), Some(part.head), "there are more");
    }
}

/// The base is the position that was removed last: who has read it misses nothing, who has not does.
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

/// Nobody may take records that ran out for records that he has seen.
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

/// H49: whoever does not know what became of a push asks again, at whatever instance.
#[test]
fn a_repeat_is_the_record_that_stands_there() {
    let mut pair = Pair::start();
    let places: Vec<Place> = (0..3).map(|number| added(&mut pair, number)).collect();
    for (number, place) in (0..).zip(&places) {
        assert_eq!(
            logged(pair.reply(&append(number))),
            Logged::Repeated(*place)
        );
    }
    assert_eq!(read(&mut pair, LogStart::Last(9)).records.len(), 3);
}

#[test]
fn a_repeat_of_a_record_that_was_removed_adds_none() {
    let mut pair = Pair::start();
    let one = Retention {
        records: 1,
        ..retention()
    };
    for number in 0..3 {
        new(pair.reply(&append_kept(number, one)));
    }
    let repeat = |pair: &mut Pair, number| logged(pair.reply(&append_kept(number, one)));
    assert_eq!(repeat(&mut pair, 1), Logged::Expired);
    assert!(matches!(repeat(&mut pair, 2), Logged::Repeated(_)));
    // Twice as many are remembered as are kept.
    assert!(matches!(repeat(&mut pair, 0), Logged::New(_)));
}

/// The record at the distance of a push that is remembered is that push's own, or none.
#[test]
fn a_repeat_is_told_from_the_record_of_another_push() {
    let mut redis = RedisDirectory::start();
    for number in 1..3 {
        assert!(redis.execute(&append(number)).is_ok());
    }
    redis.raw::<()>(&["RPOP", ANN[2]]);
    let Ok(reply) = redis.execute(&append(1)) else {
        panic!("an append");
    };
    assert_eq!(logged(reply), Logged::Expired);
}

#[test]
fn pushes_are_remembered_for_a_while_after_the_last_one() {
    let mut pair = Pair::start();
    let first = added(&mut pair, 1);
    pair.pass(TICK * 3);
    assert_eq!(logged(pair.reply(&append(1))), Logged::Repeated(first));
    pair.pass(TICK);
    assert!(REPEAT_MEMORY < TICK * 4, "a repeat prolongs nothing");
    assert!(matches!(logged(pair.reply(&append(1))), Logged::New(_)));
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
                LogReply::Head(_) | LogReply::Deleted { .. } => panic!("{reply:?}"),
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

/// 2^53, beyond which a number of Lua or of JavaScript is not exact.
#[test]
fn a_log_without_offsets_takes_no_record_until_it_begins_anew() {
    let last = Position::OFFSET_LAST;
    let mut pair = Pair::start();
    let near = |micros| Instant::from_nanos(micros * 1_000);
    pair.turn_to(near(last - 4_096));
    let head = read(&mut pair, LogStart::Last(0)).head;
    let greedy = |number| append_with(number, Nonce::new(4_095), retention());
    let place = new(pair.reply(&greedy(1)));
    assert_eq!(place.position.offset(), last, "{head}");
    let refused = |outcome| matches!(outcome, Err(OperationError::Refused(why)) if why.starts_with("NOOFFSETS"));
    assert!(refused(pair.execute(&greedy(2))));
    assert_eq!(logged(pair.reply(&greedy(1))), Logged::Repeated(place));
    assert_eq!(
        read(&mut pair, LogStart::After(vec![place.before]))
            .records
            .len(),
        1
    );
    assert_eq!(delete(&mut pair), 1);
    assert_eq!(crate::log::head(&mut pair), None);
    pair.turn_to(near(last + 1));
    assert!(refused(pair.execute(&append(2))));
    assert!(refused(pair.execute(&of_ann(start(LogStart::Last(0))))));
    assert_eq!(
        pair.redis.raw::<i64>(&["DBSIZE"]),
        0,
        "a refusal writes nothing"
    );
    pair.turn_to(near(last / 2));
    new(pair.reply(&greedy(2)));
}

/// H31: offsets are the server's time alone.
#[test]
fn an_offset_is_the_servers_time() {
    let mut redis = RedisDirectory::by(Clock::Servers);
    let before = server_micros(&mut redis);
    let Ok(Reply::Log(LogReply::Part(begun))) = redis.execute(&of_ann(start(LogStart::Last(0))))
    else {
        panic!("a log");
    };
    assert!((before..=server_micros(&mut redis)).contains(&begun.head.offset()));
    redis.raw::<()>(&["DEL", ANN[0]]);
    let Ok(Reply::Log(LogReply::Appended {
        logged: Logged::New(place),
        ..
    })) = redis.execute(&append_with(1, Nonce::new(4_096), retention()))
    else {
        panic!("a new record");
    };
    let after = server_micros(&mut redis);
    assert!((before..=after).contains(&place.before.offset()));
    assert_eq!(place.position.offset(), place.before.offset() + 1);
    assert_eq!(place.position.tag(), 4_096);
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

/// H36: a record that nobody can read is told of, and not left out: whoever follows would miss it. It hides no other.
#[test]
fn what_is_no_record_is_told_of_and_hides_no_other() {
    let mut redis = RedisDirectory::start();
    assert!(redis.execute(&append(1)).is_ok());
    for junk in ["twelve bytes", "short"] {
        redis.raw::<()>(&["RPUSH", ANN[1], junk]);
    }
    assert!(redis.execute(&append(2)).is_ok());
    let Ok(Reply::Log(LogReply::Part(all))) = redis.execute(&of_ann(start(LogStart::Last(9))))
    else {
        panic!("it can be read");
    };
    let flags: Vec<_> = all
        .records
        .iter()
        .map(|record| record.content.flags)
        .collect();
    assert_eq!(flags, [1, Content::UNKNOWN, Content::UNKNOWN, 1]);
    let first = all.records[0].position;
    let behind = redis.execute(&of_ann(start(LogStart::After(vec![first]))));
    let Ok(Reply::Log(LogReply::Part(behind))) = behind else {
        panic!("{behind:?}");
    };
    assert_eq!(behind.records, all.records[1..]);
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

fn server_micros(redis: &mut RedisDirectory) -> u64 {
    let (seconds, micros): (u64, u64) = redis.raw(&["TIME"]);
    seconds * 1_000_000 + micros
}

fn of_ann(operation: LogOperation) -> Operation {
    let key = key("ann");
    Operation::Log { key, operation }
}

fn append(number: u128) -> Operation {
    append_kept(number, retention())
}

fn append_kept(number: u128, retention: Retention) -> Operation {
    append_with(number, Nonce::new(0x1234_5678 + number as u32), retention)
}

fn append_with(number: u128, nonce: Nonce, retention: Retention) -> Operation {
    of_ann(LogOperation::Append {
        push: push(number),
        content: content(),
        nonce,
        retention,
    })
}

fn start(start: LogStart) -> LogOperation {
    LogOperation::Read {
        start,
        records: 100,
        bytes: u32::MAX,
        nonce: Nonce::new(0xABCD),
    }
}

fn push(number: u128) -> PushId {
    PushId::new(Uuid::from_u128(number))
}

/// Five bytes.
fn content() -> Content {
    Content {
        flags: 1,
        bytes: b"hello"[..].into(),
    }
}

fn retention() -> Retention {
    Retention {
        records: 100,
        bytes: 1 << 20,
        age: AGE,
    }
}

#[track_caller]
fn added(pair: &mut Pair, number: u128) -> Place {
    new(pair.reply(&append(number)))
}

#[track_caller]
fn new(reply: Reply) -> Place {
    match logged(reply) {
        Logged::New(place) => place,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn logged(reply: Reply) -> Logged {
    match reply {
        Reply::Log(LogReply::Appended { logged, .. }) => logged,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn read(pair: &mut Pair, from: LogStart) -> LogPart {
    part(pair.reply(&of_ann(start(from))))
}

#[track_caller]
fn part(reply: Reply) -> LogPart {
    match reply {
        Reply::Log(LogReply::Part(part)) => part,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn head(pair: &mut Pair) -> Option<Position> {
    match pair.reply(&of_ann(LogOperation::Head)) {
        Reply::Log(LogReply::Head(head)) => head,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn delete(pair: &mut Pair) -> u32 {
    let nonce = Nonce::new(0xDE1E7E);
    match pair.reply(&of_ann(LogOperation::Delete { nonce })) {
        Reply::Log(LogReply::Deleted { records }) => records,
        other => panic!("{other:?}"),
    }
}
