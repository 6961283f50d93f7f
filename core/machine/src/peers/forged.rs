//! What a peer says that knows the secret and misbehaves: made of what an honest one says, so that the simulator can
//! say it on open links.

use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::wire::{Batch, MAX_BATCH_BYTES, MAX_BATCH_MESSAGES, Message, Pulse, decode_batch};
use crate::base::few::Few;
use crate::channel::Channel;
use crate::delivery::{Addressee, Addressees, Ask, Delivered, Delivery, Outcomes};
use crate::frame::Payload;
use crate::id::{ConnectionId, DeliveryId, PushId};
use crate::message::{Action, Counts, Outcome};
use crate::vocabulary::missed::MissedLogs;
use crate::vocabulary::service::Service;

/// How what a peer says differs from what an honest one would say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Forgery {
    /// Each answer to a delivery comes twice, in one batch.
    AnswersTwice,
    /// Before each answer comes the same one to deliveries of about that time, which were not asked for or are somebody
    /// else's.
    AnswersUnasked,
    /// Each answer is of another kind than its delivery.
    AnswersOtherwise,
    /// Each answer leaves out what became of terminals, and names one that never was.
    AnswersMiscounted,
    /// Each answer says that all terminals have it.
    AnswersWritten,
    /// Each delivery comes twice, in one batch.
    DeliversTwice,
    /// Beside each delivery comes one of the same push to connections of others and to some that never were.
    DeliversAstray,
    /// The logs of all addressees of a delivery are said to be missed; and no logs, behind each other message.
    MissesOthers,
    /// All logs are said to be missed, once for each message.
    MissesAll,
    /// The sender proves itself once more.
    ProvesAgain,
    /// The sender says goodbye, and goes on.
    SaysGoodbye,
    /// Heartbeats say the contrary of how the directory serves the sender.
    LiesOfDirectory,
    /// Heartbeats answer what was never said, or was said at once.
    LiesOfTime,
    /// The end of the batch is missing.
    CutShort,
    /// The batch is of more messages than any may have.
    TooMany,
    /// It is of more bytes.
    Oversized,
}

impl Forgery {
    /// All forgeries.
    pub const ALL: [Self; 16] = [
        Self::AnswersTwice,
        Self::AnswersUnasked,
        Self::AnswersOtherwise,
        Self::AnswersMiscounted,
        Self::AnswersWritten,
        Self::DeliversTwice,
        Self::DeliversAstray,
        Self::MissesOthers,
        Self::MissesAll,
        Self::ProvesAgain,
        Self::SaysGoodbye,
        Self::LiesOfDirectory,
        Self::LiesOfTime,
        Self::CutShort,
        Self::TooMany,
        Self::Oversized,
    ];

    /// Whether no peer says that: it ends the link.
    pub const fn is_nonsense(self) -> bool {
        match self {
            Self::ProvesAgain | Self::CutShort | Self::TooMany | Self::Oversized => true,
            Self::AnswersTwice
            | Self::AnswersUnasked
            | Self::AnswersOtherwise
            | Self::AnswersMiscounted
            | Self::AnswersWritten
            | Self::DeliversTwice
            | Self::DeliversAstray
            | Self::MissesOthers
            | Self::MissesAll
            | Self::SaysGoodbye
            | Self::LiesOfDirectory
            | Self::LiesOfTime => false,
        }
    }

    /// Whether this is a batch of an open link: a Hello is none, and what begins with a proof opens one.
    pub fn has_occasion(batch: &Bytes) -> bool {
        occasion(batch).is_some()
    }

    /// What the peer says in place of a batch. `None` if the batch gives no occasion.
    pub fn of(self, batch: &Bytes) -> Option<Bytes> {
        let messages = occasion(batch)?;
        match self {
            Self::CutShort => return Some(batch.slice(..batch.len() - 1)),
            Self::TooMany => return Some(repeated(&messages[0], MAX_BATCH_MESSAGES + 1)),
            Self::Oversized => {
                let large = Message::Deliver(large());
                return Some(repeated(&large, MAX_BATCH_BYTES / LARGE + 1));
            }
            Self::AnswersTwice
            | Self::AnswersUnasked
            | Self::AnswersOtherwise
            | Self::AnswersMiscounted
            | Self::AnswersWritten
            | Self::DeliversTwice
            | Self::DeliversAstray
            | Self::MissesOthers
            | Self::MissesAll
            | Self::ProvesAgain
            | Self::SaysGoodbye
            | Self::LiesOfDirectory
            | Self::LiesOfTime => {}
        }
        let mut forged = Batch::new();
        let mut differs = false;
        for message in messages {
            let said = self.said(message.clone());
            differs |= said.len() != 1 || said[0] != message;
            said.iter().for_each(|message| forged.push(message));
        }
        differs.then(|| forged.take())
    }

    /// What is said in place of one message.
    fn said(self, message: Message) -> Vec<Message> {
        match (self, message) {
            (Self::AnswersTwice, answer @ Message::Delivered(_))
            | (Self::DeliversTwice, answer @ Message::Deliver(_)) => vec![answer.clone(), answer],
            (Self::AnswersUnasked, Message::Delivered(answer)) => {
                let near = NEAR.map(|by| answer.delivery.get().wrapping_add_signed(by));
                let unasked = near.map(|delivery| {
                    Message::Delivered(Delivered {
                        delivery: DeliveryId::new(delivery),
                        outcomes: answer.outcomes.clone(),
                    })
                });
                let mut said = Vec::from(unasked);
                said.push(Message::Delivered(answer));
                said
            }
            (Self::AnswersOtherwise, Message::Delivered(answer)) => {
                vec![Message::Delivered(Delivered {
                    outcomes: match answer.outcomes {
                        Outcomes::Keys(_) => Outcomes::Counted(Counts::default()),
                        Outcomes::Counted(_) => Outcomes::Listed(1, Vec::new()),
                        Outcomes::Listed(..) | Outcomes::Confirmed(..) => {
                            Outcomes::Keys(Few::new())
                        }
                    },
                    ..answer
                })]
            }
            (Self::AnswersMiscounted, Message::Delivered(answer)) => {
                vec![Message::Delivered(Delivered {
                    outcomes: miscounted(answer.outcomes),
                    ..answer
                })]
            }
            (Self::AnswersWritten, Message::Delivered(answer)) => {
                vec![Message::Delivered(Delivered {
                    outcomes: written(answer.outcomes),
                    ..answer
                })]
            }
            (Self::DeliversAstray, Message::Deliver(delivery)) => {
                let mut astray = delivery.clone();
                astray.id = DeliveryId::new(u64::MAX);
                if let Addressees::Keys(keys) = &mut astray.to {
                    lead_astray(keys);
                }
                vec![Message::Deliver(astray), Message::Deliver(delivery)]
            }
            (Self::MissesOthers, message) => {
                let mut missed = MissedLogs::NONE;
                if let Message::Deliver(delivery) = &message
                    && let Addressees::Keys(keys) = &delivery.to
                {
                    for addressee in keys {
                        missed.add(&Channel::from(&addressee.key));
                    }
                }
                vec![message, Message::Missed(missed)]
            }
            (Self::MissesAll, message) => vec![message, Message::Missed(MissedLogs::All)],
            (Self::ProvesAgain, message) => vec![Message::Proof([7; 32]), message],
            (Self::SaysGoodbye, message) => vec![Message::Goodbye, message],
            (Self::LiesOfDirectory, Message::Heartbeat { directory, pulse }) => {
                let directory = match directory {
                    Service::Full | Service::Behind => Service::Vacant,
                    Service::None | Service::Vacant => Service::Full,
                };
                vec![Message::Heartbeat { directory, pulse }]
            }
            (Self::LiesOfTime, Message::Heartbeat { directory, pulse }) => {
                let pulse = Pulse::forged(pulse);
                vec![Message::Heartbeat { directory, pulse }]
            }
            (_, message) => vec![message],
        }
    }
}

/// How far the numbers of deliveries are from that of one which is answered: of one push, most of them.
const NEAR: [i64; 4] = [-2, -1, 1, 2];

/// Bytes of the payload of a large delivery.
const LARGE: usize = 1 << 20;

/// A delivery to nobody.
fn large() -> Delivery {
    Delivery {
        id: DeliveryId::new(u64::MAX),
        push: PushId::new(Uuid::max()),
        within: Duration::ZERO,
        action: Action::Frame(Payload::binary(vec![0; LARGE].into())),
        to: Addressees::Keys(Few::new()),
    }
}

/// A batch of so many equal messages.
fn repeated(message: &Message, times: usize) -> Bytes {
    let mut batch = Batch::new();
    (0..times).for_each(|_| batch.push(message));
    batch.take()
}

/// The deliveries in a batch of an open link, by their numbers.
pub fn deliveries(batch: &Bytes) -> Vec<DeliveryId> {
    let messages = decode_batch(batch).unwrap_or_default();
    let deliveries = messages.into_iter().filter_map(|message| match message {
        Message::Deliver(delivery) => Some(delivery.id),
        Message::Delivered(_)
        | Message::Proof(_)
        | Message::Heartbeat { .. }
        | Message::Missed(_)
        | Message::Goodbye => None,
    });
    deliveries.collect()
}

/// The connections that the deliveries in a batch of an open link are for, by their names.
pub fn named(batch: &Bytes) -> Vec<ConnectionId> {
    let mut named = Vec::new();
    for message in decode_batch(batch).unwrap_or_default() {
        if let Message::Deliver(delivery) = message
            && let Addressees::Keys(keys) = delivery.to
        {
            named.extend(
                keys.iter()
                    .flat_map(|addressee| addressee.named.iter().copied()),
            );
        }
    }
    named
}

/// What a peer says in place of a batch that answers also for these connections, as if they were its own: that what is
/// for them was too large. `None` if it answers nothing.
pub fn for_others(batch: &Bytes, others: &[ConnectionId]) -> Option<Bytes> {
    let mut forged = Batch::new();
    let mut differs = false;
    for mut message in occasion(batch)? {
        if let Message::Delivered(answer) = &mut message
            && let Outcomes::Keys(outcomes) = &mut answer.outcomes
        {
            for other in others {
                outcomes.push((0, *other, Outcome::TooLarge));
                differs = true;
            }
        }
        forged.push(&message);
    }
    differs.then(|| forged.take())
}

/// What is said on an open link.
fn occasion(batch: &Bytes) -> Option<Vec<Message>> {
    let messages = decode_batch(batch).ok()?;
    let is_proof = matches!(messages.first(), Some(Message::Proof(_)));
    (!is_proof).then_some(messages)
}

/// No terminal of those, one that never was, and more of them than there can be.
fn miscounted(outcomes: Outcomes) -> Outcomes {
    let nobody = ConnectionId::new(Uuid::max());
    match outcomes {
        Outcomes::Keys(_) => {
            let beyond = [0, 1, u32::MAX].map(|index| (index, nobody, Outcome::Gone));
            Outcomes::Keys(beyond.as_slice().into())
        }
        Outcomes::Counted(_) => Outcomes::Counted(Counts {
            gone: u64::MAX,
            overflow: u64::MAX,
            ..Counts::default()
        }),
        Outcomes::Listed(..) => Outcomes::Listed(u64::MAX, Vec::new()),
        Outcomes::Confirmed(counts, _) => Outcomes::Confirmed(counts, u64::MAX),
    }
}

/// Every terminal has it.
fn written(outcomes: Outcomes) -> Outcomes {
    match outcomes {
        Outcomes::Keys(keys) => {
            let written = keys
                .into_iter()
                .map(|(index, connection, _)| (index, connection, Outcome::Written));
            Outcomes::Keys(written.collect())
        }
        Outcomes::Counted(counts) => Outcomes::Counted(Counts {
            written: counts.written.saturating_add(counts.failed()),
            kept: counts.kept,
            ..Counts::default()
        }),
        Outcomes::Confirmed(counts, confirmed) => {
            Outcomes::Confirmed(Counts::default(), confirmed.saturating_add(counts.written))
        }
        listed @ Outcomes::Listed(..) => listed,
    }
}

/// Names the connections of each key under the next one, and one that never was; and asks for nobody else.
fn lead_astray(keys: &mut [Addressee]) {
    let named: Vec<Few<ConnectionId>> = (keys.iter_mut())
        .map(|addressee| std::mem::take(&mut addressee.named))
        .collect();
    let others = match named.len() {
        1 => vec![Few::new()],
        _ => named[1..].iter().chain(&named[..1]).cloned().collect(),
    };
    for (addressee, others) in keys.iter_mut().zip(others) {
        addressee.named = others;
        addressee.named.push(ConnectionId::new(Uuid::max()));
        addressee.ask = Ask::Nobody;
        addressee.record = None;
    }
}
