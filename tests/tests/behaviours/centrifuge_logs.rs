//! Topics with a history, for clients of the Centrifuge protocol: what they recover, read and publish there, and who comes
//! and leaves.

use serde_json::{Value, json};
use switchboard_tests::behaviour::{Behaviour, INSTANCES, ONE, PROCESSES};
use switchboard_tests::behaviours;
use switchboard_tests::centrifuge::{Client, Encoding};
use switchboard_tests::cluster::Cluster;
use switchboard_tests::http::Request;
use switchboard_tests::matrix::Cell;
use switchboard_tests::patience::eventually_some;
use switchboard_tests::server::Server;

use super::centrifuge::{start, token};

pub(crate) const LIST: &[Behaviour] = behaviours![
    (INSTANCES, what_was_missed_in_a_topic_follows_anywhere),
    (
        PROCESSES.in_redis(),
        clients_of_a_killed_server_recover_their_topics_at_another_one
    ),
    (
        INSTANCES,
        topics_that_a_token_names_are_recovered_by_the_login
    ),
    (INSTANCES, a_topic_that_the_application_joins_is_recoverable),
    (
        ONE,
        a_client_whose_topic_has_lost_its_position_subscribes_again
    ),
    (INSTANCES, members_read_the_history_of_their_topic),
    (INSTANCES, a_log_keeps_what_its_namespace_says),
    (
        INSTANCES,
        whoever_is_no_member_does_what_anybody_may_do_and_is_told_nothing
    ),
    (
        PROCESSES.single_redis(),
        a_publication_is_a_record_or_is_refused
    ),
    (
        ONE.in_redis(),
        what_is_published_behind_a_question_that_nobody_answers_is_not_handed_in
    ),
    (INSTANCES, members_are_told_who_comes_and_leaves),
];

fn servers(cell: Cell, servers: usize) -> Cluster {
    start(cell, servers, |s| {
        let rules = [
            "room:=subscribe+publish+history",
            "hall:=subscribe+join_leave",
            "chat:=subscribe+publish",
            "wall:=publish_any+presence_any+history_any",
            "post:=publish_any",
            "few:=subscribe+publish+history:2",
        ];
        s.with("namespaces", rules.map(str::to_owned).to_vec())
    })
}

/// A client, what its login said, and its token.
#[track_caller]
fn connect(server: &Server, encoding: Encoding, user: &str, more: &Value) -> (Client, Value) {
    let (claims, subs) = (&more["claims"], more["subs"].clone());
    let claims = if claims.is_null() { &json!({}) } else { claims };
    let mut request = json!({"token": token(user, 600, claims)});
    if subs.is_object() {
        request["subs"] = subs;
    }
    Client::connect(server, encoding, request)
}

#[track_caller]
fn subscribe(client: &mut Client, channel: &str, held: Option<&Value>) -> Value {
    let mut request = json!({"channel": channel});
    if let Some(held) = held {
        request["recover"] = json!(true);
        request["offset"] = held["offset"].clone();
        request["epoch"] = held["epoch"].clone();
    }
    let mut reply = client.call("subscribe", request);
    assert!(reply["subscribe"].is_object(), "{reply}");
    reply["subscribe"].take()
}

#[track_caller]
fn durable(server: &Server, topic: &str, text: &str) {
    let request = Request::new("POST", format!("/v1/topics/{topic}/push")).body(text);
    let request = request.query("durable", "true").query("deadline", "500ms");
    let receipt = server.api().receipt(request);
    assert!(receipt.logged.is_string(), "{receipt:?}");
}

/// What it holds when it has had a publication, as it would be brought.
fn held(publication: &Value) -> Value {
    json!({"offset": publication["offset"], "epoch": "1"})
}

fn is_recovered(stand: &Value) -> (bool, bool) {
    assert_eq!(stand["recoverable"], true, "{stand}");
    assert_eq!(stand["positioned"], true, "{stand}");
    assert_eq!(stand["epoch"], "1", "{stand}");
    let is = |name: &str| stand[name] == true;
    (is("was_recovering"), is("recovered"))
}

/// The application says itself what it keeps of what it pushes.
fn a_log_keeps_what_its_namespace_says(cell: Cell) {
    let cluster = servers(cell, 2);
    for encoding in Encoding::ALL {
        let channel = format!("few:{encoding:?}");
        let (mut client, _) = connect(&cluster[0], encoding, "ann", &json!({}));
        subscribe(&mut client, &channel, None);
        let mut kept = || {
            let all = json!({"channel": &channel, "limit": -1});
            let history = client.call("history", all)["history"].take();
            history["publications"].as_array().map_or(0, Vec::len)
        };
        for _ in 0..3 {
            durable(&cluster[1], &channel, "0");
        }
        assert_eq!(kept(), 3);
        let (mut other, _) = connect(&cluster[1], encoding, "bob", &json!({}));
        subscribe(&mut other, &channel, None);
        let published = other.call("publish", json!({"channel": &channel, "data": 1}));
        assert!(published["publish"].is_object(), "{published}");
        assert_eq!(kept(), 2);
    }
}

/// She may not subscribe, and sees what was said by asking alone.
fn whoever_is_no_member_does_what_anybody_may_do_and_is_told_nothing(cell: Cell) {
    let cluster = servers(cell, 2);
    for encoding in Encoding::ALL {
        let [wall, post] = ["wall", "post"].map(|prefix| format!("{prefix}:{encoding:?}"));
        let claims = json!({"claims": {"topics": [&wall, &post]}});
        let (mut bob, connected) = connect(&cluster[1], encoding, "bob", &claims);
        let (mut ann, _) = connect(&cluster[0], encoding, "ann", &json!({}));
        let mut offset = Value::Null;
        for (channel, is_record) in [(&wall, true), (&post, false)] {
            let publish = json!({"channel": channel, "data": {"of": channel}});
            let published = ann.call("publish", publish);
            assert!(published["publish"].is_object(), "{published}");
            let publication = bob.publication(channel);
            assert_eq!(publication["data"], json!({"of": channel}));
            let has_offset = publication["offset"].as_u64().is_some_and(|it| it > 0);
            assert_eq!(has_offset, is_record, "{publication}");
            if is_record {
                offset = publication["offset"].clone();
            }
            assert_eq!(ann.refused("subscribe", json!({"channel": channel})), 103);
        }
        let history = ann.call("history", json!({"channel": &wall, "limit": 10}));
        let read = &history["history"]["publications"];
        assert_eq!(read[0]["data"], json!({"of": &wall}), "{history}");
        assert_eq!((&read[0]["offset"], &read[1]), (&offset, &Value::Null));
        let seen = eventually_some("it is certain who is there", || {
            let reply = ann.call("presence", json!({"channel": &wall}));
            let refused = reply["error"]["code"].as_u64();
            assert!(refused.is_none_or(|code| code == 100), "{reply}");
            refused
                .is_none()
                .then(|| reply["presence"]["presence"].clone())
        });
        let there = connected["client"].as_str().expect("a name");
        assert_eq!(seen[there]["user"], "bob", "{seen}");
        assert_eq!(seen.as_object().map(serde_json::Map::len), Some(1));
        for ask in ["presence", "history"] {
            assert_eq!(ann.refused(ask, json!({"channel": &post})), 108);
        }
        // Whatever had come to her would have come before this.
        cluster[1].api().push("ann", "1").expect_written(1);
        assert_eq!(ann.publication("#ann")["data"], 1);
        let is_of_either = |said: &Value| {
            [&wall, &post]
                .iter()
                .any(|topic| said["push"]["channel"] == **topic)
        };
        assert!(!ann.heard().any(is_of_either));
    }
}

/// H50: once, and in order.
fn what_was_missed_in_a_topic_follows_anywhere(cell: Cell) {
    let cluster = servers(cell, 2);
    for encoding in Encoding::ALL {
        let channel = format!("room:{encoding:?}");
        let (mut client, _) = connect(&cluster[0], encoding, "ann", &json!({}));
        let stand = subscribe(&mut client, &channel, None);
        assert_eq!(is_recovered(&stand), (false, false));
        for turn in 0..3 {
            durable(&cluster[turn % 2], &channel, &format!("{}", 3 * turn));
            let publication = client.publication(&channel);
            assert_eq!(publication["data"], 3 * turn);
            drop(client);
            for missed in 1..3 {
                let text = format!("{}", 3 * turn + missed);
                durable(&cluster[turn % 2], &channel, &text);
            }
            let at = (turn + 1) % 2;
            (client, _) = connect(&cluster[at], encoding, "ann", &json!({}));
            let stand = subscribe(&mut client, &channel, Some(&held(&publication)));
            assert_eq!(is_recovered(&stand), (true, true));
            assert_eq!(stand["offset"], publication["offset"]);
            for missed in 1..3 {
                let next = client.publication(&channel);
                assert_eq!(next["data"], 3 * turn + missed);
            }
        }
        // Nobody was ever told this position: all that is kept follows.
        let (mut other, _) = connect(&cluster[0], encoding, "bob", &json!({}));
        let strange = json!({"offset": 7, "epoch": "1"});
        let stand = subscribe(&mut other, &channel, Some(&strange));
        assert_eq!(is_recovered(&stand), (true, false));
        for number in 0..9 {
            assert_eq!(other.publication(&channel)["data"], number);
        }
    }
}

fn clients_of_a_killed_server_recover_their_topics_at_another_one(cell: Cell) {
    let mut cluster = servers(cell, 2);
    let mut clients = Encoding::ALL.map(|encoding| {
        let channel = format!("room:{encoding:?}");
        let (mut client, _) = connect(&cluster[0], encoding, "ann", &json!({}));
        subscribe(&mut client, &channel, None);
        durable(&cluster[1], &channel, "1");
        let publication = client.publication(&channel);
        (encoding, client, publication)
    });
    cluster[0].sigkill();
    for (encoding, client, publication) in &mut clients {
        let channel = format!("room:{encoding:?}");
        client.ended();
        durable(&cluster[1], &channel, "2");
        let (mut again, _) = connect(&cluster[1], *encoding, "ann", &json!({}));
        let stand = subscribe(&mut again, &channel, Some(&held(publication)));
        assert_eq!(is_recovered(&stand), (true, true));
        assert_eq!(again.publication(&channel)["data"], 2);
        durable(&cluster[1], &channel, "3");
        assert_eq!(again.publication(&channel)["data"], 3);
    }
}

/// The reply to `connect` is where a client is told that nothing is missing.
fn topics_that_a_token_names_are_recovered_by_the_login(cell: Cell) {
    let cluster = servers(cell, 2);
    for encoding in Encoding::ALL {
        let channel = format!("room:{encoding:?}");
        let claims = json!({"channels": [&channel, "chat:other"]});
        let (mut client, connected) =
            connect(&cluster[0], encoding, "ann", &json!({"claims": claims}));
        let subs = &connected["subs"];
        assert_eq!(is_recovered(&subs[&channel]), (false, false));
        assert_ne!(subs["chat:other"]["recoverable"], true, "{subs}");
        durable(&cluster[1], &channel, "1");
        let publication = client.publication(&channel);
        assert_eq!(publication["data"], 1);
        drop(client);
        durable(&cluster[0], &channel, "2");
        let brought = |held: Value| {
            let mut sub = held;
            sub["recover"] = json!(true);
            json!({"claims": claims, "subs": {(&channel): sub}})
        };
        let again = brought(held(&publication));
        let (mut client, connected) = connect(&cluster[1], encoding, "ann", &again);
        assert_eq!(is_recovered(&connected["subs"][&channel]), (true, true));
        assert_eq!(client.publication(&channel)["data"], 2);
        durable(&cluster[0], &channel, "3");
        assert_eq!(client.publication(&channel)["data"], 3);
        let strange = brought(json!({"offset": 7, "epoch": "1"}));
        let (mut client, connected) = connect(&cluster[0], encoding, "ann", &strange);
        assert_eq!(is_recovered(&connected["subs"][&channel]), (true, false));
        for number in 1..=3 {
            assert_eq!(client.publication(&channel)["data"], number);
        }
    }
}

fn a_topic_that_the_application_joins_is_recoverable(cell: Cell) {
    let cluster = servers(cell, 2);
    for encoding in Encoding::ALL {
        let channel = format!("room:joined-{encoding:?}");
        let user = format!("{encoding:?}");
        let (mut client, connected) = connect(&cluster[0], encoding, &user, &json!({}));
        assert_eq!(connected["subs"][&channel], Value::Null);
        cluster[1].api().join(&channel, &user);
        // At once, and again when it is known where it stands.
        assert_ne!(client.push(&channel, "subscribe")["recoverable"], true);
        let stand = client.push(&channel, "subscribe");
        assert_eq!(is_recovered(&stand), (false, false));
        durable(&cluster[0], &channel, "1");
        let publication = client.publication(&channel);
        assert!(publication["offset"].as_u64() > stand["offset"].as_u64());
    }
}

/// What it held is in the log no more.
fn a_client_whose_topic_has_lost_its_position_subscribes_again(cell: Cell) {
    let cluster = servers(cell, 1);
    for encoding in Encoding::ALL {
        let channel = format!("room:{encoding:?}");
        let (mut client, _) = connect(&cluster[0], encoding, "ann", &json!({}));
        subscribe(&mut client, &channel, None);
        durable(&cluster[0], &channel, "1");
        let first = client.publication(&channel);
        let path = format!("/v1/topics/{channel}/log");
        let deleted = cluster[0].api().send(Request::new("DELETE", path));
        assert_eq!(deleted.status, 200);
        durable(&cluster[0], &channel, "2");
        assert_eq!(client.push(&channel, "unsubscribe")["code"], 2500);
        let stand = subscribe(&mut client, &channel, Some(&held(&first)));
        assert_eq!(is_recovered(&stand), (true, false));
        assert_eq!(client.publication(&channel)["data"], 2);
        assert!(client.heard().all(|said| said["push"]["pub"].is_null()));
        // A client that was subscribed by the server comes back.
        let claims = json!({"claims": {"channels": [&channel]}});
        let (mut served, _) = connect(&cluster[0], encoding, "bob", &claims);
        durable(&cluster[0], &channel, "3");
        served.publication(&channel);
        let path = format!("/v1/topics/{channel}/log");
        cluster[0].api().send(Request::new("DELETE", path));
        durable(&cluster[0], &channel, "4");
        assert_eq!(served.disconnected(), (Some(3010), Some(3010)));
    }
}

fn members_read_the_history_of_their_topic(cell: Cell) {
    let cluster = servers(cell, 2);
    for encoding in Encoding::ALL {
        let channel = format!("room:{encoding:?}");
        let (mut client, _) = connect(&cluster[0], encoding, "ann", &json!({}));
        let all = json!({"channel": &channel, "limit": -1});
        assert_eq!(client.refused("history", all.clone()), 103);
        subscribe(&mut client, &channel, None);
        for number in 0..5 {
            durable(&cluster[number % 2], &channel, &number.to_string());
        }
        let mut read = |request: Value| {
            let mut reply = client.call("history", request);
            assert!(reply["history"].is_object(), "{reply}");
            reply["history"].take()
        };
        let numbers = |page: &Value| {
            let publications = page["publications"].as_array().cloned();
            let publications = publications.unwrap_or_default();
            let numbers = publications.iter().map(|it| it["data"].as_u64());
            numbers
                .map(|number| number.expect("a number"))
                .collect::<Vec<_>>()
        };
        assert_eq!(numbers(&read(all)), [0, 1, 2, 3, 4]);
        let page = read(json!({"channel": &channel, "limit": 2}));
        assert_eq!(numbers(&page), [0, 1]);
        let since = held(&page["publications"][1]);
        let next = json!({"channel": &channel, "limit": 2, "since": since});
        assert_eq!(numbers(&read(next)), [2, 3]);
        let newest = json!({"channel": &channel, "limit": 2, "reverse": true});
        assert_eq!(numbers(&read(newest)), [4, 3]);
        let position = read(json!({"channel": &channel}));
        assert!(numbers(&position).is_empty());
        assert_eq!(position["offset"], page["offset"]);
        let strange =
            json!({"channel": &channel, "limit": 2, "since": {"offset": 7, "epoch": "1"}});
        assert_eq!(client.refused("history", strange), 112);
        subscribe(&mut client, "chat:1", None);
        let none = json!({"channel": "chat:1", "limit": 2});
        assert_eq!(client.refused("history", none), 108);
    }
}

fn a_publication_is_a_record_or_is_refused(cell: Cell) {
    let mut cluster = servers(cell, 2);
    for encoding in Encoding::ALL {
        let channel = format!("room:{encoding:?}");
        let (mut ann, _) = connect(&cluster[0], encoding, "ann", &json!({}));
        let (mut bob, _) = connect(&cluster[1], encoding, "bob", &json!({}));
        for client in [&mut ann, &mut bob] {
            subscribe(client, &channel, None);
        }
        let publish = |text: &str| json!({"channel": &channel, "data": {"text": text}});
        let published = ann.call("publish", publish("hello"));
        assert!(published["publish"].is_object(), "{published}");
        let mut offsets = Vec::new();
        for client in [&mut ann, &mut bob] {
            let publication = client.publication(&channel);
            assert_eq!(publication["data"], json!({"text": "hello"}));
            offsets.push(publication["offset"].clone());
        }
        assert!(
            offsets[0].is_u64() && offsets[0] == offsets[1],
            "{offsets:?}"
        );
        let log = cluster[1].api().topic_log(&channel);
        assert_eq!(log.texts(), [r#"{"text":"hello"}"#]);
    }
    let mut clients = Encoding::ALL.map(|encoding| {
        let (mut client, _) = connect(&cluster[0], encoding, "ann", &json!({}));
        subscribe(&mut client, "room:away", None);
        client
    });
    cluster.redis_mut().stop();
    for client in &mut clients {
        let publish = json!({"channel": "room:away", "data": 1});
        let reply = client.call("publish", publish);
        let error = &reply["error"];
        assert_eq!(
            (&error["code"], &error["temporary"]),
            (&json!(100), &json!(true))
        );
    }
}

fn members_are_told_who_comes_and_leaves(cell: Cell) {
    let cluster = servers(cell, 2);
    for encoding in Encoding::ALL {
        let channel = format!("hall:{encoding:?}");
        let (mut ann, connected) = connect(&cluster[0], encoding, "ann", &json!({}));
        subscribe(&mut ann, &channel, None);
        let own = ann.push(&channel, "join")["info"].take();
        assert_eq!(own, json!({"user": "ann", "client": connected["client"]}));
        let (mut bob, _) = connect(&cluster[1], encoding, "bob", &json!({}));
        subscribe(&mut bob, &channel, None);
        let came = ann.push(&channel, "join")["info"].take();
        assert_eq!(came["user"], "bob", "{came}");
        bob.call("unsubscribe", json!({"channel": &channel}));
        let left = ann.push(&channel, "leave")["info"].take();
        assert_eq!(left["user"], "bob", "{left}");
    }
}

/// What a client says at once is answered one after the other. One that has waited in vain is told at once that a publication
/// is not taken, and not after another wait that nobody knows whether it is a record: it would publish that again.
fn what_is_published_behind_a_question_that_nobody_answers_is_not_handed_in(cell: Cell) {
    let cluster = servers(cell, 1);
    for encoding in Encoding::ALL {
        let channel = format!("room:{encoding:?}");
        let (mut client, _) = connect(&cluster[0], encoding, "ann", &json!({}));
        subscribe(&mut client, &channel, None);
        cluster.redis().pause();
        let (asked, published) = (client.next_id(), client.next_id());
        client.say_all(&[
            json!({"id": asked, "history": {"channel": channel, "limit": 10}}),
            json!({"id": published, "publish": {"channel": channel, "data": "early"}}),
        ]);
        assert_eq!(client.reply(asked)["error"]["code"], 100);
        assert_eq!(client.reply(published)["error"]["code"], 111);
        cluster.redis().resume();
        // It was not handed in, so that it is no record whatever becomes of Redis.
        let kept = eventually_some("it publishes again", || {
            let publish = json!({"channel": channel, "data": "later"});
            let published = client.call("publish", publish);
            let history = json!({"channel": channel, "limit": 10});
            let kept = client.call("history", history)["history"]["publications"].take();
            published["publish"].is_object().then_some(kept)
        });
        let kept = kept.as_array().expect("records");
        assert!(
            kept.iter().all(|record| record["data"] == "later"),
            "{kept:?}"
        );
    }
}
