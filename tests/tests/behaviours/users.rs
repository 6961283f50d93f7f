//! Whom a user id can name, and how each call names one.

use serde_json::json;
use switchboard_tests::api::json_post;
use switchboard_tests::behaviour::{Behaviour, INSTANCES, ONE};
use switchboard_tests::behaviours;
use switchboard_tests::http::{Request, encode};
use switchboard_tests::matrix::Cell;
use switchboard_tests::patience::{SILENCE, eventually};
use switchboard_tests::terminal::{Connect, Ending};
use switchboard_tests::token::{hs256, seconds_from_now};

pub(crate) const LIST: &[Behaviour] = behaviours![
    (INSTANCES, each_call_can_name_its_user_in_the_body),
    (ONE, a_user_that_urls_resolve_is_refused_everywhere),
    (ONE, a_user_has_one_spelling),
];

/// Users whom browsers, HTTP libraries or proxies turn into another path, whatever is encoded.
const RESOLVED: [&str; 8] = [
    ".",
    "..",
    "%2e%2E",
    ".%2e",
    "ann/..",
    "../../push",
    "a\\..\\b",
    "..;v=1",
];

/// H02, H07: a push to `..` would be one to whomever its payload names.
fn a_user_that_urls_resolve_is_refused_everywhere(cell: Cell) {
    const SECRET: &[u8] = b"a secret of at least thirty-two bytes";
    let open = cell.start(1);
    let jwt = cell.start_with(1, |s| {
        s.with("auth", "jwt").with_file("jwt_secret_file", SECRET)
    });
    let mut terminal = open[0].terminal("ann");
    for user in RESOLVED {
        let refused = open[0].connect().user(user).refused();
        refused.expect_error(400, "bad_request");
        let token = hs256(SECRET, &json!({"sub": user, "exp": seconds_from_now(600)}));
        let refused = jwt[0].connect().bearer(&token).refused();
        refused.expect_error(401, "invalid_token");
        assert!(refused.error_message().contains("URLs"), "{user}");

        let path = format!("/v1/users/{}", encode(user));
        for request in [
            Request::new("POST", format!("{path}/push")).body("x"),
            Request::new("GET", format!("{path}/connections")),
            Request::new("DELETE", format!("{path}/connections")),
            json_post("/v1/push", &json!({"users": ["ann", user], "text": "x"})),
            json_post("/v1/connections", &json!({"user": user})),
            json_post("/v1/kick", &json!({"user": user})),
        ] {
            let refused = open[0].api().send(request);
            refused.expect_error(400, "bad_user");
        }
    }
    // As raw bytes, and as an encoder writes it that encodes more than it must.
    for path in ["/v1/users/../push", "/v1/users/%2E%2e/push"] {
        let body = json!({"users": ["ann"], "text": "x"});
        let refused = open[0].api().send(json_post(path, &body));
        refused.expect_error(400, "bad_user");
    }
    terminal.expect_silence(SILENCE);
}

/// H07: one user has one spelling, so that nobody is mistaken for another.
fn a_user_has_one_spelling(cell: Cell) {
    let cluster = cell.start(1);
    let percent = cluster[0].terminal("%zz");
    for text in ["%zz", "%", "ann%", "ann%6"] {
        let address = cluster[0].terminals();
        for target in [
            format!("/connect?user={text}"),
            format!("/connect?user=ann&{text}"),
        ] {
            let refused = Connect::at(address, &target).refused();
            refused.expect_error(400, "bad_request");
        }
        let push = Request::new("POST", format!("/v1/users/{text}/push")).body("x");
        cluster[0].api().send(push).expect_error(400, "bad_user");
        let query = Request::new("POST", format!("/v1/users/ann/push?deadline=1s{text}"));
        let refused = cluster[0].api().send(query.body("x"));
        refused.expect_error(400, "bad_query");
    }
    cluster[0].api().push("%zz", "x").expect_written(1);
    drop(percent);
}

/// H02: no program and no proxy on the way can change whom a body names.
fn each_call_can_name_its_user_in_the_body(cell: Cell) {
    const USER: &str = "https://id.example//users/7/?a=b#%zz +é";
    let cluster = cell.start(2);
    let mut first = cluster[0].terminal(USER);
    let mut second = cluster[1].terminal(USER);
    let api = cluster[0].api();
    let list = || api.send(json_post("/v1/connections", &json!({"user": USER})));
    let listed = || list().json()["connections"].as_array().map_or(0, Vec::len);
    assert_eq!(list().status, 200);
    eventually("both are listed", || listed() == 2);

    let push = |connections: serde_json::Value| {
        let mut body = json!({"users": [USER], "text": "x"});
        if !connections.is_null() {
            body["connections"] = connections;
        }
        api.receipt(json_post("/v1/push", &body))
    };
    push(json!([second.uuid])).expect_written(1);
    second.expect_text("x");
    push(json!(null)).expect_written(2);
    first.expect_text("x");
    second.expect_text("x");

    let kick = |body| api.receipt(json_post("/v1/kick?deadline=5s", &body));
    let second = second.follow();
    kick(json!({"user": USER, "connections": [second.uuid]})).expect_written(1);
    let kicked = Ending::Closed(4001, "kicked".to_owned());
    assert_eq!(second.await_ending(), kicked);
    first.expect_silence(SILENCE);
    let first = first.follow();
    kick(json!({"user": USER})).expect_written(1);
    assert_eq!(first.await_ending(), kicked);
}
