//! Logs as an application reads them, and has them deleted.

use std::time::Duration;

use super::pair;
use crate::directory::Operation;
use crate::event::{Answer, Event};
use crate::frame::Payload;
use crate::id::{CallId, UserId};
use crate::logs::{LogAnswer, LogPage, LogQuery, LogRefused, LogRequest};
use crate::message::{Durable, InLog, Push};
use crate::position::Position;
use crate::testing::cluster::{Cluster, Server, frame, user};
use crate::testing::rig;

/// Asks an instance about the log of ann.
fn ask(cluster: &mut Cluster, instance: usize, request: LogRequest) -> CallId {
    let call = CallId::new(1_000 + cluster.answers.len() as u64);
    let user = UserId::new("ann").expect("a user");
    let asked = Event::Log {
        call,
        channel: user.into(),
        request,
    };
    cluster.event(instance, asked);
    call
}

fn answer(
    cluster: &mut Cluster,
    instance: usize,
    request: LogRequest,
) -> Result<LogAnswer, LogRefused> {
    let call = ask(cluster, instance, request);
    match cluster.answers.get(&call) {
        Some(Answer::Log(answer)) => answer.clone(),
        other => panic!("no answer about a log: {other:?}"),
    }
}

fn read(cluster: &mut Cluster, instance: usize, query: LogQuery) -> LogPage {
    match answer(cluster, instance, LogRequest::Read(query)) {
        Ok(LogAnswer::Page(page)) => page,
        other => panic!("no page: {other:?}"),
    }
}

fn durable(cluster: &mut Cluster, text: &str, id: u128) -> Position {
    let push = Push {
        durable: Some(Durable::default()),
        ..frame(user("ann"), text, id)
    };
    let call = cluster.call_push(0, push);
    match cluster.receipt(call).logged[0].logged {
        InLog::At(position) => position,
        other @ (InLog::Expired | InLog::Unknown | InLog::Refused | InLog::Unlogged) => {
            panic!("{other:?}")
        }
    }
}

fn texts(page: &LogPage) -> Vec<Option<Payload>> {
    let payloads = page.records.iter().map(|record| record.payload.clone());
    payloads.collect()
}

fn payloads(texts: &[&str]) -> Vec<Option<Payload>> {
    let payload = |text: &&str| Some(Payload::from((*text).to_owned()));
    texts.iter().map(payload).collect()
}

#[test]
fn a_log_is_read_page_by_page_at_any_instance() {
    let mut cluster = pair();
    let positions: Vec<_> = ["a", "b", "c"]
        .iter()
        .zip(1..)
        .map(|(text, id)| durable(&mut cluster, text, id))
        .collect();
    let of_two = LogQuery {
        limit: 2,
        ..LogQuery::default()
    };
    let first = read(&mut cluster, 1, of_two.clone());
    assert_eq!(texts(&first), payloads(&["a", "b"]));
    assert_eq!(
        (first.has_more(), first.head, first.end()),
        (true, positions[2], Some(positions[1]))
    );
    assert_eq!(first.after, Some(first.base));

    let rest = LogQuery {
        after: vec![positions[1]],
        ..of_two
    };
    let rest = read(&mut cluster, 0, rest);
    assert_eq!(texts(&rest), payloads(&["c"]));
    assert_eq!((rest.has_more(), rest.after), (false, Some(positions[1])));

    let last = LogQuery {
        history: 1,
        ..LogQuery::default()
    };
    assert_eq!(texts(&read(&mut cluster, 0, last)), payloads(&["c"]));
}

/// H42: no log is a result, from which reading can go on.
#[test]
fn a_log_without_records_has_a_position() {
    let mut cluster = pair();
    let page = read(&mut cluster, 0, LogQuery::default());
    assert_eq!((page.records.len(), page.has_more()), (0, false));
    assert_eq!((page.after, page.base), (Some(page.head), page.head));
    durable(&mut cluster, "a", 1);
    let behind = LogQuery {
        after: vec![page.head],
        ..LogQuery::default()
    };
    assert_eq!(texts(&read(&mut cluster, 1, behind)), payloads(&["a"]));
}

#[test]
fn a_position_that_the_log_does_not_know_has_nothing_behind_it() {
    let mut cluster = pair();
    durable(&mut cluster, "a", 1);
    let unknown = LogQuery {
        after: vec![Position::new(1, 1).expect("in range")],
        ..LogQuery::default()
    };
    let page = read(&mut cluster, 0, unknown);
    assert_eq!(
        (page.after, page.records.len(), page.has_more()),
        (None, 0, false)
    );
    let kept = LogQuery {
        after: vec![page.base],
        ..LogQuery::default()
    };
    assert_eq!(texts(&read(&mut cluster, 0, kept)), payloads(&["a"]));
}

#[test]
fn what_is_deleted_is_gone_and_its_positions_are_unknown() {
    let mut cluster = pair();
    let held = durable(&mut cluster, "a", 1);
    durable(&mut cluster, "b", 2);
    let deleted = answer(&mut cluster, 1, LogRequest::Delete);
    assert_eq!(deleted, Ok(LogAnswer::Deleted { records: 2 }));
    let behind = LogQuery {
        after: vec![held],
        ..LogQuery::default()
    };
    assert_eq!(read(&mut cluster, 0, behind).after, None);
    let none = answer(&mut cluster, 0, LogRequest::Delete);
    assert_eq!(none, Ok(LogAnswer::Deleted { records: 0 }));
}

/// Whoever has read all has missed nothing: a request that is repeated, as its answer was lost, tells nobody of a gap.
#[test]
fn to_delete_a_log_without_records_moves_nobody() {
    let mut cluster = pair();
    durable(&mut cluster, "a", 1);
    let head = |cluster: &mut Cluster| read(cluster, 0, LogQuery::default()).head;
    let held = head(&mut cluster);
    answer(&mut cluster, 1, LogRequest::Delete).expect("deleted");
    let behind = head(&mut cluster);
    assert_ne!(behind, held);
    let none = answer(&mut cluster, 1, LogRequest::Delete);
    assert_eq!(none, Ok(LogAnswer::Deleted { records: 0 }));
    assert_eq!(head(&mut cluster), behind);
}

/// H41: nobody waits for a directory that is away, or has refused.
#[test]
fn a_request_that_the_directory_does_not_answer_is_refused() {
    let delete = || LogRequest::Delete;
    let mut cluster = pair();
    cluster.event(0, Event::DirectoryDown);
    let away = answer(&mut cluster, 0, delete());
    assert_eq!(away, Err(LogRefused::DirectoryAway));

    let mut cluster = pair();
    cluster.server = Server::Waits;
    let call = ask(&mut cluster, 0, delete());
    assert!(!cluster.answers.contains_key(&call), "it waits");
    cluster.server = Server::Mute;
    cluster.pass(Duration::from_secs(3));
    let lost = Answer::Log(Err(LogRefused::NoAnswer));
    assert_eq!(cluster.answers.get(&call), Some(&lost));

    let mut cluster = pair();
    cluster.refuses = Some(|_| rig::refused());
    cluster.refused.insert(0);
    let refused = answer(&mut cluster, 0, delete());
    assert_eq!(refused, Err(LogRefused::Refused));
}

#[test]
fn the_stand_of_a_log_is_known_without_a_record() {
    let mut cluster = pair();
    let [first, second] = [(1, "a"), (2, "b")].map(|(id, text)| durable(&mut cluster, text, id));
    for (behind, after) in [
        (None, Some(second)),
        (Some(first.offset()), Some(first)),
        (Some(first.offset() + 1_000_000), None),
    ] {
        let Ok(LogAnswer::Page(page)) = answer(&mut cluster, 0, LogRequest::Stand { behind })
        else {
            panic!("no page");
        };
        assert_eq!((page.head, page.after), (second, after));
        assert!(page.records.is_empty());
    }
}

/// A question alone does not make the directory keep a log.
#[test]
fn the_head_of_a_log_is_known_and_no_log_begins_because_of_it() {
    let mut cluster = pair();
    let head = |cluster: &mut Cluster| answer(cluster, 0, LogRequest::Head);
    for _ in 0..2 {
        assert_eq!(head(&mut cluster), Ok(LogAnswer::Head(None)));
    }
    let [_, second] = [(1, "a"), (2, "b")].map(|(id, text)| durable(&mut cluster, text, id));
    assert_eq!(head(&mut cluster), Ok(LogAnswer::Head(Some(second))));
    cluster.event(0, Event::DirectoryDown);
    assert_eq!(head(&mut cluster), Err(LogRefused::DirectoryAway));
}

#[test]
fn what_no_answer_can_have_is_refused() {
    let mut cluster = pair();
    for limit in [0, LogQuery::LIMIT_MAX + 1] {
        let query = LogQuery {
            limit,
            ..LogQuery::default()
        };
        let refused = answer(&mut cluster, 0, LogRequest::Read(query));
        assert_eq!(refused, Err(LogRefused::Limit));
    }
    let many = LogQuery {
        after: vec![Position::new(1, 1).expect("in range"); LogQuery::AFTER_MAX + 1],
        ..LogQuery::default()
    };
    let refused = answer(&mut cluster, 0, LogRequest::Read(many));
    assert_eq!(refused, Err(LogRefused::TooManyPositions));
}

/// Reads the log of ann so many times. Returns their calls.
fn read_often(cluster: &mut Cluster, times: u64) -> Vec<CallId> {
    let calls = (0..times).map(|number| CallId::new(2_000 + number));
    let calls: Vec<_> = calls.collect();
    for call in &calls {
        let asked = Event::Log {
            call: *call,
            channel: UserId::new("ann").expect("a user").into(),
            request: LogRequest::Read(LogQuery::default()),
        };
        cluster.event(0, asked);
    }
    calls
}

/// Operations of logs that the directory was asked and has not answered.
fn under_way(cluster: &Cluster) -> usize {
    let operations = cluster.held.iter().flat_map(|(_, trip)| &trip.operations);
    let of_logs = operations.filter(|operation| matches!(operation, Operation::Log { .. }));
    of_logs.count()
}

/// H46: what all operations share the way of is not full of what applications read.
#[test]
fn a_few_requests_are_under_way_and_the_others_wait_for_them() {
    let mut cluster = pair();
    cluster.server = Server::Waits;
    let calls = read_often(&mut cluster, 40);
    assert_eq!(under_way(&cluster), 16);
    assert!(cluster.answers.is_empty(), "they wait");
    cluster.answer_held();
    for call in &calls {
        let answer = cluster.answers.get(call);
        let is_page = matches!(answer, Some(Answer::Log(Ok(LogAnswer::Page(_)))));
        assert!(is_page, "{answer:?}");
    }
}

/// H41: nor does a request wait that the directory was not asked before its link broke.
#[test]
fn a_request_that_waits_for_others_is_refused_when_the_link_breaks() {
    let mut cluster = pair();
    cluster.server = Server::Waits;
    let calls = read_often(&mut cluster, 20);
    cluster.event(0, Event::DirectoryDown);
    let refused = calls.iter().map(|call| cluster.answers.get(call).cloned());
    let expected = (0..20).map(|number| match number {
        0..16 => LogRefused::NoAnswer,
        _ => LogRefused::DirectoryAway,
    });
    let expected = expected.map(|refused| Some(Answer::Log(Err(refused))));
    assert!(refused.eq(expected), "{:?}", cluster.answers);
}

/// H46: what waits for the directory is bounded.
#[test]
fn too_many_requests_are_refused_until_some_are_answered() {
    let mut cluster = pair();
    cluster.server = Server::Waits;
    let read = || LogRequest::Read(LogQuery::default());
    let mut taken = 0;
    let refused = loop {
        let user = UserId::new("ann").expect("a user");
        let call = CallId::new(2_000 + taken);
        let asked = Event::Log {
            call,
            channel: user.into(),
            request: read(),
        };
        cluster.event(0, asked);
        if let Some(answer) = cluster.answers.get(&call) {
            break answer.clone();
        }
        taken += 1;
    };
    assert_eq!(refused, Answer::Log(Err(LogRefused::Overloaded)));
    cluster.server = Server::Answers;
    cluster.answer_held();
    assert!(answer(&mut cluster, 0, read()).is_ok());
}
