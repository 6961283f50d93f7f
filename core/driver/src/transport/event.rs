//! Frames as events (Server-Sent Events, HTML standard, section 9.2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use switchboard_core::frame::{FrameKind, Payload};
use switchboard_protocol::Farewell;

/// The beginning of each line of an event's data.
const DATA: &str = "data: ";

/// The beginning of an event whose data are bytes.
const BINARY: &str = "event: binary\ndata: ";

/// The end of the last line of an event, and of the event.
const END: &str = "\n\n";

/// A comment, and the end of an event that is none.
pub(super) const PING: &[u8] = b":\n\n";

/// A frame as an event.
pub(super) fn of_frame(frame: &Payload) -> Vec<u8> {
    let mut event = Vec::with_capacity(size(frame));
    match frame.kind() {
        FrameKind::Text => {
            for line in lines(frame.bytes()) {
                event.extend_from_slice(DATA.as_bytes());
                event.extend_from_slice(line);
                event.push(b'\n');
            }
            event.push(b'\n');
        }
        FrameKind::Binary => {
            let data = STANDARD.encode(frame.bytes());
            for part in [BINARY, &data, END] {
                event.extend_from_slice(part.as_bytes());
            }
        }
    }
    event
}

/// How large a frame is as an event, in bytes. It is asked once for each terminal that a push is for, and
/// counts whole lines at a time: that costs less than to hand them to the operating system.
pub(super) fn size(frame: &Payload) -> usize {
    match frame.kind() {
        FrameKind::Text => {
            let text = frame.bytes();
            let count = |end: u8| text.iter().filter(|byte| **byte == end).count();
            let (returns, feeds) = (count(b'\r'), count(b'\n'));
            let pairs = text.windows(2).filter(|pair| *pair == b"\r\n").count();
            let lines = returns + feeds - pairs + 1;
            // Each line ends in one LF, and so does the event.
            text.len() - returns - feeds + lines * (DATA.len() + 1) + 1
        }
        FrameKind::Binary => BINARY.len() + frame.len().div_ceil(3) * 4 + END.len(),
    }
}

/// The event that ends a stream.
pub(super) fn close(Farewell { number, reason }: Farewell) -> Vec<u8> {
    let data = format!(r#"{{"code":{number},"reason":"{reason}"}}"#);
    format!("event: close\ndata: {data}\n\n").into_bytes()
}

/// Tells a browser after how many milliseconds it may connect again by itself. It is no event.
pub(super) fn retry(milliseconds: u16) -> Vec<u8> {
    format!("retry: {milliseconds}\n\n").into_bytes()
}

/// The lines of a text, whatever ends them: CR LF, LF or CR.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
            return rest.take();
        };
        let (line, behind) = text.split_at(end);
        rest = Some(behind.strip_prefix(b"\r\n").unwrap_or(&behind[1..]));
        Some(line)
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn frames_are_events_and_as_large_as_is_counted() {
        let text = |text: &str| Payload::from(text.to_owned());
        let cases = [
            (text(r#"{"a":1}"#), "data: {\"a\":1}\n\n"),
            (text(""), "data: \n\n"),
            (text(" a"), "data:  a\n\n"),
            (
                text("a\nb\r\nc\rd"),
                "data: a\ndata: b\ndata: c\ndata: d\n\n",
            ),
            (text("a\n"), "data: a\ndata: \n\n"),
            (text("\n\rb"), "data: \ndata: \ndata: b\n\n"),
            (text("\r\r\n\n"), "data: \ndata: \ndata: \ndata: \n\n"),
            (
                text("event: close\n\ndata: forged"),
                "data: event: close\ndata: \ndata: data: forged\n\n",
            ),
            (
                Payload::binary(Bytes::from_static(b"\0\xff")),
                "event: binary\ndata: AP8=\n\n",
            ),
            (Payload::binary(Bytes::new()), "event: binary\ndata: \n\n"),
        ];
        for (frame, event) in cases {
            assert_eq!(of_frame(&frame), event.as_bytes(), "{event}");
            assert_eq!(size(&frame), event.len(), "{event}");
        }
    }
}
