//! Topics whose members come, join, leave and go while other things are under way.

use std::time::Duration;

use crate::config::Config;
use crate::directory::{Operation, OperationError, OperationResult};
use crate::event::{Event, Handshake};
use crate::id::{ConnectionId, ConnectionKey, TopicId, UserId};
use crate::message::{Action, Audience, Push};
use crate::testing::cluster::{Cluster, Server, Told, frame, user};
use crate::topic::{TopicRights, TopicWish};

const SECOND: Duration = Duration::from_secs(1);
fn topic(n: &str) -> TopicId {
    TopicId::new(n).expect("valid")
}
fn topics(names: &[&str]) -> Audience {
    Audience::Topics {
        topics: names.iter().map(|n| topic(n)).collect(),
        except: None,
    }
}
fn connect(
    cluster: &mut Cluster,
    i: usize,
    u: &str,
    claim: &[&str],
) -> (ConnectionKey, ConnectionId) {
    let rights = TopicRights::of_claim(claim.iter().copied()).expect("valid");
    let h = Handshake {
        topics: Some(rights.into()),
        ..Handshake::new(UserId::new(u).expect("valid"))
    };
    let key = cluster.accept(i, h).expect("valid");
    let id = cluster.instances[i].connection_id(key).expect("valid");
    cluster.event(i, Event::Opened { connection: key });
    (key, id)
}
fn told(cluster: &Cluster, id: ConnectionId) -> Vec<String> {
    cluster
        .received
        .get(&id)
        .into_iter()
        .flatten()
        .map(|o| Told(o).to_string())
        .collect()
}
fn rows(cluster: &Cluster, n: &str) -> Vec<u64> {
    cluster
        .directory
        .topic_rows(cluster.now.mono)
        .filter(|(of, ..)| **of == topic(n))
        .map(|(_, i, _)| i.get())
        .collect()
}
/// Executes all that is held, and returns the answers to come.
fn executed(cluster: &mut Cluster) -> Vec<(usize, Event)> {
    let now = cluster.now.mono;
    let held: Vec<_> = cluster.held.drain(..).collect();
    held.into_iter()
        .map(|(i, trip)| {
            let outcomes = trip
                .operations
                .iter()
                .map(|o| cluster.directory.execute(now, o))
                .collect();
            (
                i,
                Event::Directory {
                    op: trip.op,
                    outcomes: Ok(outcomes),
                },
            )
        })
        .collect()
}
fn act(action: Action, id: u128, durable: bool) -> Push {
    let p = frame(user("ann"), "", id);
    let p = if durable { p.durable() } else { p };
    Push { action, ..p }
}

/// A row names a terminal before it is greeted: one that is there is never gone.
#[test]
fn a_terminal_that_is_not_greeted_yet_joins_and_keeps_its_row() {
    let mut cluster = Cluster::new(&Config::default(), 2);
    cluster.server = Server::Waits;
    let (_, ann) = connect(&mut cluster, 1, "ann", &[]);
    let answers = executed(&mut cluster);
    cluster.server = Server::Answers;
    let call = cluster.call_push(0, act(Action::Join(topic("news")), 1, true));
    for (i, e) in answers {
        cluster.event(i, e);
    }
    cluster.pass(SECOND);
    let key = UserId::new("ann").expect("valid").into();
    assert!(
        cluster.directory.row(cluster.now.mono, &key, ann).is_some(),
        "the row is gone"
    );
    let receipt = cluster.receipt(call);
    assert_eq!((receipt.kept, receipt.counts.gone), (Some(true), 0));
    assert_eq!(told(&cluster, ann), ["hello", "joined news"]);
}

/// T2: what cannot be judged is nobody's to remove.
#[test]
fn the_row_of_an_instance_that_is_not_known_yet_stays() {
    let config = Config::default();
    let mut cluster = Cluster::new(&config, 2);
    cluster.refuse(
        |o| matches!(o, Operation::View).then(|| Err(OperationError::Refused("BUSY".into()))),
        [0],
    );
    cluster.start(&config);
    cluster.pass(SECOND / 2);
    let (_, ann) = connect(&mut cluster, 2, "ann", &["news"]);
    assert_eq!(rows(&cluster, "news"), [3]);
    let call = cluster.push(0, topics(&["news"]), "hello", 1);
    cluster.pass(5 * SECOND);
    assert!(cluster.receipt(call).degraded);
    cluster.refused.clear();
    cluster.pass(20 * SECOND);
    let call = cluster.push(0, topics(&["news"]), "hello", 2);
    assert_eq!(
        rows(&cluster, "news"),
        [3],
        "the row of a living instance is gone"
    );
    assert_eq!(cluster.receipt(call).counts.written, 1);
    assert_eq!(cluster.texts(ann).last().map(String::as_str), Some("hello"));
}

#[test]
fn a_terminal_that_is_closed_by_what_it_is_told_of_topics_leaves_no_degradation() {
    let config = Config {
        connection_topics: 2,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 1);
    let (ann, id) = connect(&mut cluster, 0, "ann", &["*"]);
    cluster.stalled.insert(id);
    cluster.event(0, Event::DirectoryDown);
    for n in ["c", "d"] {
        cluster.event(
            0,
            Event::Topic {
                connection: ann,
                wish: TopicWish::Join(topic(n)),
            },
        );
    }
    for _ in 0..20 {
        cluster.event(
            0,
            Event::Topic {
                connection: ann,
                wish: TopicWish::Leave(topic("x")),
            },
        );
    }
    assert_eq!(cluster.instances[0].tables().members, 2);
    cluster.pass(3 * SECOND);
    // It was to be told that it is a degraded member, and takes nothing.
    assert_eq!(cluster.instances[0].tables().members, 0);
    assert_eq!(cluster.instances[0].tables().degraded, 0);
}

#[test]
fn a_member_that_joins_another_topic_of_a_push_meanwhile_gets_it() {
    let config = Config {
        broadcast_rate: 5000,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 2);
    for n in 0..300 {
        connect(&mut cluster, 1, &format!("user{n}"), &["a"]);
    }
    let (t, tid) = connect(&mut cluster, 1, "t", &["b", "*"]);
    let (_, both) = connect(&mut cluster, 1, "both", &["a", "b"]);
    let _ = both;
    cluster.push(0, topics(&["a", "b"]), "1", 1);
    cluster.event(
        1,
        Event::Topic {
            connection: t,
            wish: TopicWish::Join(topic("a")),
        },
    );
    cluster.pass(SECOND);
    assert_eq!(cluster.texts(tid), ["1"], "missed");
}

#[test]
fn a_member_that_leaves_a_topic_of_a_push_meanwhile_gets_it_once() {
    let config = Config {
        broadcast_rate: 5000,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 2);
    for n in 0..300 {
        connect(&mut cluster, 1, &format!("user{n}"), &["a"]);
    }
    let (t, tid) = connect(&mut cluster, 1, "t", &["a", "b"]);
    cluster.push(0, topics(&["a", "b"]), "1", 1);
    cluster.event(
        1,
        Event::Topic {
            connection: t,
            wish: TopicWish::Leave(topic("a")),
        },
    );
    cluster.pass(SECOND);
    assert_eq!(cluster.texts(tid), ["1"], "twice");
}

#[test]
fn an_answer_that_is_older_than_a_leave_makes_nobody_a_member() {
    let mut cluster = Cluster::new(&Config::default(), 2);
    cluster.call_push(0, act(Action::Join(topic("news")), 1, true));
    cluster.server = Server::Waits;
    let (_, ann) = connect(&mut cluster, 1, "ann", &[]);
    let answers = executed(&mut cluster);
    cluster.server = Server::Answers;
    cluster.call_push(0, act(Action::Leave(topic("news")), 2, true));
    for (i, e) in answers {
        cluster.event(i, e);
    }
    cluster.pass(SECOND);
    assert!(
        !told(&cluster, ann).contains(&"joined news".to_owned()),
        "{:?}",
        told(&cluster, ann)
    );
}

/// Whoever has asked is answered, and is told of the end of nothing that it was not told of.
#[test]
fn who_waits_to_be_a_member_and_is_removed_is_told_that_it_is_none() {
    // Before it is greeted.
    let mut cluster = Cluster::new(&Config::default(), 2);
    cluster.server = Server::Waits;
    let (ann, id) = connect(&mut cluster, 1, "ann", &["room-*"]);
    let join = |cluster: &mut Cluster, connection| {
        let wish = TopicWish::Join(topic("room-1"));
        cluster.event(1, Event::Topic { connection, wish });
    };
    join(&mut cluster, ann);
    let answers = executed(&mut cluster);
    cluster.server = Server::Answers;
    cluster.call_push(0, act(Action::Leave(topic("room-1")), 1, false));
    for (i, e) in answers {
        cluster.event(i, e);
    }
    cluster.pass(SECOND);
    let mut told_of = told(&cluster, id);
    told_of.sort();
    assert_eq!(told_of, ["hello", "not joined room-1 NotAllowed"]);

    // While the directory is told.
    cluster.received.clear();
    cluster.server = Server::Waits;
    join(&mut cluster, ann);
    cluster.call_push(0, act(Action::Leave(topic("room-1")), 2, false));
    let answers = executed(&mut cluster);
    let (looked_up, joined): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(i, _)| *i == 0);
    for (i, e) in looked_up.into_iter().chain(joined) {
        cluster.event(i, e);
    }
    cluster.server = Server::Answers;
    cluster.pass(3 * SECOND);
    assert_eq!(told(&cluster, id), ["not joined room-1 NotAllowed"]);
}

#[test]
fn a_terminal_that_leaves_while_it_joins_keeps_its_row() {
    let mut cluster = Cluster::new(&Config::default(), 2);
    let (key, ann) = connect(&mut cluster, 1, "ann", &["*"]);
    cluster.server = Server::Waits;
    let _call = cluster.call_push(0, act(Action::Join(topic("news")), 1, false));
    for (i, e) in executed(&mut cluster) {
        cluster.event(i, e);
    }
    cluster.event(
        1,
        Event::Topic {
            connection: key,
            wish: TopicWish::Leave(topic("news")),
        },
    );
    cluster.server = Server::Answers;
    for (i, e) in executed(&mut cluster) {
        cluster.event(i, e);
    }
    for (i, e) in executed(&mut cluster) {
        cluster.event(i, e);
    }
    cluster.pass(SECOND);
    let of = UserId::new("ann").expect("valid").into();
    assert!(
        cluster.directory.row(cluster.now.mono, &of, ann).is_some(),
        "the row of a living connection is gone"
    );
}

#[test]
fn a_token_with_more_topics_than_there_may_be_is_told_so() {
    let mut cluster = Cluster::new(&Config::default(), 1);
    let names: Vec<_> = (0..500).map(|n| format!("t{n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let (_, id) = connect(&mut cluster, 0, "ann", &names);
    cluster.pass(SECOND);
    assert!(!cluster.closed.contains_key(&id));
}

/// What else there is to do waits for few terminals only, and a step that is late has no time to make up for.
#[test]
fn a_walk_serves_few_terminals_in_a_step_and_a_late_step_is_not_made_up_for() {
    let config = Config::default();
    let pace = config.broadcast_pace();
    let mut cluster = Cluster::new(&config, 1);
    let members: Vec<_> = (0..500)
        .map(|n| connect(&mut cluster, 0, &format!("user{n}"), &["a"]).1)
        .collect();
    let served = |cluster: &Cluster| {
        let texts = members.iter().map(|id| cluster.texts(*id).len());
        texts.sum::<usize>()
    };
    cluster.call_push(0, frame(topics(&["a"]), "1", 1));
    let mut before = served(&cluster);
    assert!(before < members.len());
    // The first of these comes when many steps are overdue.
    cluster.at(cluster.now.mono + 50 * pace.step);
    for _ in 0..3 {
        cluster.pass(2 * pace.step);
        let after = served(&cluster);
        assert!(after > before, "it stands still");
        assert!(after - before <= 3 * pace.terminals as usize);
        before = after;
    }
    cluster.pass(SECOND);
    assert_eq!(served(&cluster), members.len());
}

/// Whoever pushes to users waits for what is written before.
#[test]
fn a_walk_goes_at_a_third_of_its_pace_while_other_pushes_come() {
    let config = Config::default();
    let pace = config.broadcast_pace();
    let served_in_steps = |pushes: bool| {
        let mut cluster = Cluster::new(&config, 1);
        let members: Vec<_> = (0..1500)
            .map(|n| connect(&mut cluster, 0, &format!("user{n}"), &["a"]).1)
            .collect();
        connect(&mut cluster, 0, "other", &[]);
        cluster.call_push(0, frame(topics(&["a"]), "1", 1));
        if pushes {
            cluster.call_push(0, frame(user("other"), "2", 2));
        }
        cluster.pass(20 * pace.step);
        let served = members.iter().map(|id| cluster.texts(*id).len());
        served.sum::<usize>()
    };
    let (alone, beside) = (served_in_steps(false), served_in_steps(true));
    let step = pace.terminals as usize;
    assert!(alone >= 19 * step, "{alone} of {step} a step");
    assert!(
        (6 * step..=8 * step).contains(&beside),
        "{beside} beside another push, {alone} without"
    );
}

/// One walk after the other has its turn, however small a step is.
#[test]
fn walks_that_have_nothing_in_common_share_the_pace() {
    let config = Config {
        broadcast_rate: 1000,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 1);
    let names = ["a", "b", "c"];
    for name in names {
        for n in 0..200 {
            connect(&mut cluster, 0, &format!("{name}{n}"), &[name]);
        }
    }
    for (id, name) in (1..).zip(names) {
        cluster.call_push(0, frame(topics(&[name]), name, id));
    }
    cluster.pass(SECOND / 10);
    let served = |text: &str| {
        let texts = cluster
            .received
            .keys()
            .flat_map(|id| cluster.texts(*id))
            .filter(|got| got == text);
        texts.count()
    };
    let served = names.map(served);
    let most = served.into_iter().max().expect("three");
    assert!(most > 1, "{served:?}");
    assert!(served.into_iter().all(|one| one + 2 >= most), "{served:?}");
}

/// A directory that comes back has news for all members of a large topic, who are told in steps.
#[test]
fn members_that_wait_for_the_directory_are_told_in_steps() {
    let mut cluster = Cluster::new(&Config::default(), 1);
    let members: Vec<_> = (0..400)
        .map(|n| connect(&mut cluster, 0, &format!("user{n}"), &["*"]))
        .collect();
    cluster.server = Server::Waits;
    for (connection, _) in &members {
        let (connection, wish) = (*connection, TopicWish::Join(topic("a")));
        cluster.event(0, Event::Topic { connection, wish });
    }
    let joined = |cluster: &Cluster| {
        let told = members.iter().map(|(_, id)| told(cluster, *id));
        told.filter(|words| words.contains(&"joined a".to_owned()))
            .count()
    };
    assert_eq!(joined(&cluster), 0);
    let answers = executed(&mut cluster);
    cluster.server = Server::Answers;
    for (i, event) in answers {
        cluster.event(i, event);
    }
    let at_once = joined(&cluster);
    assert!(0 < at_once && at_once <= 128, "{at_once}");
    cluster.pass(SECOND / 10);
    assert_eq!(joined(&cluster), members.len());
}

fn refuses_renewals(operation: &Operation) -> Option<OperationResult> {
    let refused = || Err(OperationError::Refused("OOM".to_owned()));
    matches!(operation, Operation::Renew { .. }).then(refused)
}

/// A step of them falls into a moment in which the lease is over by the instance's own count, and the renewal that is
/// answered behind that was executed in time.
#[test]
fn members_that_are_told_in_steps_are_told_although_the_lease_is_renewed_late() {
    let mut cluster = Cluster::new(&Config::default(), 1);
    let members: Vec<_> = (0..400)
        .map(|n| connect(&mut cluster, 0, &format!("user{n}"), &["*"]))
        .collect();
    cluster.pass(SECOND * 5);
    let left = |cluster: &Cluster| {
        let lease = cluster.directory.leases(cluster.now.mono).next();
        lease.and_then(|lease| lease.remaining).expect("a lease")
    };
    cluster.refuse(refuses_renewals, [0]);
    let begin = left(&cluster) - SECOND * 3 / 10;
    cluster.pass(begin);
    cluster.refuses = None;
    cluster.server = Server::Waits;
    for (connection, _) in &members {
        let (connection, wish) = (*connection, TopicWish::Join(topic("a")));
        cluster.event(0, Event::Topic { connection, wish });
    }
    let renews = |cluster: &Cluster| {
        let mut asked = cluster.held.iter().flat_map(|(_, trip)| &trip.operations);
        asked.any(|operation| matches!(operation, Operation::Renew { .. }))
    };
    while !renews(&cluster) {
        cluster.pass(SECOND / 1000);
    }
    let over = left(&cluster);
    let mut answers = executed(&mut cluster);
    let (_, renewed) = answers.pop().expect("a renewal");
    cluster.pass(over - SECOND / 1000);
    for (index, answer) in answers {
        cluster.event(index, answer);
    }
    let joined = |cluster: &Cluster| {
        let told = members.iter().map(|(_, id)| told(cluster, *id));
        told.filter(|words| words.contains(&"joined a".to_owned()))
            .count()
    };
    let at_once = joined(&cluster);
    assert!(0 < at_once && at_once < members.len(), "{at_once}");
    cluster.pass(Config::BROADCAST_STEP * 2);
    assert_eq!(joined(&cluster), at_once, "the lease is over");
    cluster.server = Server::Answers;
    cluster.event(0, renewed);
    // Before they are told that they are degraded.
    cluster.pass(SECOND / 2);
    assert_eq!(joined(&cluster), members.len());
}
