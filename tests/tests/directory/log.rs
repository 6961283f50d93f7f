//! Logs: what is added, what is known of a position, what is a repeat.

mod asked;
mod kept;

use switchboard_core::directory::log::{
    ChannelRows, Content, LogOperation, LogPart, LogReply, LogStart, Logged, Place, Retention,
};
use switchboard_core::directory::{Operation, OperationError, Reply};
use switchboard_core::id::{Epoch, InstanceId, TopicId};
use switchboard_core::position::{Nonce, Position};
use switchboard_core::time::Instant;
use switchboard_tests::redis::Clock;

use crate::pair::{Pair, REPEAT_MEMORY, RedisDirectory, TICK};
use crate::{connection, register, row};
use asked::{
    ANN, added, append, append_kept, append_with, content, delete, head, logged, new, of_ann, part,
    push, read, retention, server_micros, start,
};

#[test]
fn an_append_is_answered_with_the_place_and_the_rows() {
    let mut pair = Pair::start();
    assert_eq!(pair.reply(&register(1, row(1, 1))), Reply::Registered);
    let head = read(&mut pair, LogStart::Last(0)).head;
    let Reply::Log(LogReply::Appended { logged, rows, .. }) = pair.reply(&append(1)) else {
        panic!("an append");
    };
    let expected = ChannelRows::Terminals(vec![(connection(1), row(1, 1))]);
    assert_eq!(rows, expected);
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

/// A topic may be called as a user is: the log of one is not that of the other, and one trip says where the members are.
#[test]
fn the_log_of_a_topic_is_its_own_and_its_append_is_answered_with_instances() {
    let mut pair = Pair::start();
    let of_user = added(&mut pair, 1);
    let topic = TopicId::new("ann").expect("a topic");
    let entered = Operation::EnterTopic {
        topic: topic.clone(),
        instance: InstanceId::new(7),
        epoch: Epoch::new(3),
    };
    assert_eq!(pair.reply(&entered), Reply::Registered);
    let of_topic = |operation: Operation| match operation {
        Operation::Log { operation, .. } => Operation::Log {
            channel: topic.clone().into(),
            operation,
        },
        other => other,
    };
    let reply = pair.reply(&of_topic(append(1)));
    let Reply::Log(LogReply::Appended { logged, rows, .. }) = reply else {
        panic!("an append");
    };
    let expected = ChannelRows::Instances(vec![(InstanceId::new(7), Epoch::new(3))]);
    assert_eq!(rows, expected);
    let Logged::New(place) = logged else {
        panic!("the push of the user's log is none of this one: {logged:?}");
    };
    assert_ne!(place.before, of_user.position);
    assert_eq!(head(&mut pair), Some(of_user.position));
    let of_topic_head = pair.reply(&of_topic(of_ann(LogOperation::Head)));
    let expected = Reply::Log(LogReply::Head(Some(place.position)));
    assert_eq!(of_topic_head, expected);
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

/// H59: a position of a lost history, of the same offset, is not one of this history.
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

/// A terminal that keeps an offset alone goes on behind what is known at it, and at no other.
#[test]
fn an_offset_alone_is_known_whatever_its_tag() {
    let mut pair = Pair::start();
    let begun = read(&mut pair, LogStart::Last(0)).head;
    let part = read(&mut pair, LogStart::Behind(begun.offset()));
    assert_eq!((part.after, part.records.len()), (Some(begun), 0));
    let places: Vec<Place> = (0..3).map(|number| added(&mut pair, number)).collect();
    let known = [places[0].before, places[0].position, places[1].position];
    let head = places[2].position;
    let offsets = known
        .map(Position::offset)
        .into_iter()
        .chain([head.offset()]);
    let offsets: Vec<u64> = offsets.collect();
    let behind = [3, 2, 1, 0];
    for (known, behind) in known.into_iter().chain([head]).zip(behind) {
        let part = read(&mut pair, LogStart::Behind(known.offset()));
        assert_eq!((part.after, part.records.len()), (Some(known), behind));
        let offset = known.offset();
        let others = [offset.wrapping_sub(1), offset + 1, offset + (1 << 40)];
        for other in others.into_iter().filter(|other| !offsets.contains(other)) {
            let part = read(&mut pair, LogStart::Behind(other));
            assert_eq!((part.after, part.records.len()), (None, 0), "{other}");
        }
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
fn a_read_ends_at_its_limits_and_with_one_record_at_least_if_it_is_to_have_any() {
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
        (0, u32::MAX, 0),
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

/// H49, H61: whoever does not know what became of a push asks again, at whatever instance.
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
    let last = u128::from(one.pushes());
    for number in 0..=last {
        new(pair.reply(&append_kept(number, one)));
    }
    let repeat = |pair: &mut Pair, number| logged(pair.reply(&append_kept(number, one)));
    assert_eq!(repeat(&mut pair, 1), Logged::Expired);
    assert!(matches!(repeat(&mut pair, last), Logged::Repeated(_)));
    // So many are remembered, however few are kept.
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
