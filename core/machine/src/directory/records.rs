//! How positions, heads and records of logs are written as bytes. Numbers are big-endian.
//!
//! A position is offset (8) and tag (4). Head, base and the bytes that are kept (4) are one value of 28
//! bytes. A record is its position, the push's id (16), flags (1) and the payload.

use bytes::Bytes;
use uuid::Uuid;

use super::log::{Content, Record};
use crate::id::PushId;
use crate::position::{Nonce, Position};

const POSITION_BYTES: usize = 12;
/// The length of head, base and bytes.
const META_BYTES: usize = 2 * POSITION_BYTES + 4;
/// What a record has beside its payload.
const HEADER_BYTES: usize = POSITION_BYTES + 16 + 1;

pub(super) fn position_bytes(position: Position) -> [u8; POSITION_BYTES] {
    let mut bytes = [0; POSITION_BYTES];
    bytes[..8].copy_from_slice(&position.offset().to_be_bytes());
    bytes[8..].copy_from_slice(&position.tag().to_be_bytes());
    bytes
}

/// What position the bytes of begin with if its offset is this.
pub(super) fn offset_bytes(offset: u64) -> Vec<u8> {
    offset.to_be_bytes().to_vec()
}

pub(super) fn parse_position(bytes: &[u8]) -> Option<Position> {
    let (offset, tag) = bytes.split_first_chunk()?;
    let tag = u32::from_be_bytes(tag.try_into().ok()?);
    Position::new(u64::from_be_bytes(*offset), tag)
}

/// The head in a log's first value. What is no such value is no log, as scripts have it too.
pub(super) fn parse_head(meta: &[u8]) -> Option<Position> {
    (meta.len() == META_BYTES).then(|| parse_position(&meta[..POSITION_BYTES]))?
}

pub(super) fn push_bytes(push: PushId) -> Vec<u8> {
    push.uuid().as_bytes().to_vec()
}

pub(super) fn nonce_bytes(nonce: Nonce) -> Vec<u8> {
    nonce.get().to_be_bytes().to_vec()
}

/// Flags and payload: the end of a record.
pub(super) fn content_bytes(content: &Content) -> Vec<u8> {
    [&[content.flags], &content.bytes[..]].concat()
}

/// What stands at a position and is no record. Its content is of no known kind, so that whoever reads the log is told
/// that something is missing, and comes past it.
pub(super) const fn unreadable(position: Position) -> Record {
    Record {
        position,
        push: PushId::new(Uuid::nil()),
        content: Content {
            flags: Content::UNKNOWN,
            bytes: Bytes::new(),
        },
    }
}

/// The position that stands before whatever follows.
pub(super) fn parse_first_position(bytes: &[u8]) -> Option<Position> {
    parse_position(bytes.get(..POSITION_BYTES)?)
}

pub(super) fn parse_record(bytes: &Bytes) -> Option<Record> {
    let (header, _) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let (position, rest) = header.split_at(POSITION_BYTES);
    let (push, flags) = rest.split_first_chunk()?;
    Some(Record {
        position: parse_position(position)?,
        push: PushId::new(Uuid::from_bytes(*push)),
        content: Content {
            flags: *flags.first()?,
            // Not a part of them: they may be a part of all that was read at once, which would be kept as well.
            bytes: Bytes::copy_from_slice(&bytes[HEADER_BYTES..]),
        },
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written(
            offset in 0..=Position::OFFSET_LAST, tag: u32, push: u128, flags: u8, payload: Vec<u8>,
        ) {
            let record = Record {
                position: Position::new(offset, tag).expect("it is in range"),
                push: PushId::new(Uuid::from_u128(push)),
                content: Content { flags, bytes: payload.into() },
            };
            let bytes: Bytes = [
                &position_bytes(record.position)[..],
                &push_bytes(record.push),
                &content_bytes(&record.content),
            ]
            .concat()
            .into();
            prop_assert_eq!(parse_record(&bytes), Some(record));
        }

        /// H36: no bytes make the reader panic.
        #[test]
        fn any_bytes_are_a_value_or_none(bytes: Vec<u8>) {
            let _ = (parse_position(&bytes), parse_head(&bytes));
            let _ = parse_record(&bytes.into());
        }
    }

    #[test]
    fn the_bytes_are_as_documented() {
        let position = Position::new(0x0102_0304_0506, 0xA1A2_A3A4).expect("it is in range");
        let bytes = position_bytes(position);
        assert_eq!(bytes, *b"\0\0\x01\x02\x03\x04\x05\x06\xA1\xA2\xA3\xA4");
        let meta = [&bytes[..], &[0; POSITION_BYTES], &[0; 4]].concat();
        assert_eq!(parse_head(&meta), Some(position));
        assert_eq!(parse_head(&meta[1..]), None);
        let beyond = [0, 0x20, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4];
        assert_eq!(parse_position(&beyond), None);
    }
}
