//! How rows and leases are written as text.
//!
//! A row is `instance epoch connected`: 16, 16 and 12 hexadecimal digits. The fixed width lets a
//! script cut it by position, and its 46 bytes keep a user's HASH a listpack.
//!
//! A lease is `deadline connections pushes epoch floor beat state address`. What is compared, from the
//! epoch on, is one piece of text at the end, so that a comparison is one of strings.

use std::str;

use uuid::Uuid;

use super::{Lease, LeaseState, Load, Row};
use crate::id::{ConnectionId, Epoch, InstanceId};
use crate::time::WallTime;

/// The length of every row.
pub(super) const ROW_BYTES: usize = 46;

/// The latest moment that twelve digits can say: in the year 10889.
const CONNECTED_MAX: WallTime = WallTime::from_millis((1 << 48) - 1);

/// The row as the directory keeps it: a moment beyond what can be written is the last one.
pub(super) fn kept(row: Row) -> Row {
    Row {
        connected: row.connected.min(CONNECTED_MAX),
        ..row
    }
}

pub(super) fn row_text(row: Row) -> Vec<u8> {
    let Row {
        instance,
        epoch,
        connected,
    } = kept(row);
    let mut text = Vec::with_capacity(ROW_BYTES);
    text.extend_from_slice(&hex_digits::<16>(instance.get()));
    text.push(b' ');
    text.extend_from_slice(&hex_digits::<16>(epoch.get()));
    text.push(b' ');
    text.extend_from_slice(&hex_digits::<12>(connected.as_millis()));
    text
}

/// The last so many lower-case digits of a number. `format!` takes ten times as long, and a row is written for each
/// terminal that connects.
fn hex_digits<const N: usize>(number: u64) -> [u8; N] {
    std::array::from_fn(|place| {
        b"0123456789abcdef"[(number >> (4 * (N - 1 - place)) & 0xf) as usize]
    })
}

pub(super) fn parse_row(text: &[u8]) -> Option<Row> {
    if text.len() != ROW_BYTES || text[16] != b' ' || text[33] != b' ' {
        return None;
    }
    Some(Row {
        instance: parse_instance(&text[..16])?,
        epoch: parse_epoch(&text[17..33])?,
        connected: WallTime::from_millis(hex(&text[34..])?),
    })
}

/// Accepts the one spelling that is written, so that no two fields name the same connection.
pub(super) fn parse_connection(text: &[u8]) -> Option<ConnectionId> {
    if text.len() != 36 || text.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    Uuid::try_parse_ascii(text).ok().map(ConnectionId::new)
}

pub(super) fn parse_instance(text: &[u8]) -> Option<InstanceId> {
    (text.len() == 16).then(|| hex(text).map(InstanceId::new))?
}

pub(super) fn parse_epoch(text: &[u8]) -> Option<Epoch> {
    let epoch = (text.len() == 16).then(|| hex(text).map(Epoch::new))??;
    (epoch <= Epoch::LAST).then_some(epoch)
}

/// What a lease says, as it is compared.
pub(super) fn lease_text(lease: &Lease) -> Vec<u8> {
    let state = match lease.state {
        LeaseState::Up => "up",
        LeaseState::Settling => "settling",
        LeaseState::Draining => "draining",
        LeaseState::Released => "released",
    };
    let (epoch, floor) = (epoch_text(lease.epoch), epoch_text(lease.floor));
    format!("{epoch} {floor} {} {state} {}", lease.beat, lease.address).into_bytes()
}

pub(super) fn load_text(load: Load) -> Vec<u8> {
    format!("{} {}", load.connections, load.pushes).into_bytes()
}

/// A lease as the server keeps it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeaseEntry {
    /// When it expires, in milliseconds of the server's clock.
    pub(super) deadline: u64,
    pub(super) load: Load,
    pub(super) lease: Lease,
}

pub(super) fn parse_entry(text: &[u8]) -> Option<LeaseEntry> {
    let mut parts = text.splitn(8, |byte| *byte == b' ');
    let mut next = || parts.next();
    let deadline = decimal(next()?)?;
    let load = Load {
        connections: decimal(next()?)?,
        pushes: decimal(next()?)?,
    };
    let epoch = parse_epoch(next()?)?;
    let floor = parse_epoch(next()?)?;
    let beat = decimal(next()?)?;
    let state = match next()? {
        b"up" => LeaseState::Up,
        b"settling" => LeaseState::Settling,
        b"draining" => LeaseState::Draining,
        b"released" => LeaseState::Released,
        _ => return None,
    };
    let address = str::from_utf8(next()?).ok()?.to_owned();
    Some(LeaseEntry {
        deadline,
        load,
        lease: Lease {
            epoch,
            floor,
            beat,
            state,
            address,
        },
    })
}

pub(super) fn epoch_text(epoch: Epoch) -> String {
    format!("{:016x}", epoch.get())
}

/// The number that these lower-case digits say. At most sixteen, or the first would be lost.
fn hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u64::from(value))
    })
}

/// The number that these digits say.
fn decimal(digits: &[u8]) -> Option<u64> {
    let (first, rest) = digits.split_first()?;
    rest.iter().try_fold(digit(*first)?, |number, next| {
        number.checked_mul(10)?.checked_add(digit(*next)?)
    })
}

fn digit(byte: u8) -> Option<u64> {
    byte.is_ascii_digit().then(|| u64::from(byte - b'0'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_row_is_read_as_it_was_written(instance: u64, epoch in epochs(), connected in 0..1_u64 << 48) {
            let row = Row {
                instance: InstanceId::new(instance),
                epoch: Epoch::new(epoch),
                connected: WallTime::from_millis(connected),
            };
            let text = row_text(row);
            prop_assert_eq!(text.len(), ROW_BYTES);
            prop_assert_eq!(parse_row(&text), Some(row));
        }

        #[test]
        fn a_lease_is_read_as_it_was_written(
            deadline: u64, connections: u64, pushes: u64, epoch in epochs(), floor in epochs(), address in ".*",
        ) {
            let lease = Lease {
                epoch: Epoch::new(epoch),
                floor: Epoch::new(floor),
                beat: 7,
                state: LeaseState::Settling,
                address,
            };
            let load = Load { connections, pushes };
            let text = [
                deadline.to_string().into_bytes(),
                load_text(load),
                lease_text(&lease),
            ]
            .join(&b' ');
            prop_assert_eq!(parse_entry(&text), Some(LeaseEntry { deadline, load, lease }));
        }

        /// H36: no text makes the reader panic.
        #[test]
        fn any_text_is_a_value_or_malformed(text: Vec<u8>) {
            let _ = (parse_row(&text), parse_entry(&text), parse_connection(&text));
        }

        /// H36: what is not exactly as written is malformed.
        #[test]
        fn a_damaged_row_is_malformed(at in 0..ROW_BYTES, byte in "[^0-9a-f ]") {
            let mut text = row_text(Row {
                instance: InstanceId::new(1),
                epoch: Epoch::new(2),
                connected: WallTime::from_millis(3),
            });
            text.splice(at..=at, byte.bytes());
            prop_assert_eq!(parse_row(&text), None);
        }
    }

    #[test]
    fn the_texts_are_as_documented() {
        let row = Row {
            instance: InstanceId::new(0xA1),
            epoch: Epoch::new(0x1F),
            connected: WallTime::from_millis(u64::MAX),
        };
        assert_eq!(
            row_text(row),
            b"00000000000000a1 000000000000001f ffffffffffff"
        );
        assert_eq!(parse_row(&row_text(row)), Some(kept(row)));
        let lease = Lease {
            epoch: Epoch::new(2),
            floor: Epoch::new(1),
            beat: 7,
            state: LeaseState::Draining,
            address: "[::1]:7".to_owned(),
        };
        assert_eq!(
            lease_text(&lease),
            b"0000000000000002 0000000000000001 7 draining [::1]:7"
        );
    }

    /// H36: the epoch after the last is none, and nobody counts on from there.
    #[test]
    fn an_epoch_that_nobody_can_have_is_malformed() {
        for (text, epoch) in [
            ("7fffffffffffffff", Some(Epoch::LAST)),
            ("8000000000000000", None),
            ("ffffffffffffffff", None),
        ] {
            assert_eq!(parse_epoch(text.as_bytes()), epoch, "{text}");
            let row = format!("00000000000000a1 {text} 000000000003");
            assert_eq!(parse_row(row.as_bytes()).is_some(), epoch.is_some());
            for lease in [
                format!("5000 7 8 {text} 0000000000000001 7 up 127.0.0.1:9"),
                format!("5000 7 8 0000000000000001 {text} 7 up 127.0.0.1:9"),
            ] {
                assert_eq!(parse_entry(lease.as_bytes()).is_some(), epoch.is_some());
            }
        }
    }

    fn epochs() -> std::ops::RangeInclusive<u64> {
        0..=Epoch::LAST.get()
    }

    #[test]
    fn a_connection_has_one_spelling() {
        let text = "0195f3a0-0000-7000-8000-00000000000a";
        assert!(parse_connection(text.as_bytes()).is_some());
        assert_eq!(parse_connection(text.to_uppercase().as_bytes()), None);
        assert_eq!(parse_connection(text.replace('-', "").as_bytes()), None);
    }
}
