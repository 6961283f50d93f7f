//! The log of a user or of a topic, without a terminal: what is asked of it, and the answer.

use std::time::Duration;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use serde::ser::{Serialize, SerializeMap, Serializer};
use switchboard_core::channel::Channel;
use switchboard_core::frame::FrameKind;
use switchboard_core::logs::{LogPage, LogQuery, LogRefused, LoggedPush};
use switchboard_driver::query;

use super::error::ApiError;
use super::parameter::number;
use super::reply::{Item, List, json};
use super::request::{self, Known};
use super::{Call, in_time};

impl Call<'_> {
    /// Tells records of a log, or removes them all.
    pub(super) async fn log<T: Future<Output = ()>>(
        self,
        channel: Channel,
        parts: &Parts,
        sleep: impl Fn(Duration) -> T,
    ) -> Result<Response<Full<Bytes>>, ApiError> {
        match parts.method == Method::DELETE {
            true => self.delete_log(channel, parts, sleep).await,
            false => self.read_log(channel, parts, sleep).await,
        }
    }

    /// Tells records of a log.
    pub(super) async fn read_log<T: Future<Output = ()>>(
        self,
        channel: Channel,
        parts: &Parts,
        sleep: impl Fn(Duration) -> T,
    ) -> Result<Response<Full<Bytes>>, ApiError> {
        let asked = self.server.read_log(channel, asked(parts)?);
        let page = in_time(asked, sleep(self.question())).await?;
        Ok(json(StatusCode::OK, &LogRecords(&page)))
    }

    /// Removes all records of a log.
    pub(super) async fn delete_log<T: Future<Output = ()>>(
        self,
        channel: Channel,
        parts: &Parts,
        sleep: impl Fn(Duration) -> T,
    ) -> Result<Response<Full<Bytes>>, ApiError> {
        request::no_parameters(parts)?;
        let deleted = self.server.delete_log(channel);
        let records = in_time(deleted, sleep(self.question())).await?;
        Ok(json(StatusCode::OK, &Deleted { records }))
    }
}

/// Which records a query asks for.
///
/// # Errors
///
/// If a parameter is unknown, given twice, or cannot be read.
fn asked(parts: &Parts) -> Result<LogQuery, ApiError> {
    let mut after = Vec::new();
    let (mut history, mut limit) = (None, None);
    for pair in query::pairs(parts.uri.query()) {
        let (name, value) = pair.map_err(ApiError::BadQuery)?;
        match name.as_ref() {
            "after" if after.len() == LogQuery::AFTER_MAX => {
                return Err(LogRefused::TooManyPositions.into());
            }
            "after" => after.push(value.parse()?),
            "history" => number("history", &value, &mut history)?,
            "limit" => number("limit", &value, &mut limit)?,
            _ => return Err(request::unknown(&name, Known::Log)),
        }
    }
    if !after.is_empty() && history.is_some() {
        return Err(ApiError::AfterAndHistory);
    }
    let usual = LogQuery::default();
    Ok(LogQuery {
        after,
        history: history.unwrap_or(usual.history),
        limit: limit.unwrap_or(usual.limit),
        behind: None,
    })
}

/// Records of a log.
struct LogRecords<'a>(&'a LogPage);

#[derive(serde::Serialize)]
struct Deleted {
    records: u32,
}

impl Serialize for LogRecords<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let page = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("head", &page.head)?;
        map.serialize_entry("base", &page.base)?;
        map.serialize_entry("after", &page.after)?;
        if page.after.is_none() {
            // As a terminal is told.
            map.serialize_entry("reason", "expired")?;
        }
        map.serialize_entry("more", &page.has_more())?;
        map.serialize_entry("records", &List(&page.records))?;
        map.end()
    }
}

impl Serialize for Item<'_, LoggedPush> {
    /// The payload is called what a push calls it. One that cannot be understood is left out.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let record = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("position", &record.position)?;
        map.serialize_entry("push", &record.push.uuid())?;
        if let Some(payload) = &record.payload {
            let bytes = payload.bytes();
            match (payload.kind(), std::str::from_utf8(bytes)) {
                (FrameKind::Text, Ok(text)) => map.serialize_entry("text", text)?,
                (FrameKind::Text, Err(_)) | (FrameKind::Binary, _) => {
                    let text = Base64Display::new(bytes, &STANDARD);
                    map.serialize_entry("base64", &format_args!("{text}"))?;
                }
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use switchboard_core::frame::Payload;
    use switchboard_core::id::PushId;
    use switchboard_core::position::Position;
    use uuid::Uuid;

    use super::*;

    const POSITION: &str = "00000000000005ffffffff";

    fn query(query: &str) -> Result<LogQuery, ApiError> {
        let request = Request::get(format!("/v1/users/ann/log?{query}"));
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        asked(&parts)
    }

    #[test]
    fn records_are_those_behind_a_position_or_the_last_ones() {
        let position: Position = POSITION.parse().expect("a position");
        assert_eq!(query(""), Ok(LogQuery::default()));
        let behind = LogQuery {
            after: vec![position; 2],
            limit: 7,
            ..LogQuery::default()
        };
        assert_eq!(
            query(&format!("after={POSITION}&limit=7&after={POSITION}")),
            Ok(behind)
        );
        let last = LogQuery {
            history: 3,
            ..LogQuery::default()
        };
        assert_eq!(query("history=3"), Ok(last));
    }

    /// H36, H45
    #[test]
    fn what_cannot_be_asked_of_a_log_is_refused() {
        let many = vec![format!("after={POSITION}"); 17].join("&");
        for (asked, code) in [
            ("after=", "bad_position"),
            ("after=5-7", "bad_position"),
            (many.as_str(), "bad_position"),
            ("limit=", "bad_limit"),
            ("limit=-1", "bad_limit"),
            ("limit=+1", "bad_limit"),
            ("limit=99999999999", "bad_limit"),
            ("history=x", "bad_limit"),
            ("limit=1&limit=1", "bad_query"),
            ("history=1&history=1", "bad_query"),
            (&format!("history=1&after={POSITION}"), "bad_query"),
            ("before=1", "bad_query"),
            ("after=%zz", "bad_query"),
        ] {
            let error = query(asked).expect_err(asked);
            assert_eq!(error.status(), (StatusCode::BAD_REQUEST, code), "{asked}");
        }
    }

    #[test]
    fn records_say_where_they_stand_and_what_was_pushed() {
        let position = |offset| Position::new(offset, 7).expect("in range");
        let record = |offset, payload| LoggedPush {
            position: position(offset),
            push: PushId::new(Uuid::from_u128(1)),
            payload,
        };
        let page = LogPage {
            head: position(9),
            base: position(1),
            after: Some(position(1)),
            records: vec![
                record(2, Some(Payload::from("h\"é".to_owned()))),
                record(3, Some(Payload::binary(vec![0, 255].into()))),
                record(4, None),
            ],
        };
        let push = r#""push":"00000000-0000-0000-0000-000000000001""#;
        let expected = format!(
            r#"{{"head":"0000000000000900000007","base":"0000000000000100000007","after":"0000000000000100000007","more":true,"records":[{{"position":"0000000000000200000007",{push},"text":"h\"é"}},{{"position":"0000000000000300000007",{push},"base64":"AP8="}},{{"position":"0000000000000400000007",{push}}}]}}"#
        );
        assert_eq!(text(&page), expected);

        let lost = LogPage {
            after: None,
            records: Vec::new(),
            ..page
        };
        let expected = r#"{"head":"0000000000000900000007","base":"0000000000000100000007","after":null,"reason":"expired","more":false,"records":[]}"#;
        assert_eq!(text(&lost), expected);
    }

    fn text(page: &LogPage) -> String {
        serde_json::to_string(&LogRecords(page)).expect("it can be written")
    }
}
