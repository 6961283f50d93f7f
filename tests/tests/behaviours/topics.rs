//! Topics: who becomes a member, whom a push to a topic reaches, and who is listed.

use serde_json::{Value, json};
use switchboard_tests::api::{Members, Receipt, json_post};
use switchboard_tests::behaviour::{Behaviour, INSTANCES, ONE, PROCESSES};
use switchboard_tests::behaviours;
use switchboard_tests::http::Request;
use switchboard_tests::matrix::Cell;
use switchboard_tests::patience::{SILENCE, eventually};
use switchboard_tests::server::Server;
use switchboard_tests::settings::Settings;
use switchboard_tests::terminal::{Connect, Terminal};
use switchboard_tests::token::{hs256, seconds_from_now};

pub(crate) const LIST: &[Behaviour] = behaviours![
    (
        INSTANCES,
        a_push_to_a_topic_reaches_its_members_at_all_instances
    ),
    (
        INSTANCES,
        a_push_to_several_topics_reaches_each_member_once_but_the_one_left_out
    ),
    (
        INSTANCES,
        a_terminal_that_is_told_that_it_has_joined_gets_what_is_pushed_from_then_on
    ),
    (
        INSTANCES,
        a_repeat_of_a_push_to_a_topic_reaches_nobody_twice
    ),
    (
        INSTANCES,
        a_user_is_a_member_with_connections_present_and_future
    ),
    (INSTANCES, one_connection_joins_and_leaves),
    (INSTANCES, each_call_can_name_its_topic_in_the_body),
    (INSTANCES, members_and_users_are_listed_in_pages),
    (INSTANCES, the_connections_of_many_users_are_one_answer),
    (
        ONE,
        a_token_says_which_topics_its_terminal_joins_and_may_join
    ),
    (ONE, topics_and_joins_of_a_terminal_are_limited),
    (ONE, what_topics_cannot_be_asked_for_is_refused),
    (ONE, calls_about_topics_need_the_key),
    (ONE, pushes_to_topics_and_members_are_counted),
    (
        PROCESSES.single_redis(),
        a_terminal_is_told_that_it_has_joined_when_redis_knows_or_that_it_is_doubtful
    ),
    (
        PROCESSES.in_redis(),
        a_killed_server_has_no_members_and_others_get_pushes
    ),
    (
        PROCESSES.in_redis(),
        who_was_at_a_killed_server_alone_leaves_once
    ),
    (
        PROCESSES.in_redis(),
        what_is_kept_with_a_user_outlives_the_server_that_was_told
    ),
    (
        PROCESSES.single_redis(),
        members_are_found_again_after_redis_was_emptied
    ),
];

fn written(receipt: &Receipt) -> Vec<u64> {
    receipt.instances.iter().map(|one| one.written).collect()
}

fn joined(terminal: &mut Terminal, topic: &str) {
    terminal.join(topic);
    let told = terminal.expect_topic("joined", topic);
    assert_eq!(told["degraded"], Value::Null);
}

fn a_push_to_a_topic_reaches_its_members_at_all_instances(cell: Cell) {
    let cluster = cell.start(3);
    let mut members: Vec<_> = [0, 0, 1, 2]
        .into_iter()
        .map(|at| cluster[at].terminal("ann"))
        .collect();
    for member in &mut members {
        joined(member, "news/today");
    }
    let mut other = cluster[1].terminal("bob");
    for at in 0..3 {
        let text = format!("from {at}");
        let receipt = cluster[at].api().push_topic("news/today", &text);
        assert_eq!((receipt.written, receipt.failed), (4, 0), "{receipt:?}");
        assert!(!receipt.degraded && receipt.terminals.is_empty());
        assert_eq!(written(&receipt).iter().sum::<u64>(), 4);
        for member in &mut members {
            member.expect_text(&text);
        }
    }
    members[0].leave("news/today");
    members[0].expect_topic("left", "news/today");
    let receipt = cluster[1].api().push_topic("news/today", "later");
    receipt.expect_written(3);
    members[0].expect_silence(SILENCE);
    other.expect_silence(SILENCE);
    members.truncate(0);
    eventually("nobody is a member", || {
        let receipt = cluster[0].api().push_topic("news/today", "nobody");
        receipt.written == 0 && receipt.instances.is_empty()
    });
}

fn a_push_to_several_topics_reaches_each_member_once_but_the_one_left_out(cell: Cell) {
    let cluster = cell.start(2);
    let mut both = cluster[1].terminal("ann");
    joined(&mut both, "news");
    joined(&mut both, "sport");
    let mut one = cluster[0].terminal("bob");
    joined(&mut one, "sport");
    let push = |body: &Value| cluster[0].api().receipt(json_post("/v1/push", body));
    push(&json!({"topics": ["sport", "news", "sport"], "text": "1"})).expect_written(2);
    push(&json!({"topics": ["sport", "news"], "except": both.uuid, "text": "2"})).expect_written(1);
    push(&json!({"topics": ["news"], "base64": "AP8="})).expect_written(1);
    let to_others = Request::new("POST", "/v1/topics/sport/push")
        .query("except", &one.uuid.to_string())
        .body("3");
    cluster[1].api().receipt(to_others).expect_written(1);
    both.expect_text("1");
    let binary = switchboard_tests::terminal::Frame::Binary(vec![0, 255]);
    assert_eq!(both.recv(), binary);
    both.expect_text("3");
    one.expect_text("1");
    one.expect_text("2");
    one.expect_silence(SILENCE);
}

/// What `joined` says holds at once, for pushes from anywhere.
fn a_terminal_that_is_told_that_it_has_joined_gets_what_is_pushed_from_then_on(cell: Cell) {
    let cluster = cell.start(2);
    for round in 0..20 {
        let mut terminal = cluster[round % 2].terminal("ann");
        let topic = format!("room-{round}");
        joined(&mut terminal, &topic);
        let receipt = cluster[(round + 1) % 2].api().push_topic(&topic, "at once");
        receipt.expect_written(1);
        terminal.expect_text("at once");
    }
}

fn a_repeat_of_a_push_to_a_topic_reaches_nobody_twice(cell: Cell) {
    let cluster = cell.start(2);
    let mut member = cluster[1].terminal("ann");
    joined(&mut member, "news");
    let request = Request::new("POST", "/v1/topics/news/push")
        .header("Idempotency-Key", "5a1c0000-0000-4000-8000-000000000001")
        .body("once");
    for at in [0, 1, 0] {
        cluster[at].api().receipt(request.clone()).expect_written(1);
    }
    member.expect_text("once");
    member.expect_silence(SILENCE);
}

fn a_user_is_a_member_with_connections_present_and_future(cell: Cell) {
    let cluster = cell.start(2);
    let mut present = cluster[1].terminal("ann");
    let done = cluster[0].api().join("news", "ann");
    assert_eq!(
        (done.kept, done.written, done.degraded),
        (Some(true), 1, false)
    );
    present.expect_topic("joined", "news");
    let mut future = cluster[0].terminal("ann");
    future.expect_topic("joined", "news");
    cluster[1]
        .api()
        .push_topic("news", "both")
        .expect_written(2);
    for terminal in [&mut present, &mut future] {
        terminal.expect_text("both");
    }
    let done = cluster[1].api().leave("news", "ann");
    assert_eq!((done.kept, done.written), (Some(true), 2));
    for terminal in [&mut present, &mut future] {
        terminal.expect_topic("left", "news");
    }
    let mut last = cluster[1].terminal("ann");
    cluster[0]
        .api()
        .push_topic("news", "nobody")
        .expect_written(0);
    last.expect_silence(SILENCE);
    let offline = cluster[0].api().join("news", "bob");
    assert_eq!((offline.kept, offline.written), (Some(true), 0));
    cluster[1].terminal("bob").expect_topic("joined", "news");
}

fn one_connection_joins_and_leaves(cell: Cell) {
    let cluster = cell.start(2);
    let mut one = cluster[1].terminal("ann");
    let mut other = cluster[1].terminal("ann");
    let change = |method: &str| {
        let path = format!("/v1/topics/news/users/ann/connections/{}", one.uuid);
        let answer = cluster[0].api().send(Request::new(method, path));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let receipt: Value = serde_json::from_str(&answer.text()).expect("JSON");
        // It is about what is there, and says nothing of what comes.
        assert_eq!(
            (&receipt["written"], &receipt["kept"]),
            (&json!(1), &Value::Null)
        );
    };
    change("PUT");
    cluster[0]
        .api()
        .push_topic("news", "to one")
        .expect_written(1);
    change("DELETE");
    cluster[0]
        .api()
        .push_topic("news", "to none")
        .expect_written(0);
    one.expect_topic("joined", "news");
    one.expect_text("to one");
    one.expect_topic("left", "news");
    other.expect_silence(SILENCE);
    cluster[0].terminal("ann").expect_silence(SILENCE);
}

fn each_call_can_name_its_topic_in_the_body(cell: Cell) {
    let cluster = cell.start(2);
    let mut ann = cluster[1].terminal("ann");
    let named = json!({"topic": "a/b?c", "user": "ann"});
    let answer = |target: &str, body: &Value| -> Value {
        let answer = cluster[0].api().send(json_post(target, body));
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        serde_json::from_str(&answer.text()).expect("JSON")
    };
    assert_eq!(answer("/v1/join", &named)["kept"], true);
    ann.expect_topic("joined", "a/b?c");
    let members = answer("/v1/members?limit=1", &json!({"topic": "a/b?c"}));
    assert_eq!(members["members"][0]["user"], "ann", "{members}");
    assert_eq!(cluster[1].api().members("a/b?c", "").count, 1);
    assert_eq!(answer("/v1/leave", &named)["kept"], true);
    ann.expect_topic("left", "a/b?c");
    let one = json!({"topic": "a/b?c", "user": "ann", "connections": [ann.uuid]});
    let receipt = answer("/v1/join", &one);
    assert_eq!(
        (&receipt["written"], &receipt["kept"]),
        (&json!(1), &Value::Null)
    );
    ann.expect_topic("joined", "a/b?c");
}

fn members_and_users_are_listed_in_pages(cell: Cell) {
    let cluster = cell.start(2);
    let mut terminals = Vec::new();
    for number in 0..10 {
        let mut terminal = cluster[number % 2].terminal(&format!("user{}", number / 2));
        joined(&mut terminal, "news");
        terminals.push(terminal);
    }
    let _other = cluster[0].terminal("zoe");
    let api = cluster[1].api();
    let mut listed = Vec::new();
    let mut query = "limit=4".to_owned();
    loop {
        let Members {
            degraded,
            count,
            members,
            next,
            instances,
        } = api.members("news", &query);
        assert_eq!((degraded, count, instances.len()), (false, 10, 2));
        listed.extend(members.into_iter().map(|member| member.connection));
        match next {
            Some(next) => query = format!("limit=4&after={next}"),
            None => break,
        }
    }
    let mut expected: Vec<_> = terminals.iter().map(|terminal| terminal.uuid).collect();
    expected.sort_unstable();
    assert_eq!(listed, expected);
    let get = |target: &str| -> Value {
        let answer = api.get(target);
        assert_eq!(answer.status, 200, "{}", answer.text());
        serde_json::from_str(&answer.text()).expect("JSON")
    };
    let topic = get("/v1/topics/news");
    assert_eq!(
        (&topic["count"], &topic["degraded"]),
        (&json!(10), &json!(false))
    );
    assert_eq!(topic["instances"].as_array().map(Vec::len), Some(2));
    let users = get("/v1/users?online=true&limit=4");
    assert_eq!(users["users"], json!(["user0", "user1", "user2", "user3"]));
    assert_eq!(users["next"], "user3");
    let users = get("/v1/users?online=true&limit=4&after=user3");
    assert_eq!(users["users"], json!(["user4", "zoe"]));
    assert_eq!(users["next"], Value::Null);
}

fn the_connections_of_many_users_are_one_answer(cell: Cell) {
    let cluster = cell.start(2);
    let terminals = [
        cluster[0].terminal("ann"),
        cluster[1].terminal("ann"),
        cluster[1].terminal("bob"),
    ];
    let users: Vec<_> = ["bob", "nobody", "ann"]
        .into_iter()
        .map(str::to_owned)
        .collect();
    let many = (0..997).map(|number| format!("user{number}"));
    let body = json!({"users": users.into_iter().chain(many).collect::<Vec<_>>()});
    let answer = cluster[0]
        .api()
        .send(json_post("/v1/users/connections", &body));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer: Value = serde_json::from_str(&answer.text()).expect("JSON");
    assert_eq!(answer["degraded"], false);
    let listed = answer["users"].as_array().expect("a list");
    assert_eq!(listed.len(), 1000);
    let of = |index: usize| -> (&Value, Vec<String>) {
        let connections = listed[index]["connections"].as_array().expect("a list");
        let uuids = connections
            .iter()
            .filter_map(|one| one["connection"].as_str());
        (&listed[index]["user"], uuids.map(str::to_owned).collect())
    };
    let mut ann = [&terminals[0], &terminals[1]].map(|terminal| terminal.uuid.to_string());
    ann.sort();
    assert_eq!(of(0), (&json!("bob"), vec![terminals[2].uuid.to_string()]));
    assert_eq!(of(1), (&json!("nobody"), Vec::new()));
    assert_eq!(of(2), (&json!("ann"), ann.to_vec()));
}

fn a_token_says_which_topics_its_terminal_joins_and_may_join(cell: Cell) {
    const SECRET: &[u8] = b"a secret of at least thirty-two bytes";
    let cluster = cell.start_with(1, |s| {
        s.with("auth", "jwt").with_file("jwt_secret_file", SECRET)
    });
    let connect = |topics: &Value| -> Connect {
        let expires = seconds_from_now(600);
        let token = hs256(
            SECRET,
            &json!({"sub": "ann", "exp": expires, "topics": topics}),
        );
        cluster[0].connect().bearer(&token)
    };
    let mut terminal = connect(&json!(["news", "room-*"])).open();
    terminal.expect_topic("joined", "news");
    joined(&mut terminal, "room-7");
    terminal.join("sport");
    let refused = terminal.expect_topic("refused", "sport");
    assert_eq!(refused["reason"], "not_allowed");
    cluster[0]
        .api()
        .push_topic("news", "hello")
        .expect_written(1);
    cluster[0]
        .api()
        .push_topic("sport", "nobody")
        .expect_written(0);
    terminal.expect_text("hello");
    let mut without = cluster[0]
        .connect()
        .bearer(&hs256(
            SECRET,
            &json!({"sub": "bob", "exp": seconds_from_now(600)}),
        ))
        .open();
    without.join("news");
    assert_eq!(
        without.expect_topic("refused", "news")["reason"],
        "not_allowed"
    );
    for bad in [json!([""]), json!("news"), json!([7])] {
        connect(&bad).refused().expect_error(401, "invalid_token");
    }
}

fn topics_and_joins_of_a_terminal_are_limited(cell: Cell) {
    let cluster = cell.start_with(1, |s| s.with("connection_topics", 2));
    let mut terminal = cluster[0].terminal("ann");
    joined(&mut terminal, "a");
    joined(&mut terminal, "b");
    terminal.join("c");
    assert_eq!(terminal.expect_topic("refused", "c")["reason"], "too_many");
    terminal.leave("a");
    terminal.expect_topic("left", "a");
    joined(&mut terminal, "c");
    let small = cell.start_with(1, |s| s.with("topic_members", 1));
    let (mut first, mut second) = (small[0].terminal("ann"), small[0].terminal("bob"));
    joined(&mut first, "a");
    second.join("a");
    assert_eq!(second.expect_topic("refused", "a")["reason"], "full");
    let path = format!("/v1/topics/a/users/bob/connections/{}", second.uuid);
    let answer = small[0].api().send(Request::new("PUT", &path));
    assert_eq!(answer.json()["terminals"][0]["outcome"], "overflow");
    second.expect_topic("refused", "a");
    first.leave("a");
    first.expect_topic("left", "a");
    let answer = small[0].api().send(Request::new("PUT", &path));
    assert_eq!(answer.json()["terminals"][0]["outcome"], "written");
    second.expect_topic("joined", "a");
    let answer = small[0].api().send(Request::new("DELETE", &path));
    assert_eq!(answer.json()["written"], 1);
    second.expect_topic("left", "a");
    let hasty = cell.start_with(1, |s| s.with("topic_joins", 1));
    let mut terminal = hasty[0].terminal("ann");
    for topic in ["a", "b"] {
        terminal.join(topic);
    }
    // A refusal does not wait for the directory.
    let mut answers = [terminal.recv(), terminal.recv()].map(|frame| frame.text().to_owned());
    answers.sort();
    assert!(answers[0].contains("joined"), "{answers:?}");
    assert!(answers[1].contains("too_fast"), "{answers:?}");
}

fn what_topics_cannot_be_asked_for_is_refused(cell: Cell) {
    let cluster = cell.start(1);
    let many: Vec<_> = (0..101).map(|number| number.to_string()).collect();
    let long = "x".repeat(129);
    for (request, code) in [
        (
            Request::new("POST", "/v1/topics/../push").body("x"),
            "bad_topic",
        ),
        (
            Request::new("POST", format!("/v1/topics/{long}/push")).body("x"),
            "bad_topic",
        ),
        (
            Request::new("POST", "/v1/topics/%ff/push").body("x"),
            "bad_topic",
        ),
        (
            Request::new("POST", "/v1/topics/a/push?until=acked").body("x"),
            "bad_until",
        ),
        (
            Request::new("POST", "/v1/topics/a/push?except=7").body("x"),
            "bad_connection",
        ),
        (Request::new("PUT", "/v1/topics/a/users/%00"), "bad_user"),
        (Request::new("PUT", "/v1/topics/%00/users/ann"), "bad_topic"),
        (
            Request::new("DELETE", "/v1/topics/a/users/ann/connections/x"),
            "bad_connection",
        ),
        (
            Request::new(
                "PUT",
                "/v1/topics/a/users/ann?connection=0b0e9f32-5f0e-4a53-8b0a-6e1c1f6f7a11",
            ),
            "bad_query",
        ),
        (Request::new("GET", "/v1/topics/a?limit=7"), "bad_query"),
        (
            Request::new("GET", "/v1/topics/a/members?limit=0"),
            "bad_limit",
        ),
        (
            Request::new("GET", "/v1/topics/a/members?limit=1001"),
            "bad_limit",
        ),
        (Request::new("GET", "/v1/users"), "bad_query"),
        (
            json_post("/v1/push", &json!({"topics": many, "text": "x"})),
            "too_many_topics",
        ),
        (
            json_post("/v1/push", &json!({"topics": [], "text": "x"})),
            "no_topics",
        ),
        (
            json_post("/v1/join", &json!({"topic": "a\u{7}", "user": "ann"})),
            "bad_topic",
        ),
        (
            json_post("/v1/users/connections", &json!({"users": []})),
            "no_users",
        ),
    ] {
        let target = format!("{request:?}");
        let answer = cluster[0].api().send(request);
        assert_eq!(answer.status, 400, "{target}: {}", answer.text());
        answer.expect_error(400, code);
    }
    let wrong = cluster[0]
        .api()
        .send(Request::new("POST", "/v1/topics/a/users/ann"));
    wrong.expect_error(405, "method_not_allowed");
    assert_eq!(wrong.header("allow"), Some("PUT, DELETE"));
}

fn calls_about_topics_need_the_key(cell: Cell) {
    let keys = "a key of sixteen bytes or more\n";
    let settings = Settings::for_tests().with_file("api_key_file", keys);
    let server = Server::start(cell.fleet.adapter(0), &settings);
    for (method, target) in [
        ("POST", "/v1/topics/a/push"),
        ("GET", "/v1/topics/a"),
        ("GET", "/v1/topics/a/members"),
        ("PUT", "/v1/topics/a/users/ann"),
        ("DELETE", "/v1/topics/a/users/ann"),
        ("POST", "/v1/join"),
        ("POST", "/v1/leave"),
        ("POST", "/v1/members"),
        ("GET", "/v1/users?online=true"),
        ("POST", "/v1/users/connections"),
    ] {
        let answer = server.api().send(Request::new(method, target));
        answer.expect_error(401, "no_key");
    }
}

fn pushes_to_topics_and_members_are_counted(cell: Cell) {
    let cluster = cell.start(1);
    let api = cluster[0].api();
    let mut terminals = [cluster[0].terminal("ann"), cluster[0].terminal("bob")];
    for terminal in &mut terminals {
        joined(terminal, "news");
    }
    api.push_topic("news", "x").expect_written(2);
    api.push_topic("nobody", "x").expect_written(0);
    assert_eq!(api.metric("switchboard_topic_push_members_count"), 2.0);
    assert_eq!(api.metric("switchboard_topic_push_members_sum"), 2.0);
    assert_eq!(api.metric("switchboard_topics"), 1.0);
    assert_eq!(api.metric("switchboard_topic_members"), 2.0);
    assert_eq!(api.metric("switchboard_topic_joins_total"), 2.0);
    let requests = "switchboard_http_requests_total";
    assert_eq!(api.metric_of(requests, "/v1/topics/{topic}/push"), 2.0);
}

/// A terminal joins while Redis hangs: it is told after the grace, and that pushes may miss it. What it was told without that word
/// holds for the pushes of others.
fn a_terminal_is_told_that_it_has_joined_when_redis_knows_or_that_it_is_doubtful(cell: Cell) {
    let cluster = cell.start(2);
    let mut terminal = cluster[0].terminal("ann");
    joined(&mut terminal, "before");
    cluster.redis().pause();
    terminal.join("during");
    let told = terminal.expect_topic("joined", "during");
    assert_eq!(told["degraded"], true);
    let here = cluster[0].api().push_topic("during", "here");
    assert_eq!((here.written, here.degraded), (1, true), "{here:?}");
    terminal.expect_text("here");
    cluster.redis().resume();
    eventually("a push from elsewhere reaches it without a doubt", || {
        let receipt = cluster[1].api().push_topic("during", "there");
        if receipt.written == 1 {
            terminal.expect_text("there");
        }
        receipt.written == 1 && !receipt.degraded
    });
    joined(&mut terminal, "after");
    cluster[1]
        .api()
        .push_topic("after", "at once")
        .expect_written(1);
}

/// The users of a presence frame under this word.
fn presence(terminal: &mut Terminal, word: &str) -> Vec<String> {
    let told = terminal.expect_topic("presence", "news");
    let users = told[word].as_array();
    let users = users.unwrap_or_else(|| panic!("{told} has no `{word}`"));
    let names = users
        .iter()
        .map(|user| user.as_str().expect("a name").to_owned());
    names.collect()
}

fn who_was_at_a_killed_server_alone_leaves_once(cell: Cell) {
    let mut cluster = cell.start_with(2, |settings| {
        let settings = settings.with("presence_grace", "500ms");
        settings.with("namespaces", vec!["=presence"])
    });
    let mut others = Vec::new();
    for (at, user) in [(0, "ann"), (0, "bob"), (1, "bob")] {
        let mut member = cluster[at].terminal(user);
        joined(&mut member, "news");
        others.push(member);
    }
    let mut watcher = cluster[1].terminal("zoe");
    let watch = json!({"switchboard": {"join": "news", "presence": true}});
    watcher.send_text(&watch.to_string());
    watcher.expect_topic("joined", "news");
    // A server that has just started may not be seen by all.
    let mut users = presence(&mut watcher, "users");
    while users.len() < 3 {
        users.extend(presence(&mut watcher, "joined"));
    }
    users.sort();
    assert_eq!(users, ["ann", "bob", "zoe"]);
    cluster[0].sigkill();
    assert_eq!(presence(&mut watcher, "left"), ["ann"]);
    watcher.expect_silence(2 * SILENCE);
}

fn a_killed_server_has_no_members_and_others_get_pushes(cell: Cell) {
    let mut cluster = cell.start(2);
    let mut lost = cluster[0].terminal("ann");
    let mut stays = cluster[1].terminal("bob");
    for terminal in [&mut lost, &mut stays] {
        joined(terminal, "news");
    }
    cluster[0].sigkill();
    let api = cluster[1].api();
    let first = api.receipt(
        Request::new("POST", "/v1/topics/news/push")
            .query("deadline", "500ms")
            .body("during"),
    );
    assert_eq!(first.written, 1, "{first:?}");
    stays.expect_text("during");
    eventually("its lease has run out, and with it its members", || {
        let receipt = api.push_topic("news", "who is left?");
        assert_eq!(receipt.written, 1, "{receipt:?}");
        stays.expect_text("who is left?");
        !receipt.degraded && receipt.instances.len() == 1
    });
    let members = api.members("news", "");
    assert_eq!((members.count, members.degraded), (1, false));
    assert_eq!(members.members[0].connection, stays.uuid);
    let mut next = cluster[1].terminal("cid");
    joined(&mut next, "news");
    cluster[1]
        .api()
        .push_topic("news", "to both")
        .expect_written(2);
    next.expect_text("to both");
}

fn what_is_kept_with_a_user_outlives_the_server_that_was_told(cell: Cell) {
    let mut cluster = cell.start(2);
    assert_eq!(cluster[0].api().join("news", "ann").kept, Some(true));
    cluster[0].sigkill();
    let mut terminal = cluster[1].terminal("ann");
    terminal.expect_topic("joined", "news");
    eventually("nobody is in doubt", || {
        let receipt = cluster[1].api().push_topic("news", "still here");
        assert_eq!(receipt.written, 1, "{receipt:?}");
        terminal.expect_text("still here");
        !receipt.degraded
    });
}

/// The rows of topics are written again as those of connections are; until then receipts say `degraded`.
fn members_are_found_again_after_redis_was_emptied(cell: Cell) {
    let cluster = cell.start(2);
    let mut terminal = cluster[1].terminal("ann");
    let topics: Vec<_> = (0..20).map(|number| format!("room-{number}")).collect();
    for topic in &topics {
        joined(&mut terminal, topic);
    }
    cluster.redis().command::<()>(&["FLUSHALL"]);
    for topic in &topics {
        eventually("its members are found without a doubt", || {
            let receipt = cluster[0].api().push_topic(topic, topic);
            assert!(receipt.written == 1 || receipt.degraded, "{receipt:?}");
            if receipt.written == 1 {
                terminal.expect_text(topic);
            }
            receipt.written == 1 && !receipt.degraded
        });
    }
    terminal.expect_silence(SILENCE);
}
