//! Clients of the Centrifuge protocol: what they are told, and by which numbers they decide what to do.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use switchboard_tests::api::push;
use switchboard_tests::behaviour::{Behaviour, INSTANCES, ONE, PROCESSES};
use switchboard_tests::behaviours;
use switchboard_tests::centrifuge::{Client, Encoding, handshake};
use switchboard_tests::cluster::Cluster;
use switchboard_tests::http::Request;
use switchboard_tests::matrix::Cell;
use switchboard_tests::patience::{eventually, eventually_some};
use switchboard_tests::server::Server;
use switchboard_tests::settings::Settings;
use switchboard_tests::terminal::Connect;
use switchboard_tests::token::{hs256, seconds_from_now};

pub(crate) const LIST: &[Behaviour] = behaviours![
    (ONE, a_login_fails_with_the_number_that_clients_act_on),
    (ONE, a_token_in_the_command_counts_instead_of_others),
    (ONE, whoever_does_not_say_who_it_is_does_not_stay),
    (ONE, a_client_renews_its_token_or_goes_when_it_has_run_out),
    (ONE, a_user_with_too_many_connections_is_to_come_again),
    (INSTANCES, a_client_that_is_kicked_is_told_to_stay_away),
    (
        PROCESSES,
        a_client_whose_server_is_drained_goes_on_at_another_one
    ),
    (ONE, a_client_that_answers_no_ping_is_let_go),
    (ONE, a_client_is_pinged_by_its_websocket_if_it_asks_for_that),
    (ONE, a_client_that_reads_slowly_misses_no_record),
    (INSTANCES, a_subscription_is_refused_by_number),
    (
        ONE.in_redis(),
        what_is_pushed_to_a_topic_comes_behind_the_answer_to_its_subscription
    ),
    (INSTANCES, a_token_for_a_topic_allows_it_until_it_runs_out),
    (
        INSTANCES,
        members_publish_and_see_each_other_where_that_is_allowed
    ),
    (ONE, who_sees_the_members_is_one_rule_for_all_protocols),
    (
        INSTANCES,
        pushes_of_the_application_are_not_crowded_out_by_publications
    ),
    (ONE, a_client_that_publishes_too_often_is_told_so),
    (ONE, a_client_that_asks_of_topics_too_often_is_told_so),
    (INSTANCES, what_a_client_has_missed_follows_anywhere),
    (ONE, a_client_whose_position_is_lost_is_told_so),
    (ONE.in_redis(), a_record_that_nobody_can_read_is_left_out),
    (ONE, the_newest_records_come_as_many_as_fit),
];

const SECRET: &[u8] = b"a secret of at least thirty-two bytes";

/// H01, H13: each login that fails has an error or a code of its own, and is counted.
fn a_login_fails_with_the_number_that_clients_act_on(cell: Cell) {
    let cluster = start(cell, 1, |settings| settings);
    let server = &cluster[0];
    for encoding in Encoding::ALL {
        let missing = Client::open(server, encoding).refused("connect", json!({}));
        assert_eq!(missing, 101);
        let expired = json!({"token": token("ann", -3600, &json!({}))});
        assert_eq!(
            Client::open(server, encoding).refused("connect", expired),
            109
        );
        let mut wrong = Client::open(server, encoding);
        wrong.ask("connect", json!({"token": "wrong"}));
        assert_eq!(wrong.disconnected(), (Some(3500), Some(3500)));
    }
    for code in ["no_token", "token_expired", "invalid_token"] {
        eventually("it is counted", || {
            let label = format!(r#"code="{code}""#);
            server
                .api()
                .metric_of("switchboard_terminals_refused_total", &label)
                >= 2.0
        });
    }
    server.await_log("a login behind the handshake fails");
    let open = cell.start(1);
    for encoding in Encoding::ALL {
        let unclear = Client::open(&open[0], encoding).refused("connect", json!({}));
        assert_eq!(unclear, 107, "`--auth open` finds no user");
    }
}

/// H01: of two tokens neither would count.
fn a_token_in_the_command_counts_instead_of_others(cell: Cell) {
    let cluster = start(cell, 1, |s| s.with("token_in_query", true));
    let server = &cluster[0];
    for encoding in Encoding::ALL {
        let handshake = handshake(server.terminals())
            .bearer(&token("bob", 600, &json!({})))
            .query("token", "another");
        let mut client = Client::over(handshake, encoding);
        let reply = client.call("connect", json!({"token": token("ann", 600, &json!({}))}));
        assert!(reply["connect"]["subs"]["#ann"].is_object(), "{reply}");
    }
}

/// H10: those who break the protocol, or say nothing, are let go.
fn whoever_does_not_say_who_it_is_does_not_stay(cell: Cell) {
    let cluster = start(cell, 1, |s| s.with("authentication_timeout", "1s"));
    for encoding in Encoding::ALL {
        let mut silent = Client::open(&cluster[0], encoding);
        assert_eq!(silent.disconnected(), (Some(3502), Some(3502)));
        let mut hasty = Client::open(&cluster[0], encoding);
        hasty.ask("subscribe", json!({"channel": "news"}));
        assert_eq!(hasty.disconnected(), (Some(3501), Some(3501)));
    }
}

/// H06: a connection ends with its token, unless that is renewed in time.
fn a_client_renews_its_token_or_goes_when_it_has_run_out(cell: Cell) {
    let cluster = start(cell, 1, |s| s.with("refresh_grace", "1s"));
    let server = &cluster[0];
    for encoding in Encoding::ALL {
        let soon = json!({"token": token("ann", 3, &json!({}))});
        let (mut stays, connected) = Client::connect(server, encoding, soon.clone());
        assert_eq!(connected["expires"], true);
        let ttl = connected["ttl"].as_u64().expect("it is told when");
        assert!((1..=3).contains(&ttl), "{ttl}");
        let (mut goes, _) = Client::connect(server, encoding, soon.clone());
        let (mut changes, _) = Client::connect(server, encoding, soon);

        let renewed = json!({"token": token("ann", 600, &json!({}))});
        let refreshed = stays.call("refresh", renewed)["refresh"].take();
        assert_eq!(refreshed["expires"], true);
        let ttl = refreshed["ttl"].as_u64().expect("it is told when");
        assert!((500..=600).contains(&ttl), "{ttl}");
        let others = json!({"token": token("bob", 600, &json!({}))});
        changes.ask("refresh", others);
        assert_eq!(changes.disconnected(), (Some(3500), Some(3500)));

        assert_eq!(goes.disconnected(), (Some(3005), Some(3005)));
        server
            .api()
            .push("ann", "\"still there\"")
            .expect_written(1);
        assert_eq!(stays.publication("#ann")["data"], "still there");
    }
}

/// H08: some of its connections may be dead, and not be noticed yet.
fn a_user_with_too_many_connections_is_to_come_again(cell: Cell) {
    let cluster = start(cell, 1, |s| s.with("connections_per_user", 1));
    for encoding in Encoding::ALL {
        let user = format!("{encoding:?}");
        let (_first, _) = connect(&cluster[0], encoding, &user);
        let mut second = Client::open(&cluster[0], encoding);
        let reply = second.call("connect", json!({"token": token(&user, 600, &json!({}))}));
        let error = &reply["error"];
        assert_eq!(
            (&error["code"], &error["temporary"]),
            (&json!(106), &json!(true))
        );
        assert_eq!(second.disconnected(), (None, Some(3013)));
    }
}

/// By 4001 a client would come back.
fn a_client_that_is_kicked_is_told_to_stay_away(cell: Cell) {
    let cluster = start(cell, 2, |settings| settings);
    for encoding in Encoding::ALL {
        let (mut client, _) = connect(&cluster[0], encoding, "ann");
        cluster[1].api().kick("ann");
        assert_eq!(client.disconnected(), (Some(3503), Some(3503)));
    }
}

/// H53: and misses nothing.
fn a_client_whose_server_is_drained_goes_on_at_another_one(cell: Cell) {
    let mut cluster = start(cell, 2, |s| s.with("drain", "1s"));
    let mut clients = Encoding::ALL.map(|encoding| {
        let user = format!("{encoding:?}");
        let (client, connected) = connect(&cluster[0], encoding, &user);
        (
            encoding,
            client,
            connected["subs"][format!("#{user}")].clone(),
        )
    });
    cluster[0].sigterm();
    for (encoding, client, sub) in &mut clients {
        assert_eq!(client.disconnected(), (Some(3001), Some(3001)));
        let user = format!("{encoding:?}");
        durable(&cluster[1], &user, "\"missed\"");
        let (mut again, sub) = resume(&cluster[1], *encoding, &user, sub);
        assert_eq!(sub["recovered"], true, "{sub}");
        assert_eq!(again.publication(&format!("#{user}"))["data"], "missed");
    }
    assert!(cluster[0].wait_exit().success());
}

/// H27: a client that is there answers, and others do not stay.
fn a_client_that_answers_no_ping_is_let_go(cell: Cell) {
    let cluster = start(cell, 1, |s| {
        s.with("ping_interval", "300ms").with("ping_timeout", "2s")
    });
    for encoding in Encoding::ALL {
        let (mut silent, _) = connect(&cluster[0], encoding, "bob");
        silent.answers_pings = false;
        assert_eq!(silent.disconnected(), (Some(3012), Some(3012)));
        assert!(silent.pings > 1, "pings go on while one is open");
        let (mut answers, connected) = connect(&cluster[0], encoding, "ann");
        let told = (&connected["ping"], &connected["pong"]);
        assert_eq!(told, (&json!(1), &json!(true)));
        // Longer than a client is given that answers none.
        answers.read_for(Duration::from_secs(5));
        assert!(answers.pings > 1);
    }
}

/// Its package has no pings of its own then, and its WebSocket answers by itself.
fn a_client_is_pinged_by_its_websocket_if_it_asks_for_that(cell: Cell) {
    let cluster = start(cell, 1, |s| {
        s.with("ping_interval", "300ms").with("ping_timeout", "2s")
    });
    let server = &cluster[0];
    for encoding in Encoding::ALL {
        let open = |user: &str| {
            let connect = handshake(server.terminals()).query("cf_ws_frame_ping_pong", "true");
            let mut client = Client::over(connect, encoding);
            let login = json!({"token": token(user, 600, &json!({}))});
            let connected = client.call("connect", login)["connect"].take();
            let told = (&connected["ping"], &connected["pong"]);
            let is_unsaid = |it: &Value| it.is_null() || *it == 0 || *it == false;
            assert!(is_unsaid(told.0) && is_unsaid(told.1), "{connected}");
            client
        };
        let mut answers = open("ann");
        // What reads nothing answers nothing.
        let mut silent = open("bob");
        eventually("it is let go", || {
            answers.read_for(Duration::from_millis(50));
            server.api().connections("bob").connections.is_empty()
        });
        assert_eq!(silent.disconnected(), (Some(3012), Some(3012)));
        assert!(answers.control_pings > 1 && silent.control_pings > 1);
        server.api().push("ann", "1").expect_written(1);
        assert_eq!(answers.publication("#ann")["data"], 1);
        assert_eq!((answers.pings, silent.pings), (0, 0));
    }
}

/// H23, H24: its log is the buffer.
fn a_client_that_reads_slowly_misses_no_record(cell: Cell) {
    let cluster = start(cell, 1, |s| {
        s.with("queue_bytes", 1 << 20)
            .with("log_bytes", 64 << 20)
            .with("log_records", 1000)
    });
    for encoding in Encoding::ALL {
        let user = format!("{encoding:?}");
        let (mut slow, _) = connect(&cluster[0], encoding, &user);
        let large = "x".repeat(256 << 10);
        for number in 0..40 {
            durable(&cluster[0], &user, &json!([number, large]).to_string());
        }
        for number in 0..40 {
            let publication = slow.publication(&format!("#{user}"));
            assert_eq!(publication["data"][0], number);
        }
    }
}

/// Clients drop what is published to a channel before their subscription to it is answered.
fn what_is_pushed_to_a_topic_comes_behind_the_answer_to_its_subscription(cell: Cell) {
    let cluster = start(cell, 1, |settings| settings);
    let server = &cluster[0];
    for (encoding, topic) in Encoding::ALL.into_iter().zip(["room-1", "room-2"]) {
        let claims = json!({"topics": ["room-*"]});
        let connect = json!({"token": token("ann", 600, &claims)});
        let (mut client, _) = Client::connect(server, encoding, connect);
        cluster.redis().pause();
        let asked = client.ask("subscribe", json!({"channel": topic}));
        assert_eq!(
            client.refused("rpc", json!({})),
            108,
            "what was said is heard"
        );
        let push = Request::new("POST", format!("/v1/topics/{topic}/push")).body("early");
        server.api().receipt(push.query("deadline", "300ms"));
        cluster.redis().resume();
        client.publication(topic);
        let heard: Vec<_> = client.heard().collect();
        assert!(heard.iter().any(|said| said["id"] == asked), "{heard:?}");
    }
}

/// Clients act on these numbers.
fn a_subscription_is_refused_by_number(cell: Cell) {
    let cluster = start(cell, 2, |s| s.with("connection_topics", 2));
    for encoding in Encoding::ALL {
        let rights = json!({"topics": ["news", "room-*"]});
        let connect = json!({"token": token("ann", 600, &rights)});
        let (mut client, connected) = Client::connect(&cluster[0], encoding, connect);
        assert!(connected["subs"]["news"].is_object(), "{connected}");
        let mut refused = |channel: &str| client.refused("subscribe", json!({"channel": channel}));
        assert_eq!(refused("secret"), 103);
        assert_eq!(refused("news"), 105);
        assert_eq!(refused("#bob"), 103);
        assert_eq!(refused(&"x".repeat(256)), 107);
        let subscribed = client.call("subscribe", json!({"channel": "room-1"}));
        assert!(subscribed["subscribe"].is_object(), "{subscribed}");
        assert_eq!(
            client.refused("subscribe", json!({"channel": "room-2"})),
            106
        );
        cluster[1].api().push_topic("room-1", "1").expect_written(1);
        assert_eq!(client.publication("room-1")["data"], 1);
        client.call("unsubscribe", json!({"channel": "room-1"}));
        let again = client.call("subscribe", json!({"channel": "room-2"}));
        assert!(again["subscribe"].is_object(), "{again}");
    }
}

/// H01, H06: tokens of Centrifugo, for one topic and one user.
fn a_token_for_a_topic_allows_it_until_it_runs_out(cell: Cell) {
    let cluster = start(cell, 2, |s| {
        s.with("refresh_grace", "500ms")
            .with("ping_interval", "500ms")
    });
    for encoding in Encoding::ALL {
        let (mut client, connected) = {
            let connect = json!({"token": token("ann", 600, &json!({"channels": ["own"]}))});
            Client::connect(&cluster[0], encoding, connect)
        };
        assert!(connected["subs"]["own"].is_object(), "{connected}");
        let of = |user: &str, seconds| token(user, seconds, &json!({"channel": "news"}));
        let mut refused =
            |token: String| client.refused("subscribe", json!({"channel": "news", "token": token}));
        assert_eq!(refused(of("bob", 600)), 103);
        assert_eq!(refused(token("ann", 600, &json!({}))), 103);
        assert_eq!(refused("wrong".to_owned()), 103);
        assert_eq!(refused(of("ann", -3600)), 109);
        let subscribe = json!({"channel": "news", "token": of("ann", 2)});
        let subscribed = client.call("subscribe", subscribe)["subscribe"].take();
        assert_eq!(subscribed["expires"], true, "{subscribed}");
        cluster[1].api().push_topic("news", "1").expect_written(1);
        assert_eq!(client.publication("news")["data"], 1);
        let renewed = json!({"channel": "news", "token": of("ann", 3)});
        let renewed = client.call("sub_refresh", renewed)["sub_refresh"].take();
        assert_eq!(renewed["expires"], true, "{renewed}");
        assert_eq!(client.push("news", "unsubscribe")["code"], 2501);
        cluster[1].api().push_topic("news", "2").expect_written(0);
    }
}

/// Both are off unless the settings say otherwise.
fn members_publish_and_see_each_other_where_that_is_allowed(cell: Cell) {
    let cluster = start(cell, 2, |s| {
        s.with("namespaces", vec!["chat:=subscribe+publish+presence"])
    });
    for encoding in Encoding::ALL {
        let channel = format!("chat:{encoding:?}");
        let (mut ann, connected) = connect(&cluster[0], encoding, "ann");
        let (mut bob, _) = connect(&cluster[1], encoding, "bob");
        let publish = json!({"channel": &channel, "data": {"text": "hello"}});
        assert_eq!(
            ann.refused("publish", publish.clone()),
            103,
            "she is no member"
        );
        for client in [&mut ann, &mut bob] {
            let subscribed = client.call("subscribe", json!({"channel": &channel}));
            assert!(subscribed["subscribe"].is_object(), "{subscribed}");
        }
        let published = ann.call("publish", publish);
        assert!(published["publish"].is_object(), "{published}");
        for client in [&mut ann, &mut bob] {
            assert_eq!(
                client.publication(&channel)["data"],
                json!({"text": "hello"})
            );
        }
        // While it is in doubt who is there, as after the start of a server, it is refused.
        let mut seen = |ask: &str| {
            eventually_some("it is certain who is there", || {
                let reply = bob.call(ask, json!({"channel": &channel}));
                let refused = reply["error"]["code"].as_u64();
                assert!(refused.is_none_or(|code| code == 100), "{reply}");
                refused.is_none().then(|| reply[ask].clone())
            })
        };
        let presence = seen("presence")["presence"].take();
        let ann_there = &presence[connected["client"].as_str().expect("a name")];
        assert_eq!(ann_there["user"], "ann", "{presence}");
        assert_eq!(presence.as_object().map(serde_json::Map::len), Some(2));
        let stats = seen("presence_stats");
        assert_eq!(stats, json!({"num_clients": 2, "num_users": 2}));
        assert_eq!(ann.refused("history", json!({"channel": &channel})), 108);
        assert_eq!(ann.refused("subscribe", json!({"channel": "other"})), 103);
    }
}

/// It is not decided by the way that a terminal takes: both bring one token.
fn who_sees_the_members_is_one_rule_for_all_protocols(cell: Cell) {
    let cluster = start(cell, 1, |s| s.with("namespaces", vec!["open:=presence"]));
    let server = &cluster[0];
    let claim = json!({"topics": ["open:1", "closed:*", "closed:1"]});
    let token = token("ann", 600, &claim);
    let mut plain = Connect::to(server.terminals()).bearer(&token).open();
    for topic in ["open:1", "closed:1"] {
        plain.expect_topic("joined", topic);
    }
    server.api().join("closed:3", "ann");
    plain.expect_topic("joined", "closed:3");
    // It is a member of the first by its token, of the second not yet, and of the third by the application.
    for (topic, sees) in [
        ("closed:1", false),
        ("closed:2", false),
        ("closed:3", false),
        ("open:1", true),
    ] {
        let watch = json!({"switchboard": {"join": topic, "presence": true}});
        plain.send_text(&watch.to_string());
        if sees {
            plain.expect_topic("joined", topic);
            let seen = plain.expect_topic("presence", topic);
            assert_eq!(seen["users"], json!(["ann"]));
        } else {
            let refused = plain.expect_topic("refused", topic);
            assert_eq!(refused["reason"], "not_allowed");
        }
    }
    for encoding in Encoding::ALL {
        let connect = json!({"token": token});
        let (mut client, _) = Client::connect(server, encoding, connect);
        for ask in ["presence", "presence_stats"] {
            assert_eq!(client.refused(ask, json!({"channel": "closed:1"})), 108);
            let seen = client.call(ask, json!({"channel": "open:1"}));
            let in_doubt = seen["error"]["code"] == 100;
            assert!(in_doubt || seen[ask].is_object(), "{seen}");
        }
    }
}

/// H24: three of many members publish as fast as they can, and are told to come later.
fn pushes_of_the_application_are_not_crowded_out_by_publications(cell: Cell) {
    let cluster = start(cell, 2, |s| {
        s.with("namespaces", vec!["lobby=publish"])
            .with("broadcasts", 4)
            .with("broadcast_rate", 1000)
            .with("topic_publications", 1000)
    });
    let server = &cluster[0];
    let claim = json!({"topics": ["lobby"]});
    // Many for each instance, where a process has two.
    let listeners: Vec<_> = (0..300)
        .map(|number| {
            let token = token(&format!("user{number}"), 600, &claim);
            let mut terminal = Connect::to(server.terminals()).bearer(&token).open();
            terminal.expect_topic("joined", "lobby");
            terminal
        })
        .collect();
    let over = AtomicBool::new(false);
    let refused = AtomicUsize::new(0);
    let flood = |name: &str| {
        let connect = json!({"token": token(name, 600, &claim)});
        let (mut client, _) = Client::connect(server, Encoding::Json, connect);
        while !over.load(Ordering::Relaxed) {
            let reply = client.call("publish", json!({"channel": "lobby", "data": "flood"}));
            match reply["error"]["code"].as_u64() {
                None => {}
                Some(111) => _ = refused.fetch_add(1, Ordering::Relaxed),
                Some(other) => panic!("refused by {other}"),
            }
        }
    };
    std::thread::scope(|scope| {
        for name in ["eve", "mia", "joe"] {
            scope.spawn(|| flood(name));
        }
        let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually("some are refused", || refused.load(Ordering::Relaxed) > 10);
            for via in [0, 1, 0] {
                let to_everyone = cluster[via].api().broadcast("news");
                let to_members = cluster[via].api().push_topic("lobby", "news");
                for receipt in [to_everyone, to_members] {
                    let reached = receipt.written + receipt.queued;
                    assert!(receipt.failed == 0 && reached >= 300, "{receipt:?}");
                }
            }
        }));
        over.store(true, Ordering::Relaxed);
        if let Err(cause) = tried {
            std::panic::resume_unwind(cause);
        }
    });
    drop(listeners);
}

/// Each has a pace of its own.
fn a_client_that_publishes_too_often_is_told_so(cell: Cell) {
    let cluster = start(cell, 1, |s| {
        s.with("namespaces", vec!["chat=subscribe+publish"])
            .with("topic_publications", 5)
    });
    for encoding in Encoding::ALL {
        let (mut hasty, _) = connect(&cluster[0], encoding, "ann");
        hasty.call("subscribe", json!({"channel": "chat"}));
        let publish = json!({"channel": "chat", "data": 1});
        eventually("it is refused", || {
            let ids = [(); 20].map(|()| hasty.ask("publish", publish.clone()));
            let codes = ids.map(|id| hasty.reply(id)["error"]["code"].as_u64());
            codes.contains(&Some(111))
        });
    }
}

/// To read the log of a topic that nobody has written to begins it: whoever may read the log of any topic begins as many
/// as whoever may join any. Of its own user a client may ask as often as it likes.
fn a_client_that_asks_of_topics_too_often_is_told_so(cell: Cell) {
    let cluster = start(cell, 1, |s| {
        s.with("namespaces", vec!["wall:=history_any+presence_any"])
            .with("topic_joins", 5)
    });
    for encoding in Encoding::ALL {
        let (mut hasty, _) = connect(&cluster[0], encoding, "ann");
        let mut codes = |act: &str, channel: &dyn Fn(usize) -> String| {
            let ask = |number| hasty.ask(act, json!({"channel": channel(number)}));
            let ids: Vec<_> = (0..20).map(ask).collect();
            let codes = ids
                .into_iter()
                .map(|id| hasty.reply(id)["error"]["code"].as_u64());
            codes.collect::<Vec<_>>()
        };
        for act in ["history", "presence"] {
            eventually("it is refused", || {
                codes(act, &|number| format!("wall:{number}")).contains(&Some(111))
            });
        }
        assert_eq!(codes("history", &|_| "#ann".to_owned()), [None; 20]);
    }
}

/// H50: once, and in order.
fn what_a_client_has_missed_follows_anywhere(cell: Cell) {
    let cluster = start(cell, 2, |settings| settings);
    for encoding in Encoding::ALL {
        let user = format!("{encoding:?}");
        let channel = format!("#{user}");
        let (mut client, connected) = connect(&cluster[0], encoding, &user);
        let mut sub = connected["subs"][&channel].clone();
        for turn in 0..3 {
            durable(&cluster[turn % 2], &user, &format!("{}", 2 * turn));
            let publication = client.publication(&channel);
            assert_eq!(publication["data"], 2 * turn);
            sub["offset"] = publication["offset"].clone();
            drop(client);
            durable(&cluster[turn % 2], &user, &format!("{}", 2 * turn + 1));
            (client, sub) = resume(&cluster[(turn + 1) % 2], encoding, &user, &sub);
            assert_eq!(
                (&sub["recovered"], &sub["was_recovering"]),
                (&json!(true), &json!(true))
            );
            let publication = client.publication(&channel);
            assert_eq!(publication["data"], 2 * turn + 1);
            sub["offset"] = publication["offset"].clone();
        }
    }
}

/// It is told that it may have missed something, and what is kept follows.
fn a_client_whose_position_is_lost_is_told_so(cell: Cell) {
    let cluster = start(cell, 1, |settings| settings);
    for encoding in Encoding::ALL {
        let user = format!("{encoding:?}");
        durable(&cluster[0], &user, "1");
        let lost = json!({"offset": 7, "epoch": "1"});
        let (mut client, sub) = resume(&cluster[0], encoding, &user, &lost);
        assert_eq!(sub["was_recovering"], true);
        assert_ne!(sub["recovered"], true);
        assert_eq!(client.publication(&format!("#{user}"))["data"], 1);
    }
}

/// H36: a client that is closed for it would come back to the same place for ever.
fn a_record_that_nobody_can_read_is_left_out(cell: Cell) {
    const DAMAGE: &str = "local record = redis.call('LINDEX', KEYS[1], 1)
        redis.call('LSET', KEYS[1], 1, string.sub(record, 1, 28) .. '\\255' .. string.sub(record, 30))";
    let cluster = start(cell, 1, |settings| settings);
    for encoding in Encoding::ALL {
        let user = format!("{encoding:?}");
        let channel = format!("#{user}");
        let (client, connected) = connect(&cluster[0], encoding, &user);
        drop(client);
        for number in 1..=3 {
            durable(&cluster[0], &user, &number.to_string());
        }
        let keys: Vec<String> = cluster.redis().command(&["KEYS", &format!("*h:{user}")]);
        let _: Option<String> = cluster.redis().command(&["EVAL", DAMAGE, "1", &keys[0]]);
        let mut sub = connected["subs"][&channel].clone();
        let mut told = Vec::new();
        let mut recovered = Vec::new();
        while told != [1, 3] {
            assert!(
                recovered.len() < 3,
                "it comes back again and again: {recovered:?}"
            );
            let (mut client, result) = resume(&cluster[0], encoding, &user, &sub);
            recovered.push(result["recovered"] == true);
            sub = result;
            loop {
                let next = client.publication_or_end(&channel);
                let Some(publication) = next else { break };
                told.push(publication["data"].as_u64().expect("a number"));
                sub["offset"] = publication["offset"].clone();
                if told == [1, 3] {
                    break;
                }
            }
        }
        assert_eq!(
            recovered,
            [true, false],
            "it is told that something is missing"
        );
    }
}

/// An answer has a limit of bytes. That the server asks for fewer each time does not count as questions of the client.
fn the_newest_records_come_as_many_as_fit(cell: Cell) {
    let cluster = start(cell, 1, |s| {
        s.with("log_bytes", 4 << 20)
            .with("namespaces", vec!["wall:=history_any"])
            .with("topic_joins", 1)
    });
    for encoding in Encoding::ALL {
        let user = format!("{encoding:?}");
        let (mut client, _) = connect(&cluster[0], encoding, &user);
        for number in 0..10 {
            durable(
                &cluster[0],
                &user,
                &json!([number, "x".repeat(60_000)]).to_string(),
            );
        }
        let topic = format!("wall:{user}");
        for number in 0..10 {
            let record = Request::new("POST", format!("/v1/topics/{topic}/push"));
            let record = record.body(json!([number, "x".repeat(60_000)]).to_string());
            cluster[0].api().receipt(record.query("durable", "true"));
        }
        for channel in [format!("#{user}"), topic] {
            let asked = json!({"channel": channel, "limit": 1000, "reverse": true});
            let history = client.call("history", asked)["history"].take();
            let publications = history["publications"].as_array().expect("a list");
            let numbers: Vec<_> = publications
                .iter()
                .map(|each| each["data"][0].as_u64())
                .collect();
            let newest: Vec<_> = (0..10).rev().take(numbers.len()).map(Some).collect();
            assert!(!numbers.is_empty() && numbers.len() < 10);
            assert_eq!(numbers, newest);
        }
    }
}

/// Servers that take tokens.
pub(super) fn start(
    cell: Cell,
    servers: usize,
    configure: impl Fn(Settings) -> Settings,
) -> Cluster {
    cell.start_with(servers, |s| {
        configure(s.with("auth", "jwt").with_file("jwt_secret_file", SECRET))
    })
}

pub(super) fn token(user: &str, seconds: i64, more: &Value) -> String {
    let mut claims = json!({"sub": user, "exp": seconds_from_now(seconds)});
    for (name, value) in more.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    hs256(SECRET, &claims)
}

/// A client of this user, and the result of its `connect`.
#[track_caller]
fn connect(server: &Server, encoding: Encoding, user: &str) -> (Client, Value) {
    let connect = json!({"token": token(user, 600, &json!({}))});
    Client::connect(server, encoding, connect)
}

/// A client that comes back where it stands in its user's channel, and what it is told of that.
#[track_caller]
fn resume(server: &Server, encoding: Encoding, user: &str, sub: &Value) -> (Client, Value) {
    let channel = format!("#{user}");
    let sub = json!({"recover": true, "offset": sub["offset"], "epoch": sub["epoch"]});
    let connect = json!({"token": token(user, 600, &json!({})), "subs": {(&channel): sub}});
    let (client, connected) = Client::connect(server, encoding, connect);
    let sub = connected["subs"][&channel].clone();
    (client, sub)
}

#[track_caller]
fn durable(server: &Server, user: &str, text: &str) {
    let receipt = server
        .api()
        .receipt(push(user, text).query("durable", "true"));
    assert_ne!(receipt.logged, Value::Null, "{receipt:?}");
}
