//! Many messages in one piece: a batch.

use bytes::{BufMut, Bytes, BytesMut};
use postcard::ser_flavors::Flavor;

use super::form::{Received, Sent};
use super::{MAX_BATCH_BYTES, MAX_BATCH_MESSAGES, Message, WireError, encoded_size_hint};

/// Encodes messages one after another. Its memory serves many batches.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    bytes: BytesMut,
    messages: usize,
}

/// Memory is reserved in pieces of this size, in bytes: it holds some fifty deliveries of small
/// payloads, and an idle link keeps one piece.
const PIECE: usize = 4096;

impl Batch {
    /// An empty one. It takes no memory.
    pub(crate) fn new() -> Self {
        Self {
            bytes: BytesMut::new(),
            messages: 0,
        }
    }

    /// Whether a message of this [`encoded_size_hint`] may be added. An empty batch takes any.
    pub(crate) fn has_room(&self, size_hint: usize) -> bool {
        self.is_empty()
            || (self.messages < MAX_BATCH_MESSAGES && self.len() + size_hint <= MAX_BATCH_BYTES)
    }

    /// Adds a message.
    pub(crate) fn push(&mut self, message: &Message) {
        let size = encoded_size_hint(message);
        if self.bytes.capacity() - self.bytes.len() < size {
            self.bytes.reserve(size.max(PIECE));
        }
        postcard::serialize_with_flavor(&Sent::from(message), Sink(&mut self.bytes))
            .expect("memory takes all bytes, and every sequence knows its length");
        self.messages += 1;
    }

    /// Bytes of the messages.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is no message.
    pub(crate) fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// Takes the batch, which can be shared without a copy or an allocation, and begins anew.
    pub(crate) fn take(&mut self) -> Bytes {
        self.messages = 0;
        let batch = self.bytes.split().freeze();
        if batch.len() > PIECE {
            // What is left belongs to the memory of a large batch and would keep it.
            self.bytes = BytesMut::new();
        }
        batch
    }
}

/// Decodes a batch.
///
/// A payload that is at least a quarter of the batch is a slice of it; a smaller one is copied, so
/// that it does not keep the memory of the whole batch while it waits for a slow terminal.
///
/// # Errors
///
/// If anything in it is not a message. Nothing of such a batch counts.
pub(crate) fn decode_batch(batch: &Bytes) -> Result<Vec<Message>, WireError> {
    if batch.is_empty() {
        return Err(WireError::Malformed("an empty batch"));
    }
    if batch.len() > MAX_BATCH_BYTES {
        return Err(WireError::Malformed("a batch that is too large"));
    }
    let mut messages = Vec::new();
    let mut rest: &[u8] = batch;
    while !rest.is_empty() {
        if messages.len() == MAX_BATCH_MESSAGES {
            return Err(WireError::Malformed("a batch of too many messages"));
        }
        let (form, tail) = postcard::take_from_bytes::<Received<'_>>(rest).map_err(malformed)?;
        messages.push(form.into_message(batch)?);
        rest = tail;
    }
    Ok(messages)
}

fn malformed(error: postcard::Error) -> WireError {
    WireError::Malformed(if error == postcard::Error::DeserializeUnexpectedEnd {
        "a message that is cut short"
    } else {
        "something that is not a message"
    })
}

/// Where postcard writes to.
struct Sink<'a>(&'a mut BytesMut);

impl Flavor for Sink<'_> {
    type Output = ();

    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.0.put_slice(data);
        Ok(())
    }

    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.0.put_u8(data);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_types,
    reason = "the macro that chooses among strategies shares them"
)]
mod tests {
    use std::time::Duration;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;
    use serde::Serialize;
    use uuid::Uuid;

    use super::*;
    use crate::channel::Channel;
    use crate::delivery::{
        Addressee, Addressees, Ask, Breadth, Delivered, Delivery, Outcomes, Recorded, TopicMarks,
    };
    use crate::directory::log::Place;
    use crate::frame::{CloseCode, FrameKind, Payload};
    use crate::id::{ConnectionId, DeliveryId, PushId, SessionName, TopicId, UserId};
    use crate::key::Key;
    use crate::message::{Action, Counts, Outcome, PushedBy, Until};
    use crate::peers::wire::form::{ActionForm, Form};
    use crate::peers::wire::{Echo, Pulse};
    use crate::position::Position;
    use crate::vocabulary::missed::MissedLogs;
    use crate::vocabulary::service::Service;

    proptest! {
        /// H51: payloads cross as they are; the rest is bounded by the estimate.
        #[test]
        fn batches_survive_the_wire_within_the_estimated_size(messages in vec(message(), 1..12)) {
            let mut batch = Batch::new();
            let mut estimate = 0;
            for message in &messages {
                batch.push(message);
                estimate += encoded_size_hint(message);
                prop_assert!(batch.len() <= estimate);
            }
            let bytes = batch.take();
            prop_assert!(batch.is_empty());
            prop_assert_eq!(decode_batch(&bytes), Ok(messages));
        }

        /// H36: no bytes panic the reader, however close they are to a batch.
        #[test]
        fn damaged_batches_are_decoded_or_refused(
            messages in vec(message(), 1..4),
            damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cut: prop::sample::Index,
        ) {
            let mut bytes = encode(&messages).to_vec();
            bytes.truncate(1 + cut.index(bytes.len()));
            for (at, value) in damage {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            let _ = decode_batch(&bytes.into());
        }

        #[test]
        fn arbitrary_bytes_are_decoded_or_refused(bytes: Vec<u8>) {
            let _ = decode_batch(&bytes.into());
        }

        #[test]
        fn a_message_that_is_cut_short_is_refused(message in message(), cut: prop::sample::Index) {
            let bytes = encode(&[message]);
            let cut = cut.index(bytes.len());
            prop_assert!(decode_batch(&bytes.slice(..cut)).is_err());
        }
    }

    #[test]
    fn garbage_after_a_message_is_refused() {
        let bytes = [&encode(&[Message::Goodbye])[..], &[0x7f]].concat();
        assert_eq!(
            decode_batch(&bytes.into()),
            Err(WireError::Malformed("something that is not a message"))
        );
        assert!(decode_batch(&Bytes::new()).is_err());
    }

    #[test]
    fn a_large_payload_is_a_slice_of_the_batch_and_a_small_one_keeps_nothing_of_it() {
        let large = deliver(Payload::binary(vec![1; 10_000].into()));
        let small = deliver(Payload::binary(vec![2; 100].into()));
        let batch = encode(&[large, small]);
        let within = batch.as_ptr_range();
        let messages = decode_batch(&batch).unwrap();
        let shared: Vec<bool> = messages
            .iter()
            .map(|message| {
                let Message::Deliver(Delivery {
                    action: Action::Frame(payload),
                    ..
                }) = message
                else {
                    panic!("{message:?}");
                };
                within.contains(&payload.bytes().as_ptr())
            })
            .collect();
        assert_eq!(shared, [true, false]);
    }

    /// H07: the empty user reaches nobody, on links either.
    #[test]
    fn users_that_cannot_be_are_refused() {
        assert!(decode_batch(&deliver_to("anna")).is_ok());
        for user in ["", "line\nfeed", &"x".repeat(129)] {
            assert!(decode_batch(&deliver_to(user)).is_err(), "{user:?}");
        }
    }

    #[test]
    fn a_text_frame_that_is_not_utf8_is_refused() {
        let action = ActionForm::Frame {
            kind: FrameKind::Text,
            content: b"\xff",
        };
        let bytes = encode_form(&form(action, Addressees::Everyone));
        assert_eq!(
            decode_batch(&bytes),
            Err(WireError::Malformed("a text frame that is not UTF-8"))
        );
    }

    #[test]
    fn a_list_that_claims_to_be_longer_than_the_batch_is_refused() {
        let claims = (2_u8, 7_u64, 0_u8, u64::MAX);
        let bytes = postcard::to_stdvec(&claims).unwrap();
        assert!(decode_batch(&bytes.into()).is_err());
    }

    #[test]
    fn a_batch_takes_no_more_than_a_peer_accepts() {
        let mut batch = Batch::new();
        assert!(
            batch.has_room(usize::MAX),
            "or a large message would never leave"
        );
        let mut messages = 0;
        while batch.has_room(encoded_size_hint(&Message::Goodbye)) {
            batch.push(&Message::Goodbye);
            messages += 1;
        }
        assert_eq!(messages, MAX_BATCH_MESSAGES);
        assert!(decode_batch(&batch.take()).is_ok());
        batch.push(&Message::Goodbye);
        assert!(batch.has_room(MAX_BATCH_BYTES - 1));
        assert!(!batch.has_room(MAX_BATCH_BYTES));
    }

    #[test]
    fn the_largest_payload_fits() {
        let message = deliver(Payload::binary(vec![0; 16 << 20].into()));
        assert!(encoded_size_hint(&message) < MAX_BATCH_BYTES);
        let mut batch = Batch::new();
        batch.push(&message);
        let bytes = batch.take();
        assert!(decode_batch(&bytes).is_ok());
        assert_eq!(
            batch.bytes.capacity(),
            0,
            "the memory of a large batch is not kept"
        );
    }

    #[test]
    fn a_deadline_is_cut_to_milliseconds_and_never_overflows() {
        let cases = [
            (Duration::from_micros(1999), Duration::from_millis(1)),
            (Duration::MAX, Duration::from_millis(u32::MAX.into())),
        ];
        for (within, expected) in cases {
            let Message::Deliver(deliver) = deliver(Payload::binary(Bytes::new())) else {
                unreachable!("made so")
            };
            let message = Message::Deliver(Delivery {
                within,
                ..deliver.clone()
            });
            let decoded = Message::Deliver(Delivery {
                within: expected,
                ..deliver
            });
            assert_eq!(decode_batch(&encode(&[message])), Ok(vec![decoded]));
        }
    }

    fn encode(messages: &[Message]) -> Bytes {
        let mut batch = Batch::new();
        for message in messages {
            batch.push(message);
        }
        batch.take()
    }

    fn encode_form<To: Serialize>(form: &Form<'_, To, ()>) -> Bytes {
        postcard::to_stdvec(form).unwrap().into()
    }

    fn form<To>(action: ActionForm<'_>, to: To) -> Form<'_, To, ()> {
        Form::Deliver {
            delivery: DeliveryId::new(1),
            push: PushId::new(Uuid::nil()),
            within_millis: 1,
            action,
            to,
        }
    }

    /// A delivery to whatever name, by someone who does not check names.
    fn deliver_to(user: &str) -> Bytes {
        #[derive(Serialize)]
        enum Unchecked<'a> {
            Keys(Vec<(&'a str, Vec<ConnectionId>, Ask, Option<Place>)>),
        }
        let to = Unchecked::Keys(vec![(user, Vec::new(), Ask::All, None)]);
        encode_form(&form(ActionForm::Close(CloseCode::Kicked), to))
    }

    fn deliver(payload: Payload) -> Message {
        Message::Deliver(Delivery {
            id: DeliveryId::new(u64::MAX),
            push: PushId::new(Uuid::max()),
            within: Duration::from_secs(3),
            action: Action::Frame(payload),
            to: Addressees::Everyone,
        })
    }

    fn message() -> impl Strategy<Value = Message> {
        let deliver = (
            any::<u64>(),
            any::<u128>(),
            any::<u32>(),
            action(),
            addressees(),
        )
            .prop_map(|(delivery, push, millis, action, to)| {
                Message::Deliver(Delivery {
                    id: DeliveryId::new(delivery),
                    push: PushId::new(Uuid::from_u128(push)),
                    within: Duration::from_millis(millis.into()),
                    action,
                    to,
                })
            });
        let delivered = (any::<u64>(), outcomes()).prop_map(|(delivery, outcomes)| {
            Message::Delivered(Delivered {
                delivery: DeliveryId::new(delivery),
                outcomes,
            })
        });
        prop_oneof![
            4 => deliver,
            3 => delivered,
            1 => any::<[u8; 32]>().prop_map(Message::Proof),
            1 => heartbeat(),
            1 => Just(Message::Goodbye),
            1 => missed(),
        ]
    }

    fn missed() -> impl Strategy<Value = Message> {
        let channel = prop_oneof![
            key().prop_map(Channel::from),
            topic().prop_map(Channel::from)
        ];
        let channels = proptest::collection::btree_set(channel, 0..5);
        let some = channels.prop_map(|channels| Message::Missed(MissedLogs::Of(channels)));
        prop_oneof![3 => some, 1 => Just(Message::Missed(MissedLogs::All))]
    }

    fn key() -> impl Strategy<Value = Key> {
        "[a-zäöü@. -]{1,60}".prop_filter_map("it is no user", |user| {
            UserId::new(&user).ok().map(Key::from)
        })
    }

    fn heartbeat() -> impl Strategy<Value = Message> {
        let services = vec![
            Service::Full,
            Service::Behind,
            Service::None,
            Service::Vacant,
        ];
        let echo = any::<Option<(u64, u64)>>();
        (select(services), any::<u64>(), echo).prop_map(|(directory, sent, echo)| {
            let echo = echo.map(|(sent, held)| Echo { sent, held });
            let pulse = Pulse { sent, echo };
            Message::Heartbeat { directory, pulse }
        })
    }

    fn action() -> impl Strategy<Value = Action> {
        prop_oneof![
            vec(any::<u8>(), 0..600).prop_map(|bytes| Action::Frame(Payload::binary(bytes.into()))),
            ".{0,200}".prop_map(|text| Action::Frame(Payload::text(text.into()).unwrap())),
            select(&CloseCode::ALL[..]).prop_map(Action::Close),
        ]
    }

    fn addressees() -> impl Strategy<Value = Addressees> {
        prop_oneof![
            4 => vec(addressee(), 0..5).prop_map(|keys| Addressees::Keys(keys.into())),
            1 => Just(Addressees::Everyone),
            1 => to_record(),
            1 => members(),
            1 => any::<[u8; 16]>().prop_map(|name| Addressees::Session(SessionName::new(name))),
        ]
    }

    fn to_record() -> impl Strategy<Value = Addressees> {
        let except = proptest::option::of(connection());
        let by = select(vec![PushedBy::Application, PushedBy::Terminal]);
        let breadth = prop_oneof![
            Just(Breadth::OneTopic),
            vec(topic(), 2..9).prop_map(|topics| Breadth::SeveralTopics(TopicMarks::of(&topics)))
        ];
        (topic(), except, by, recorded(), breadth).prop_map(
            |(topic, except, by, record, breadth)| Addressees::Record {
                topic,
                except,
                by,
                record,
                breadth,
            },
        )
    }

    fn members() -> impl Strategy<Value = Addressees> {
        let topic = "[a-zäöü@. -]{1,60}"
            .prop_filter_map("it is no topic", |topic| TopicId::new(&topic).ok());
        let by = select(vec![PushedBy::Application, PushedBy::Terminal]);
        let except = proptest::option::of(connection());
        (vec(topic, 1..5), except, by).prop_map(|(topics, except, by)| Addressees::Members {
            topics,
            except,
            by,
        })
    }

    fn addressee() -> impl Strategy<Value = Addressee> {
        let ask = prop_oneof![
            Just(Ask::Nobody),
            Just(Ask::All),
            vec(connection(), 0..4).prop_map(Ask::Only),
        ];
        let record = proptest::option::of(recorded());
        (key(), vec(connection(), 0..4), ask, record).prop_map(|(key, named, ask, record)| {
            Addressee {
                key,
                named: named.into(),
                ask,
                record,
            }
        })
    }

    fn recorded() -> impl Strategy<Value = Recorded> {
        let position = || {
            (0..=Position::OFFSET_LAST, any::<u32>())
                .prop_filter_map("in range", |(offset, tag)| Position::new(offset, tag))
        };
        let place =
            (position(), position()).prop_map(|(position, before)| Place { position, before });
        (place, select(vec![Until::Written, Until::Acked]))
            .prop_map(|(place, until)| Recorded { place, until })
    }

    fn topic() -> impl Strategy<Value = TopicId> {
        key().prop_map(|key| TopicId::new(key.user().as_str()).expect("a name"))
    }

    fn outcomes() -> impl Strategy<Value = Outcomes> {
        let outcome = select(vec![
            Outcome::Written,
            Outcome::Queued,
            Outcome::Kept,
            Outcome::Gone,
            Outcome::Overflow,
            Outcome::Unreachable,
            Outcome::TooLarge,
            Outcome::Acked,
        ]);
        let counts = || {
            any::<[u64; 7]>().prop_map(
                |[
                    written,
                    queued,
                    kept,
                    gone,
                    overflow,
                    unreachable,
                    too_large,
                ]| Counts {
                    kept,
                    written,
                    queued,
                    gone,
                    overflow,
                    unreachable,
                    too_large,
                    acked: 0,
                },
            )
        };
        prop_oneof![
            vec((any::<u32>(), connection(), outcome), 0..8)
                .prop_map(|keys| Outcomes::Keys(keys.into())),
            (counts(), any::<u64>()).prop_map(|(counts, acked)| Outcomes::Confirmed(counts, acked)),
            counts().prop_map(Outcomes::Counted),
        ]
    }

    fn connection() -> impl Strategy<Value = ConnectionId> {
        any::<u128>().prop_map(|bits| ConnectionId::new(Uuid::from_u128(bits)))
    }
}
