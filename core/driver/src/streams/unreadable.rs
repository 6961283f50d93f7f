//! The answers to what is no request. hyper gives them by itself, before anybody else sees one, and
//! without a body: here they get the one that every refusal has.

use http::StatusCode;

use crate::answer::error_body;

/// The length of a body, as hyper writes that there is none.
const NO_BODY: &str = "content-length: 0\r\n";

/// The longest answer of hyper's own, in bytes: a status line and two headers.
const OWN_MAX: usize = 1024;

/// An answer of hyper's own with a body, if these bytes are one: a refusal without a body, which no other
/// part of the server writes.
pub(crate) fn worded(bytes: &[u8]) -> Option<Vec<u8>> {
    // Whatever is written comes by here.
    let may_be = bytes.len() <= OWN_MAX && bytes.starts_with(b"HTTP/1.1 4");
    if !may_be {
        return None;
    }
    let head = std::str::from_utf8(bytes).ok()?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let (code, message) = explanation(status)?;
    let alone = head.find("\r\n\r\n") == head.len().checked_sub(4);
    let (before, behind) = head.split_once(NO_BODY).filter(|_| alone)?;
    let body = error_body(code, message);
    let length = body.len();
    let head =
        format!("{before}content-type: application/json\r\ncontent-length: {length}\r\n{behind}");
    Some([head.into_bytes(), body].concat())
}

fn explanation(status: StatusCode) -> Option<(&'static str, &'static str)> {
    match status {
        StatusCode::BAD_REQUEST => Some((
            "bad_http",
            "this is not a request of HTTP/1.1 (RFC 9112): its first line or a header cannot be read",
        )),
        StatusCode::URI_TOO_LONG => Some(("uri_too_long", "the target has more than 65,534 bytes")),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Some((
            "head_too_large",
            "the head of the request is larger than --header-bytes, or has more than 100 header lines",
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_without_a_body_gets_one() {
        let bare = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\ndate: Sun, 29 Nov 2026 09:26:53 GMT\r\n\r\n";
        let answer = worded(bare.as_bytes()).expect("it is one");
        let answer = String::from_utf8(answer).expect("a text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\nconnection: close\r\n"));
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())));
        assert!(head.ends_with("date: Sun, 29 Nov 2026 09:26:53 GMT"));
        assert!(
            body.starts_with(r#"{"error":{"code":"bad_http","message":""#),
            "{body}"
        );
    }

    #[test]
    fn what_others_write_stays_as_it_is() {
        for answer in [
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n{}",
            "{\"user\": \"HTTP/1.1 400 \"}",
            "HTTP/1.1 4",
            "HTTP/1.1 400",
            "",
        ] {
            assert_eq!(worded(answer.as_bytes()), None, "{answer}");
        }
    }
}
