//! The body of a request, up to a size and a time.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    TRANSFER_ENCODING,
};
use http_body::Body;
use http_body_util::BodyExt as _;

use switchboard_driver::runtime::race;

use super::error::ApiError;

/// How long a body may take. A push of 1 MiB comes in time at 140 kbit/s.
pub(super) const LONGEST: Duration = Duration::from_secs(60);

/// A body that must have come when a timer expires.
pub(crate) struct Timed<B, T> {
    /// What is read, frame by frame.
    pub(crate) body: B,
    /// Ends when the body is late.
    pub(crate) timer: T,
}

/// Reads a body, and stops reading once it has more than `limit` bytes.
///
/// # Errors
///
/// If it is larger, breaks off, does not come in time, or is written in a way that is not understood.
pub(crate) async fn read<B, T>(
    headers: &HeaderMap,
    timed: Timed<B, T>,
    limit: usize,
) -> Result<Bytes, ApiError>
where
    B: Body<Data = Bytes>,
    T: Future<Output = ()>,
{
    check_codings(headers)?;
    let late = timed.timer.map(|()| Err(ApiError::SlowBody));
    race(read_whole(headers, timed.body, limit), late).await
}

/// What is not understood is not passed on as if it were.
///
/// # Errors
///
/// Names it.
pub(super) fn check_codings(headers: &HeaderMap) -> Result<(), ApiError> {
    let coded = unknown(headers, &CONTENT_ENCODING, &["identity", ""]);
    if let Some(coding) = coded {
        return Err(ApiError::UnknownCoding(coding));
    }
    if let Some(coding) = unknown(headers, &TRANSFER_ENCODING, &["chunked"]) {
        return Err(ApiError::UnknownTransfer(coding));
    }
    let mut charsets = headers.get_all(CONTENT_TYPE).iter().filter_map(charset);
    let unknown = charsets.find(|charset| !is_one_of(charset, &["utf-8", "utf8", "us-ascii"]));
    unknown.map_or(Ok(()), |charset| {
        Err(ApiError::UnknownCharset(shown(charset)))
    })
}

/// The first item of a header's list that is none of these.
fn unknown(headers: &HeaderMap, name: &HeaderName, known: &[&str]) -> Option<String> {
    let values = headers.get_all(name).iter();
    let mut items = values
        .flat_map(|value| text(value).split(','))
        .map(str::trim);
    items.find(|item| !is_one_of(item, known)).map(shown)
}

/// What a body's type says that its text is written in.
fn charset(kind: &HeaderValue) -> Option<&str> {
    let parameters = text(kind).split(';').skip(1);
    let mut pairs = parameters.filter_map(|parameter| parameter.split_once('='));
    let (_, charset) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))?;
    Some(charset.trim().trim_matches('"'))
}

fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or("(not a text)")
}

fn is_one_of(text: &str, known: &[&str]) -> bool {
    known.iter().any(|other| text.eq_ignore_ascii_case(other))
}

fn shown(text: &str) -> String {
    /// The longest name that an answer repeats, in characters.
    const SHOWN: usize = 64;
    text.chars().take(SHOWN).collect()
}

async fn read_whole<B>(headers: &HeaderMap, body: B, limit: usize) -> Result<Bytes, ApiError>
where
    B: Body<Data = Bytes>,
{
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<u64>().ok());
    let too_large = |bytes: u64| usize::try_from(bytes).map_or(true, |bytes| bytes > limit);
    if announced.is_some_and(too_large) {
        return Err(ApiError::TooLarge { limit });
    }
    let mut body = pin!(body);
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::BrokenBody)?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if whole.len() + data.len() > limit {
            return Err(ApiError::TooLarge { limit });
        }
        whole.extend_from_slice(&data);
    }
    // A split buffer is shared from the start: its clones, one for each terminal, allocate nothing.
    Ok(whole.split().freeze())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use http_body::Frame;
    use http_body_util::{Full, StreamBody};

    use super::*;

    /// H09: a body is not read beyond its limit, whether or not it announces its size.
    #[test]
    fn bodies_are_read_up_to_their_limit() {
        let none = HeaderMap::new();
        let whole = Full::new(Bytes::from_static(b"12345678"));
        assert_eq!(
            now(read_whole(&none, whole, 8)),
            Ok(Bytes::from_static(b"12345678"))
        );

        let much = announced("99999999999999999999999");
        let body = Full::new(Bytes::from_static(b"123456789"));
        assert_eq!(
            now(read_whole(&much, body, 8)),
            Err(ApiError::TooLarge { limit: 8 })
        );

        let much = announced("9");
        let polled = StreamBody::new(stream::poll_fn(
            |_| -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
                panic!("a body that announces too much is not read")
            },
        ));
        assert_eq!(
            now(read_whole(&much, polled, 8)),
            Err(ApiError::TooLarge { limit: 8 })
        );

        let mut frames = 0;
        let endless = StreamBody::new(stream::poll_fn(|_| {
            frames += 1;
            let frame = Frame::data(Bytes::from_static(b"123"));
            std::task::Poll::Ready(Some(Ok::<_, Infallible>(frame)))
        }));
        assert_eq!(
            now(read_whole(&none, endless, 8)),
            Err(ApiError::TooLarge { limit: 8 })
        );
        assert_eq!(frames, 3);

        let broken = StreamBody::new(stream::iter([
            Ok(Frame::data(Bytes::from_static(b"123"))),
            Err("reset"),
        ]));
        assert_eq!(now(read_whole(&none, broken, 8)), Err(ApiError::BrokenBody));
    }

    #[test]
    fn a_body_that_is_written_otherwise_is_refused() {
        let cases: &[(HeaderName, &str, Option<&str>)] = &[
            (CONTENT_ENCODING, "gzip", Some("unknown_coding")),
            (CONTENT_ENCODING, "identity, br", Some("unknown_coding")),
            (CONTENT_ENCODING, "identity", None),
            (CONTENT_ENCODING, "", None),
            (TRANSFER_ENCODING, "gzip, chunked", Some("unknown_transfer")),
            (TRANSFER_ENCODING, "Chunked", None),
            (
                CONTENT_TYPE,
                "text/plain; Charset=\"iso-8859-1\"",
                Some("unknown_charset"),
            ),
            (
                CONTENT_TYPE,
                "application/json;charset=utf-16",
                Some("unknown_charset"),
            ),
            (CONTENT_TYPE, "text/plain; charset=UTF-8", None),
            (CONTENT_TYPE, "text/plain; charset=\"utf-8\"; x=y", None),
            (CONTENT_TYPE, "application/octet-stream", None),
            (CONTENT_TYPE, "text/plain; charset", None),
        ];
        for (name, value, code) in cases {
            let value = HeaderValue::from_str(value).expect("a header");
            let headers = HeaderMap::from_iter([(name.clone(), value.clone())]);
            let refused = check_codings(&headers).err();
            assert_eq!(
                refused.as_ref().map(|error| error.status().1),
                *code,
                "{name}: {value:?}"
            );
        }
        let refused = ApiError::UnknownCoding("gzip".to_owned()).response();
        assert_eq!(refused.status(), 415);
        assert_eq!(refused.headers()["accept-encoding"], "identity");
    }

    /// H10: a body that trickles in does not hold its request for ever.
    #[test]
    fn a_body_that_does_not_come_in_time_is_refused() {
        let slow = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
        let timed = Timed {
            body: slow,
            timer: std::future::ready(()),
        };
        let headers = HeaderMap::new();
        let answer = read(&headers, timed, 8);
        assert_eq!(now(answer), Err(ApiError::SlowBody));
        assert_eq!(ApiError::SlowBody.status().0, 408);
    }

    fn announced(bytes: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from_static(bytes))])
    }

    fn now<T>(future: impl Future<Output = T>) -> T {
        future.now_or_never().expect("nothing is waited for")
    }
}
