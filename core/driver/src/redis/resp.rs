//! The protocol that Redis speaks, in its second version: commands one way, answers the other.

use bytes::{Buf as _, BytesMut};
use switchboard_core::directory::redis::Value;

/// A string that is longer is none that a server sends: its own limit by default.
const STRING_MAX: usize = 512 << 20;
/// Lists in lists. Nothing that is asked for is answered with more than a few.
const DEPTH_MAX: usize = 16;
/// The beginning of an answer, up to the end of its line: a number, or the text of a status or an error.
const LINE_MAX: usize = 64 << 10;
/// Places that are made for the items of a list before these are there.
const ITEMS_AHEAD: usize = 1024;
/// What is kept of the buffer when all of it was taken.
const BUFFER_KEPT: usize = 64 << 10;

/// An answer that is none: the server speaks something else, or a proxy does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what it says is not what Redis says")]
pub(crate) struct NotRedis;

/// Appends a command of these words.
pub(crate) fn command<'a>(
    to: &mut Vec<u8>,
    words: impl IntoIterator<Item = &'a [u8], IntoIter: Clone>,
) {
    let words = words.into_iter();
    header(to, b'*', words.clone().count());
    for word in words {
        header(to, b'$', word.len());
        to.extend_from_slice(word);
        to.extend_from_slice(b"\r\n");
    }
}

fn header(to: &mut Vec<u8>, kind: u8, mut number: usize) {
    // `usize` has 20 decimal digits at most.
    let mut line = [0; 23];
    line[21..].copy_from_slice(b"\r\n");
    let mut at = 21;
    loop {
        at -= 1;
        line[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    line[at - 1] = kind;
    to.extend_from_slice(&line[at - 1..]);
}

/// Takes answers out of what is read, however it is cut into pieces. Of a list that is not complete the items that are
/// there are kept, and not looked at again.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    read: BytesMut,
    /// The lists that have begun, each in the one before it.
    open: Vec<List>,
}

#[derive(Debug)]
struct List {
    items: Vec<Value>,
    /// How many are to come, one at least.
    left: usize,
}

enum Item {
    Whole(Value),
    /// A list of so many items.
    List(usize),
}

impl Decoder {
    /// What was read behind the rest.
    pub(crate) fn extend(&mut self, read: &[u8]) {
        self.read.extend_from_slice(read);
    }

    /// The next answer, if all of it is there.
    ///
    /// # Errors
    ///
    /// If it is none; nor is anything that follows.
    pub(crate) fn next(&mut self) -> Result<Option<Value>, NotRedis> {
        while let Some(item) = self.item()? {
            let whole = match item {
                Item::Whole(value) => value,
                Item::List(0) => Value::Array(Vec::new()),
                Item::List(_) if self.open.len() == DEPTH_MAX => return Err(NotRedis),
                Item::List(left) => {
                    let items = Vec::with_capacity(left.min(ITEMS_AHEAD));
                    self.open.push(List { items, left });
                    continue;
                }
            };
            if let Some(answer) = self.closed(whole) {
                if self.read.is_empty() && self.read.capacity() > BUFFER_KEPT {
                    self.read = BytesMut::new();
                }
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    /// Puts a value into the list that waits for it; the answer, if no list does any more.
    fn closed(&mut self, mut whole: Value) -> Option<Value> {
        while let Some(mut list) = self.open.pop() {
            list.items.push(whole);
            list.left -= 1;
            if list.left > 0 {
                self.open.push(list);
                return None;
            }
            whole = Value::Array(list.items);
        }
        Some(whole)
    }

    fn item(&mut self) -> Result<Option<Item>, NotRedis> {
        let Some(end) = self.read.iter().position(|&byte| byte == b'\n') else {
            return match self.read.len() <= LINE_MAX {
                true => Ok(None),
                false => Err(NotRedis),
            };
        };
        let line = self.read[..end].strip_suffix(b"\r").ok_or(NotRedis)?;
        let (&kind, line) = line.split_first().ok_or(NotRedis)?;
        let text = || String::from_utf8_lossy(line).into_owned();
        let whole = match kind {
            b'+' => Value::Status(text()),
            b'-' => Value::Error(text()),
            b':' => Value::Int(number(line)?),
            b'$' | b'*' if line == b"-1" => Value::Nil,
            b'$' => return self.string(end + 1, length(line, STRING_MAX)?),
            b'*' => {
                let items = length(line, usize::MAX)?;
                self.read.advance(end + 1);
                return Ok(Some(Item::List(items)));
            }
            _ => return Err(NotRedis),
        };
        self.read.advance(end + 1);
        Ok(Some(Item::Whole(whole)))
    }

    /// A string of so many bytes behind this line, if it is there.
    fn string(&mut self, line: usize, bytes: usize) -> Result<Option<Item>, NotRedis> {
        let whole = line + bytes + b"\r\n".len();
        if self.read.len() < whole {
            return Ok(None);
        }
        if !self.read[..whole].ends_with(b"\r\n") {
            return Err(NotRedis);
        }
        self.read.advance(line);
        let text = self.read.split_to(bytes).freeze();
        self.read.advance(b"\r\n".len());
        Ok(Some(Item::Whole(Value::Bulk(text))))
    }
}

fn number(line: &[u8]) -> Result<i64, NotRedis> {
    let digits = std::str::from_utf8(line).map_err(|_| NotRedis)?;
    digits.parse().map_err(|_| NotRedis)
}

fn length(line: &[u8], most: usize) -> Result<usize, NotRedis> {
    let digits = line.iter().map(|byte| match byte {
        b'0'..=b'9' => Some(usize::from(byte - b'0')),
        _ => None,
    });
    let length = digits
        .reduce(|number, digit| number?.checked_mul(10)?.checked_add(digit?))
        .flatten();
    length.filter(|length| *length <= most).ok_or(NotRedis)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// An answer of each kind, and what it is.
    fn spoken() -> (Vec<u8>, Vec<Value>) {
        let bulk = |text: &'static str| Value::Bulk(Bytes::from_static(text.as_bytes()));
        let said = [
            ("+OK\r\n", Value::Status("OK".to_owned())),
            (
                "-NOAUTH Authentication required.\r\n",
                Value::Error("NOAUTH Authentication required.".to_owned()),
            ),
            (":-7\r\n", Value::Int(-7)),
            ("$-1\r\n", Value::Nil),
            ("*-1\r\n", Value::Nil),
            ("$0\r\n\r\n", bulk("")),
            ("$6\r\na\r\nb\r\n\r\n", bulk("a\r\nb\r\n")),
            ("*0\r\n", Value::Array(Vec::new())),
            (
                "*3\r\n*2\r\n$1\r\na\r\n*1\r\n:1\r\n-ERR in it\r\n*0\r\n",
                Value::Array(vec![
                    Value::Array(vec![bulk("a"), Value::Array(vec![Value::Int(1)])]),
                    Value::Error("ERR in it".to_owned()),
                    Value::Array(Vec::new()),
                ]),
            ),
        ];
        let bytes = said.iter().flat_map(|(bytes, _)| bytes.bytes()).collect();
        (bytes, said.map(|(_, value)| value).into())
    }

    #[test]
    fn answers_are_understood_however_they_are_cut() {
        let (bytes, values) = spoken();
        for piece in 1..=bytes.len() {
            let mut decoder = Decoder::default();
            let mut found = Vec::new();
            for piece in bytes.chunks(piece) {
                decoder.extend(piece);
                while let Some(answer) = decoder.next().expect("it is what Redis says") {
                    found.push(answer);
                }
            }
            assert_eq!(found, values, "in pieces of {piece} bytes");
        }
    }

    #[test]
    fn what_redis_does_not_say_is_told_from_an_answer_that_is_not_complete() {
        let deep = "*1\r\n".repeat(DEPTH_MAX + 1);
        let endless = "x".repeat(LINE_MAX + 1);
        for (said, expected) in [
            ("", Ok(None)),
            ("$3\r\nab", Ok(None)),
            ("*2\r\n:1\r\n", Ok(None)),
            ("HTTP/1.1 400 Bad Request\r\n", Err(NotRedis)),
            ("+OK\n", Err(NotRedis)),
            ("\r\n", Err(NotRedis)),
            (":x\r\n", Err(NotRedis)),
            ("$-2\r\n", Err(NotRedis)),
            ("*-2\r\n", Err(NotRedis)),
            ("$2\r\nabcd", Err(NotRedis)),
            ("$99999999999\r\n", Err(NotRedis)),
            ("%1\r\n", Err(NotRedis)),
            (&*deep, Err(NotRedis)),
            (&*endless, Err(NotRedis)),
        ] {
            let mut decoder = Decoder::default();
            decoder.extend(said.as_bytes());
            assert_eq!(decoder.next(), expected, "{said:.20}");
        }
    }

    /// A list may be said to be longer than any memory: places are made for what is there.
    #[test]
    fn a_list_that_is_announced_takes_no_room_before_it_is_there() {
        let mut decoder = Decoder::default();
        decoder.extend(format!("*{}\r\n:1\r\n", usize::MAX / 2).as_bytes());
        assert_eq!(decoder.next(), Ok(None));
        assert!(decoder.open[0].items.capacity() <= ITEMS_AHEAD);
    }

    #[test]
    fn a_command_says_how_long_its_words_are() {
        let mut said = Vec::new();
        let long = [b'x'; 123];
        command(&mut said, [b"SET".as_slice(), b"", &long]);
        let expected = format!(
            "*3\r\n$3\r\nSET\r\n$0\r\n\r\n$123\r\n{}\r\n",
            "x".repeat(123)
        );
        assert_eq!(String::from_utf8_lossy(&said), expected);
        let mut line = Vec::new();
        header(&mut line, b'$', usize::MAX);
        assert_eq!(line, format!("${}\r\n", usize::MAX).as_bytes());
    }
}
