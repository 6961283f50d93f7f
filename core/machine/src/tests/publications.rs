//! What terminals publish: it leaves the application what it needs for its own pushes.

use std::time::Duration;

use crate::config::Config;
use crate::event::{Answer, Event, Handshake};
use crate::id::{CallId, ConnectionId, TopicId, UserId};
use crate::message::{Audience, Push, PushRefused, PushedBy};
use crate::testing::cluster::{Cluster, Server, frame};
use crate::topic::TopicRights;

const SECOND: Duration = Duration::from_secs(1);

fn large() -> Audience {
    Audience::Topics {
        topics: vec![TopicId::new("large").expect("a topic")],
        except: None,
    }
}

/// So many members of one topic, at the second instance.
fn members(cluster: &mut Cluster, count: usize) -> Vec<ConnectionId> {
    let rights = TopicRights::of_claim(["large"]).expect("a topic");
    let rights: crate::topic::SharedRights = rights.into();
    let mut connect = |number| {
        let user = UserId::new(&format!("user{number}")).expect("a user");
        let handshake = Handshake {
            topics: Some(rights.clone()),
            ..Handshake::new(user)
        };
        let connection = cluster.accept(1, handshake).expect("taken");
        let id = cluster.instances[1].connection_id(connection);
        cluster.event(1, Event::Opened { connection });
        id.expect("there")
    };
    (0..count).map(&mut connect).collect()
}

/// A terminal publishes.
fn publish(cluster: &mut Cluster, text: &str, id: u128) -> CallId {
    let push = Push {
        by: PushedBy::Terminal,
        deadline: Config::PUBLICATION_DEADLINE,
        ..frame(large(), text, id)
    };
    cluster.hand_in(0, push)
}

/// Those of the members that have this.
fn having(cluster: &Cluster, members: &[ConnectionId], text: &str) -> usize {
    let texts = members.iter().map(|member| cluster.texts(*member));
    texts
        .filter(|all| all.iter().any(|one| one == text))
        .count()
}

#[test]
fn what_terminals_publish_leaves_walks_for_the_application() {
    let config = Config {
        broadcast_rate: 2000,
        broadcasts: 8,
        ..Config::default()
    };
    assert_eq!(config.published_broadcasts(), 2);
    let mut cluster = Cluster::new(&config, 2);
    let all = members(&mut cluster, 200);
    let published = (1..=10).map(|id| publish(&mut cluster, &format!("flood {id}"), id));
    let published: Vec<_> = published.collect();
    let to_members = cluster.hand_in(0, frame(large(), "to members", 11));
    let to_everyone = cluster.hand_in(0, frame(Audience::Everyone, "to everyone", 12));
    cluster.pass(2 * SECOND);
    for call in [to_members, to_everyone] {
        assert_eq!(cluster.receipt(call).counts.written, 200);
    }
    let overflows = published
        .iter()
        .map(|call| cluster.receipt(*call).counts.overflow);
    assert_eq!(
        overflows.collect::<Vec<_>>(),
        [vec![0; 2], vec![200; 8]].concat()
    );
    assert_eq!(having(&cluster, &all, "flood 2"), 200);
}

#[test]
fn a_push_of_the_application_waits_for_no_publication() {
    let config = Config {
        broadcast_rate: 2000,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 2);
    let all = members(&mut cluster, 200);
    for id in 1..=10 {
        publish(&mut cluster, &format!("flood {id}"), id);
    }
    cluster.hand_in(0, frame(large(), "news", 11));
    // Half of the pace.
    cluster.pass(Duration::from_millis(250));
    assert_eq!(having(&cluster, &all, "news"), 200);
    assert!(having(&cluster, &all, "flood 2") < 200);
    cluster.pass(SECOND);
    assert_eq!(having(&cluster, &all, "flood 10"), 200);
}

#[test]
fn publications_without_a_receipt_are_few_beside_pushes() {
    let mut cluster = Cluster::new(&Config::default(), 2);
    members(&mut cluster, 1);
    cluster.server = Server::Waits;
    for id in 0..Config::PUBLICATIONS as u128 {
        publish(&mut cluster, "x", id);
    }
    let refused = publish(&mut cluster, "one more", 1000);
    cluster.settle_down();
    let answer = Answer::Push(Err(PushRefused::Overloaded));
    assert_eq!(cluster.answers.get(&refused), Some(&answer));
    let push = cluster.hand_in(0, frame(large(), "news", 1001));
    cluster.pass(Config::DEADLINE_DEFAULT);
    assert_eq!(cluster.receipt(push).counts.written, 1);
    let taken = publish(&mut cluster, "later", 1002);
    cluster.pass(SECOND);
    assert_eq!(cluster.receipt(taken).counts.written, 1);
}
