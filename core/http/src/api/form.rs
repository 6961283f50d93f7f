//! Bodies that name users. What stands in a body nothing on the way takes for a part of a path.

use std::str::FromStr as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use switchboard_core::channel::Channel;
use switchboard_core::config::Config;
use switchboard_core::frame::Payload;
use switchboard_core::id::{PushId, TopicId, UserId};
use switchboard_core::message::{Audience, PushRefused};

use super::error::ApiError;
use super::request;

/// JSON may write each byte of a text as six.
const ESCAPED: usize = 6;

/// Bytes of a body beside names and payload.
const FRAME: usize = 1024;

/// Bytes of a user in a list.
const USER: usize = ESCAPED * UserId::MAX_BYTES + 4;

/// Bytes of a topic in a list.
const TOPIC: usize = ESCAPED * TopicId::MAX_BYTES + 4;

/// Bytes of a connection in a list.
const CONNECTION: usize = ESCAPED * 36 + 4;

/// The body of a push to users, to some connections of one, or to topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PushForm {
    /// The id of the push, if it is one among many: that of a single one is in the request's head.
    pub(crate) id: Option<PushId>,
    pub(crate) to: Audience,
    pub(crate) payload: Payload,
}

/// A topic, and the terminals of a user that are to join or leave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Membership {
    pub(crate) topic: TopicId,
    pub(crate) of: Audience,
}

impl PushForm {
    /// The most bytes that such a body can have.
    pub(crate) const fn largest(config: &Config) -> usize {
        ESCAPED * config.push_bytes
            + config.push_users * (USER + CONNECTION)
            + config.push_topics * TOPIC
            + FRAME
    }

    /// Reads the body of a request for one push.
    ///
    /// # Errors
    ///
    /// If it is not of the form, or a user or a connection cannot be one.
    pub(crate) fn read(body: &[u8], config: &Config) -> Result<Self, ApiError> {
        let form = Self::read_line(body, config)?;
        match form.id {
            Some(_) => Err(bad_push(
                "`id` is for one of many: send the header `Idempotency-Key`".to_owned(),
            )),
            None => Ok(form),
        }
    }

    /// Reads one of many, which may say its id.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub(crate) fn read_line(body: &[u8], config: &Config) -> Result<Self, ApiError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            id: Option<String>,
            users: Option<Vec<String>>,
            connections: Option<Vec<String>>,
            topics: Option<Vec<String>>,
            except: Option<String>,
            text: Option<String>,
            base64: Option<String>,
        }
        let form: Fields = json(body, PUSH_FORM)?;
        let bad = |why: &str| bad_push(why.to_owned());
        let to = match (form.users, form.topics) {
            (Some(users), None) => {
                if form.except.is_some() {
                    return Err(bad("`except` is for pushes to `topics`"));
                }
                to_users(&users, form.connections, config.push_users)?
            }
            (None, Some(topics)) => {
                if form.connections.is_some() {
                    return Err(bad("`connections` are of one user"));
                }
                to_topics(&topics, form.except, config.push_topics)?
            }
            (Some(_), Some(_)) => return Err(bad("it has both `users` and `topics`")),
            (None, None) => return Err(bad("it has neither `users` nor `topics`")),
        };
        let payload = payload(form.text, form.base64)?;
        let id = form.id.map(|id| PushId::from_str(&id)).transpose();
        let id = id.map_err(|_| bad("`id` is a UUID"))?;
        Ok(Self { id, to, payload })
    }
}

const PUSH_FORM: &str = r#"{"users": [...], "text": "..."}, with "topics": [...] instead of "users", "base64" instead of "text" for binary, and perhaps "connections": [...] of one user or "except": "..." of topics"#;

const fn bad_push(why: String) -> ApiError {
    ApiError::BadBody {
        form: PUSH_FORM,
        why,
    }
}

fn to_users(
    users: &[String],
    connections: Option<Vec<String>>,
    limit: usize,
) -> Result<Audience, ApiError> {
    let mut users = listed_users(users, limit)?;
    match (connections, users.len()) {
        (None, _) => Ok(Audience::Users(users)),
        (Some(connections), 1) => some_of(users.remove(0), &connections, limit),
        (Some(_), _) => Err(bad_push(
            "`connections` are of one user: name that one in `users`".to_owned(),
        )),
    }
}

fn listed_users(users: &[String], limit: usize) -> Result<Vec<UserId>, ApiError> {
    if users.len() > limit {
        let users = users.len();
        return Err(PushRefused::TooManyUsers { users, limit }.into());
    }
    let listed = |(index, text): (usize, &String)| {
        UserId::new(text).map_err(|error| ApiError::BadListedUser { index, error })
    };
    users.iter().enumerate().map(listed).collect()
}

fn to_topics(
    topics: &[String],
    except: Option<String>,
    limit: usize,
) -> Result<Audience, ApiError> {
    if topics.len() > limit {
        let topics = topics.len();
        return Err(PushRefused::TooManyTopics { topics, limit }.into());
    }
    let listed = |(index, text): (usize, &String)| {
        TopicId::new(text).map_err(|error| ApiError::BadListedTopic { index, error })
    };
    Ok(Audience::Topics {
        topics: topics
            .iter()
            .enumerate()
            .map(listed)
            .collect::<Result<_, _>>()?,
        except: except.as_deref().map(request::connection).transpose()?,
    })
}

fn payload(text: Option<String>, base64: Option<String>) -> Result<Payload, ApiError> {
    match (text, base64) {
        (Some(text), None) => Ok(Payload::text(text.into())?),
        (None, Some(base64)) => Ok(Payload::binary(
            STANDARD
                .decode(base64)
                .map_err(|error| bad_push(format!("`base64`: {error}")))?
                .into(),
        )),
        (Some(_), Some(_)) => Err(bad_push("it has both `text` and `base64`".to_owned())),
        (None, None) => Err(bad_push("it has neither `text` nor `base64`".to_owned())),
    }
}

/// The most bytes that a body can have which names users.
pub(crate) const fn largest_of_users(config: &Config) -> usize {
    config.push_users * USER + FRAME
}

/// The users of a body that names some.
///
/// # Errors
///
/// If it is not of the form, names nobody or too many, or one cannot be a user.
pub(crate) fn users(body: &[u8], config: &Config) -> Result<Vec<UserId>, ApiError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct UsersForm {
        users: Vec<String>,
    }
    let form: UsersForm = json(body, r#"{"users": [...]}"#)?;
    if form.users.is_empty() {
        return Err(PushRefused::NoUsers.into());
    }
    listed_users(&form.users, config.push_users)
}

/// The topic of a body that names one.
///
/// # Errors
///
/// If it is not of the form, or cannot be a topic.
pub(crate) fn topic(body: &[u8]) -> Result<TopicId, ApiError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct TopicForm {
        topic: String,
    }
    let form: TopicForm = json(body, r#"{"topic": "..."}"#)?;
    Ok(TopicId::new(&form.topic)?)
}

/// Who is to join or leave a topic: all terminals of a user, or some of them.
///
/// # Errors
///
/// If the body is not of the form, or a topic, a user or a connection cannot be one.
pub(crate) fn membership(body: &[u8], config: &Config) -> Result<Membership, ApiError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct MembershipForm {
        topic: String,
        user: String,
        connections: Option<Vec<String>>,
    }
    const FORM: &str = r#"{"topic": "...", "user": "..."}, and perhaps "connections": [...]"#;
    let form: MembershipForm = json(body, FORM)?;
    let topic = TopicId::new(&form.topic)?;
    let user = UserId::new(&form.user)?;
    let of = match form.connections {
        None => Audience::User(user),
        Some(connections) => some_of(user, &connections, config.push_users)?,
    };
    Ok(Membership { topic, of })
}

/// The most bytes that a body can have which names a user, and perhaps a topic and connections.
pub(crate) const fn largest_of_user(config: &Config) -> usize {
    USER + TOPIC + config.push_users * CONNECTION + FRAME
}

/// The user of a body that names one.
///
/// # Errors
///
/// If it is not of the form, or cannot be a user.
pub(crate) fn user(body: &[u8]) -> Result<UserId, ApiError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct UserForm {
        user: String,
    }
    let form: UserForm = json(body, r#"{"user": "..."}"#)?;
    Ok(UserId::new(&form.user)?)
}

/// What a log belongs to, of a body that names it: a user or a topic.
///
/// # Errors
///
/// If it is not of the form, or cannot be one.
pub(crate) fn channel(body: &[u8]) -> Result<Channel, ApiError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum ChannelForm {
        User(String),
        Topic(String),
    }
    let form: ChannelForm = json(body, r#"{"user": "..."} or {"topic": "..."}"#)?;
    Ok(match form {
        ChannelForm::User(user) => UserId::new(&user)?.into(),
        ChannelForm::Topic(topic) => TopicId::new(&topic)?.into(),
    })
}

/// Whose connections are to be ended, and which of them.
///
/// # Errors
///
/// If the body is not of the form, or a user or a connection cannot be one.
pub(crate) fn kicked(body: &[u8], config: &Config) -> Result<Audience, ApiError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct KickForm {
        user: String,
        connections: Option<Vec<String>>,
    }
    let form: KickForm = json(body, r#"{"user": "..."}, and perhaps "connections": [...]"#)?;
    let user = UserId::new(&form.user)?;
    match form.connections {
        None => Ok(Audience::User(user)),
        Some(connections) => some_of(user, &connections, config.push_users),
    }
}

/// Some connections of a user. An empty list is refused: it may be meant as none, or as all.
fn some_of(user: UserId, connections: &[String], limit: usize) -> Result<Audience, ApiError> {
    if connections.is_empty() {
        return Err(ApiError::NoConnections);
    }
    if connections.len() > limit {
        return Err(ApiError::TooManyConnections { limit });
    }
    let connections = connections
        .iter()
        .map(|text| request::connection(text))
        .collect::<Result<_, _>>()?;
    Ok(Audience::Connections { user, connections })
}

fn json<T: DeserializeOwned>(body: &[u8], form: &'static str) -> Result<T, ApiError> {
    let bad = |why: String| ApiError::BadBody { form, why };
    // serde would take a list for the fields in their order.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(bad("it is not a JSON object".to_owned()));
    }
    serde_json::from_slice(body).map_err(|error| bad(error.to_string()))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use switchboard_core::frame::FrameKind;

    use super::*;

    const UUID: &str = "0b0e9f32-5f0e-4a53-8b0a-6e1c1f6f7a11";

    #[test]
    fn a_push_to_a_list_is_read() {
        let config = Config::default();
        let text = PushForm::read(
            br#"{"users": ["ann", "b\u00f6b"], "text": "h\u00e9"}"#,
            &config,
        );
        let text = text.expect("good");
        let users = ["ann", "böb"].map(|user| UserId::new(user).expect("a good user"));
        assert_eq!(text.to, Audience::Users(users.to_vec()));
        assert_eq!(text.payload.kind(), FrameKind::Text);
        assert_eq!(text.payload.bytes().as_ref(), "hé".as_bytes());
        let binary = PushForm::read(br#"{"base64": "AP8=", "users": ["ann"]}"#, &config);
        assert_eq!(
            binary.expect("good").payload,
            Payload::binary(Bytes::from_static(&[0, 255]))
        );
    }

    #[test]
    fn a_list_that_cannot_be_read_is_refused() {
        let config = Config {
            push_users: 2,
            ..Config::default()
        };
        for (body, code) in [
            ("", "bad_body"),
            ("[]", "bad_body"),
            (r#"[["ann"], null, "x", null]"#, "bad_body"),
            (r#"{"users": ["ann"]}"#, "bad_body"),
            (r#"{"text": "x"}"#, "bad_body"),
            (
                r#"{"users": ["ann"], "text": "x", "base64": ""}"#,
                "bad_body",
            ),
            (
                r#"{"users": ["ann"], "text": "x", "deadline": "1s"}"#,
                "bad_body",
            ),
            (r#"{"users": ["ann"], "base64": "%%"}"#, "bad_body"),
            (r#"{"users": "ann", "text": "x"}"#, "bad_body"),
            (r#"{"users": ["ann", ""], "text": "x"}"#, "bad_user"),
            (
                r#"{"users": ["a", "b", "c"], "text": "x"}"#,
                "too_many_users",
            ),
        ] {
            let error = PushForm::read(body.as_bytes(), &config).expect_err(body);
            assert_eq!(
                error.status(),
                (http::StatusCode::BAD_REQUEST, code),
                "{body}"
            );
        }
        let escaped = format!(
            r#"{{"users": ["{user}", "{user}"], "text": "{text}"}}"#,
            user = "\\u0041".repeat(UserId::MAX_BYTES),
            text = "\\u0041".repeat(config.push_bytes),
        );
        assert!(escaped.len() <= PushForm::largest(&config));
        assert!(PushForm::read(escaped.as_bytes(), &config).is_ok());
    }

    #[test]
    fn connections_are_of_one_user() {
        let config = Config::default();
        let push = |users: &str, connections: &str| {
            let body =
                format!(r#"{{"users": {users}, "connections": {connections}, "text": "x"}}"#);
            PushForm::read(body.as_bytes(), &config).map(|form| form.to)
        };
        let kick = |connections: &str| {
            let body = format!(r#"{{"user": "ann", "connections": {connections}}}"#);
            kicked(body.as_bytes(), &config)
        };
        let one = format!(r#"["{UUID}"]"#);
        let expected = Audience::Connections {
            user: UserId::new("ann").expect("a good user"),
            connections: vec![UUID.parse().expect("a UUID")],
        };
        assert_eq!(push(r#"["ann"]"#, &one), Ok(expected.clone()));
        assert_eq!(kick(&one), Ok(expected));
        for users in ["[]", r#"["ann", "bob"]"#] {
            let error = push(users, &one).expect_err(users);
            assert_eq!(error.status().1, "bad_body", "{users}");
        }
        let many = format!(
            "[{}]",
            vec![format!("\"{UUID}\""); config.push_users + 1].join(",")
        );
        for connections in ["[]", r#"["7"]"#, &many] {
            for error in [push(r#"["ann"]"#, connections), kick(connections)] {
                let error = error.expect_err(connections);
                assert_eq!(error.status().1, "bad_connection", "{connections}");
            }
        }
    }

    #[test]
    fn a_push_is_for_users_or_for_topics() {
        let config = Config {
            push_topics: 2,
            ..Config::default()
        };
        let push = |body: &str| PushForm::read(body.as_bytes(), &config).map(|form| form.to);
        let topics = ["news", "a/b"].map(|topic| TopicId::new(topic).expect("a topic"));
        let except = format!(r#"{{"topics": ["news", "a/b"], "except": "{UUID}", "text": "x"}}"#);
        let expected = Audience::Topics {
            topics: topics.to_vec(),
            except: Some(UUID.parse().expect("a UUID")),
        };
        assert_eq!(push(&except), Ok(expected));
        for (body, code) in [
            (
                r#"{"topics": ["a", "b", "c"], "text": "x"}"#,
                "too_many_topics",
            ),
            (r#"{"topics": ["a", ""], "text": "x"}"#, "bad_topic"),
            (
                r#"{"topics": ["a"], "users": ["ann"], "text": "x"}"#,
                "bad_body",
            ),
            (
                r#"{"topics": ["a"], "connections": [], "text": "x"}"#,
                "bad_body",
            ),
            (
                r#"{"topics": ["a"], "except": "7", "text": "x"}"#,
                "bad_connection",
            ),
            (
                &format!(r#"{{"users": ["ann"], "except": "{UUID}", "text": "x"}}"#),
                "bad_body",
            ),
        ] {
            assert_eq!(push(body).expect_err(body).status().1, code, "{body}");
        }
        let escaped = format!(
            r#"{{"topics": ["{topic}", "{topic}"], "text": "{text}"}}"#,
            topic = "\\u0041".repeat(TopicId::MAX_BYTES),
            text = "\\u0041".repeat(config.push_bytes),
        );
        assert!(escaped.len() <= PushForm::largest(&config));
        assert!(push(&escaped).is_ok());
    }

    #[test]
    fn a_body_names_who_joins_a_topic() {
        let config = Config::default();
        let read = |body: &str| membership(body.as_bytes(), &config);
        let all = read(r#"{"topic": "a/b", "user": "ann"}"#).expect("good");
        assert_eq!(all.topic.as_str(), "a/b");
        assert_eq!(all.of, Audience::User(UserId::new("ann").expect("a user")));
        let one = format!(r#"{{"topic": "a", "user": "ann", "connections": ["{UUID}"]}}"#);
        let one = read(&one).expect("good");
        assert!(matches!(one.of, Audience::Connections { .. }));
        for (body, code) in [
            (r#"{"topic": "a"}"#, "bad_body"),
            (r#"{"topic": "", "user": "ann"}"#, "bad_topic"),
            (r#"{"topic": "a", "user": ".."}"#, "bad_user"),
            (
                r#"{"topic": "a", "user": "ann", "connections": []}"#,
                "bad_connection",
            ),
        ] {
            assert_eq!(read(body).expect_err(body).status().1, code, "{body}");
        }
        let named = |body: &str| topic(body.as_bytes()).map(|topic| topic.as_str().to_owned());
        assert_eq!(named(r#"{"topic": "a/b"}"#), Ok("a/b".to_owned()));
        let error = named(r#"{"topic": ".."}"#).expect_err("a dot segment");
        assert_eq!(error.status().1, "bad_topic");
    }

    #[test]
    fn a_body_names_several_users() {
        let config = Config {
            push_users: 2,
            ..Config::default()
        };
        let read = |body: &str| users(body.as_bytes(), &config);
        assert_eq!(read(r#"{"users": ["ann", "bob"]}"#).expect("good").len(), 2);
        for (body, code) in [
            (r#"{"users": []}"#, "no_users"),
            (r#"{"users": ["a", "b", "c"]}"#, "too_many_users"),
            (r#"{"users": ["a", ""]}"#, "bad_user"),
            (r#"{"user": "a"}"#, "bad_body"),
        ] {
            assert_eq!(read(body).expect_err(body).status().1, code, "{body}");
        }
    }

    /// H07: a body that names nobody is for nobody.
    #[test]
    fn a_body_names_its_user() {
        let config = Config::default();
        let ann = UserId::new("ann/..b").expect("a good user");
        let body = br#"{"user": "ann/..b"}"#;
        assert_eq!(user(body), Ok(ann.clone()));
        assert_eq!(kicked(body, &config), Ok(Audience::User(ann)));
        for (body, code) in [
            ("", "bad_body"),
            ("{}", "bad_body"),
            (r#"{"user": null}"#, "bad_body"),
            (r#" ["ann"]"#, "bad_body"),
            (r#"{"user": "ann", "connection": "7"}"#, "bad_body"),
            (r#"{"user": ""}"#, "bad_user"),
            (r#"{"user": ".."}"#, "bad_user"),
        ] {
            let body = body.as_bytes();
            for error in [user(body).map(drop), kicked(body, &config).map(drop)] {
                assert_eq!(error.expect_err("wrong").status().1, code);
            }
        }
    }
}
