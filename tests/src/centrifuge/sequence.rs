//! Sequences that follow from a seed: what two clients of Centrifuge say, rightly and wrongly, and what the application
//! does meanwhile.

use sha2::{Digest as _, Sha256};

use crate::random::Random;

/// What is done from a seed, one step after the other.
#[derive(Clone, Debug)]
pub struct Sequence {
    /// It also names the users and the channels, so that sequences do not meet.
    pub seed: u64,
    /// The steps, in their order.
    pub steps: Vec<Step>,
}

/// One of the two clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// The first, called `a` in transcripts.
    Ann,
    /// The second, called `b`, of another user.
    Bob,
}

impl Speaker {
    /// Both clients of a sequence, in the order in which they connect.
    pub const BOTH: [Self; 2] = [Self::Ann, Self::Bob];

    /// The user of a sequence.
    pub fn user(self, seed: u64) -> String {
        format!("{}{seed}", self.letter())
    }

    /// How it is called in transcripts.
    pub const fn letter(self) -> char {
        match self {
            Self::Ann => 'a',
            Self::Bob => 'b',
        }
    }

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Ann => Self::Bob,
            Self::Bob => Self::Ann,
        }
    }
}

/// What is done at a time.
#[derive(Clone, Debug)]
pub enum Step {
    /// A client says this in one frame. One that is not connected connects first.
    Says(Speaker, Vec<Phrase>),
    /// A client goes without a word.
    Goes(Speaker),
    /// The application pushes to a channel.
    Pushes(ChannelKind, u32),
    /// The application ends the connections of a user.
    Kicks(Speaker),
    /// The application ends a subscription.
    Removes(Speaker, ChannelKind),
}

/// A command, or what is none.
#[derive(Clone, Debug)]
pub enum Phrase {
    /// Who it is, and from where on its own channel is to be recovered.
    Connect(Token, Option<Held>),
    /// With a token for the channel, and from where on it is to be recovered.
    Subscribe(ChannelKind, Option<ChannelToken>, Option<Held>),
    /// It ends its subscription.
    Unsubscribe(ChannelKind),
    /// With data, or without.
    Publish(ChannelKind, Option<u32>),
    /// Who is there?
    Presence(ChannelKind),
    /// How many are there?
    PresenceStats(ChannelKind),
    /// What was said there?
    History(ChannelKind, History),
    /// A call of a procedure.
    Rpc,
    /// A message without an answer.
    Send,
    /// A new token for the connection.
    Refresh(Token),
    /// A new token for the channel.
    SubRefresh(ChannelKind, ChannelToken),
    /// Which is not what answers a ping.
    Ping,
    /// The answer to a ping that there was not.
    Pong,
    /// An id, and no request.
    Nothing,
    /// A request without an id.
    WithoutId(ChannelKind),
    /// A frame that is no command, of some kind.
    Garbage(usize),
}

impl Phrase {
    /// The channel that it is about.
    pub const fn place(&self) -> Option<ChannelKind> {
        match self {
            Self::Subscribe(place, ..)
            | Self::Unsubscribe(place)
            | Self::Publish(place, _)
            | Self::Presence(place)
            | Self::PresenceStats(place)
            | Self::History(place, _)
            | Self::SubRefresh(place, _)
            | Self::WithoutId(place) => Some(*place),
            Self::Connect(..)
            | Self::Rpc
            | Self::Send
            | Self::Refresh(_)
            | Self::Ping
            | Self::Pong
            | Self::Nothing
            | Self::Garbage(_) => None,
        }
    }

    /// Whether it has a token that counts, but for another channel or user, or that renews nothing.
    pub const fn has_token_of_others(&self) -> bool {
        use ChannelToken::{ForOther, Forged, OfOther};
        matches!(
            self,
            Self::Subscribe(_, Some(ForOther | OfOther), _)
                | Self::SubRefresh(_, ForOther | OfOther | Forged)
        )
    }

    fn may_end_connection(&self) -> bool {
        let is_final = match self {
            Self::Connect(..)
            | Self::Send
            | Self::Ping
            | Self::Pong
            | Self::Nothing
            | Self::WithoutId(_)
            | Self::Garbage(_) => true,
            Self::Refresh(token) => *token != Token::Good,
            Self::Subscribe(..)
            | Self::Unsubscribe(_)
            | Self::Publish(..)
            | Self::Presence(_)
            | Self::PresenceStats(_)
            | Self::History(..)
            | Self::Rpc
            | Self::SubRefresh(..) => false,
        };
        is_final || self.has_token_of_others() || self.place() == Some(ChannelKind::Empty)
    }

    /// Whether it asks for nothing but an answer, which can be asked for again.
    pub const fn is_question(&self) -> bool {
        matches!(
            self,
            Self::Presence(_) | Self::PresenceStats(_) | Self::History(..)
        )
    }
}

/// How much of a channel's history, and from where on.
#[derive(Clone, Debug)]
pub struct History {
    /// Publications at most. Negative: all. None: it is not said.
    pub limit: Option<i32>,
    /// The position from which on it is read.
    pub since: Option<Held>,
    /// The newest come first.
    pub reverse: bool,
}

/// A channel, by what it allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelKind {
    /// Any client may subscribe; members may publish and see each other.
    Chat,
    /// The same, with a history that is recovered, and without seeing each other.
    Room,
    /// Any client may subscribe, and that is all.
    News,
    /// Any client may subscribe, and members are told who comes and leaves.
    Hall,
    /// Nothing is allowed without a token.
    Shut,
    /// The channel of the user, to which the server subscribes.
    Own,
    /// That of the user of the other client.
    Others,
    /// In no namespace that there is.
    Nowhere,
    /// A name that is longer than names may be.
    Long,
    /// No name at all.
    Empty,
}

impl ChannelKind {
    /// Where most happens.
    const USUAL: [Self; 5] = [Self::Chat, Self::Room, Self::News, Self::Hall, Self::Shut];

    /// Its name for a client of a sequence.
    pub fn name(self, seed: u64, speaker: Speaker) -> String {
        match self {
            Self::Chat => format!("chat:{seed}"),
            Self::Room => format!("room:{seed}"),
            Self::News => format!("news:{seed}"),
            Self::Hall => format!("hall:{seed}"),
            Self::Shut => format!("shut:{seed}"),
            Self::Own => format!("#{}", speaker.user(seed)),
            Self::Others => format!("#{}", speaker.other().user(seed)),
            Self::Nowhere => format!("nowhere:{seed}"),
            Self::Long => format!("chat:{}", "x".repeat(300)),
            Self::Empty => String::new(),
        }
    }
}

/// What a client says of where it stands in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Where it stands.
    Newest,
    /// Where it was told of a publication for the first time.
    Oldest,
    /// Where nobody has been.
    Strange,
    /// In a log that has been lost.
    OtherEpoch,
}

/// A token of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// One that counts.
    Good,
    /// One that counts and never expires.
    Endless,
    /// One that has a topic with it: [`ChannelKind::Chat`].
    WithTopic,
    /// The field is left out.
    Missing,
    /// One that has expired.
    Expired,
    /// One that another key has signed.
    Forged,
    /// What is no token.
    Wrong,
    /// One of the other user.
    Others,
}

/// A token for a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelToken {
    /// One that counts.
    Good,
    /// One that has expired.
    Expired,
    /// One that another key has signed.
    Forged,
    /// One of the other user.
    OfOther,
    /// One for another channel.
    ForOther,
    /// None, where one is wanted.
    Missing,
}

impl Sequence {
    /// What follows from a seed.
    pub fn of(seed: u64) -> Self {
        let mut maker = Maker {
            random: Random::new(seed, "sequence", 0),
            said: 0,
        };
        let steps = 3 + maker.random.below(8);
        let mut steps: Vec<_> = (0..steps).map(|_| maker.step()).collect();
        // What comes too late, or should not come at all, stands before these answers.
        steps.extend(Speaker::BOTH.map(|speaker| Step::Says(speaker, vec![Phrase::Rpc])));
        Self { seed, steps }
    }

    /// The same steps, of others than any seed names that is in use.
    #[must_use]
    pub fn again(&self) -> Self {
        const APART: u64 = 1_000_000;
        Self {
            seed: self.seed + APART,
            steps: self.steps.clone(),
        }
    }

    /// What a transcript says of the steps, by which it is known to be of these.
    pub fn digest(&self) -> String {
        let digest = Sha256::digest(format!("{:?}", self.steps));
        let bytes = digest.iter().take(4);
        bytes.map(|byte| format!("{byte:02x}")).collect()
    }
}

struct Maker {
    random: Random,
    said: u32,
}

impl Maker {
    fn one_in(&mut self, many: usize) -> bool {
        self.random.below(many) == 0
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.random.below(all.len())]
    }

    fn speaker(&mut self) -> Speaker {
        // One that does most: what it says has to do with what it has said.
        if self.one_in(3) {
            Speaker::Bob
        } else {
            Speaker::Ann
        }
    }

    fn step(&mut self) -> Step {
        let speaker = self.speaker();
        match self.random.below(24) {
            0 => Step::Goes(speaker),
            1 => Step::Kicks(speaker),
            2 => Step::Removes(
                speaker,
                self.of(&[ChannelKind::Chat, ChannelKind::News, ChannelKind::Room]),
            ),
            3..=5 => Step::Pushes(
                self.of(&[ChannelKind::Room, ChannelKind::Own, ChannelKind::News]),
                self.number(),
            ),
            6..=8 => Step::Says(speaker, vec![self.question()]),
            9 => Step::Says(speaker, vec![self.connect()]),
            _ => {
                let mut said = Vec::new();
                for _ in 0..=self.random.below(3) {
                    said.push(self.command());
                    // Of two that end the connection either may be the one that does.
                    if said.last().is_some_and(Phrase::may_end_connection) {
                        break;
                    }
                }
                Step::Says(speaker, said)
            }
        }
    }

    fn number(&mut self) -> u32 {
        self.said += 1;
        self.said
    }

    fn place(&mut self) -> ChannelKind {
        match self.random.below(40) {
            0 | 1 => ChannelKind::Others,
            2 => ChannelKind::Nowhere,
            3 => ChannelKind::Long,
            4 => ChannelKind::Empty,
            5 => ChannelKind::Own,
            _ => self.of(&ChannelKind::USUAL),
        }
    }

    fn held(&mut self) -> Held {
        match self.random.below(10) {
            0 => Held::Strange,
            1 => Held::OtherEpoch,
            2..=4 => Held::Oldest,
            _ => Held::Newest,
        }
    }

    fn connect(&mut self) -> Phrase {
        use Token::{Endless, Expired, Forged, Good, Missing, WithTopic, Wrong};
        let token = if self.one_in(20) {
            Endless
        } else {
            self.of(&[
                Good, Good, Good, WithTopic, WithTopic, WithTopic, Missing, Expired, Forged, Wrong,
            ])
        };
        let held = self.one_in(2).then(|| self.held());
        Phrase::Connect(token, held)
    }

    fn channel_token(&mut self) -> ChannelToken {
        use ChannelToken::{Expired, ForOther, Forged, Good, OfOther};
        self.of(&[
            Good, Good, Good, Good, Good, Expired, Expired, Forged, ForOther, OfOther,
        ])
    }

    fn question(&mut self) -> Phrase {
        let place = self.place();
        match self.random.below(4) {
            0 => Phrase::Presence(place),
            1 => Phrase::PresenceStats(place),
            _ => {
                let place = self.of(&[place, ChannelKind::Room, ChannelKind::Own]);
                let limit = self.of(&[None, Some(0), Some(1), Some(2), Some(100), Some(-1)]);
                let since = self.one_in(2).then(|| self.held());
                let reverse = self.one_in(4);
                Phrase::History(
                    place,
                    History {
                        limit,
                        since,
                        reverse,
                    },
                )
            }
        }
    }

    fn command(&mut self) -> Phrase {
        let place = self.place();
        match self.random.below(26) {
            0..=9 => {
                let held = self.one_in(3).then(|| self.held());
                let may_need_token = place == ChannelKind::Shut || self.one_in(6);
                let token = may_need_token.then(|| self.channel_token());
                Phrase::Subscribe(place, token, held)
            }
            10..=12 => Phrase::Unsubscribe(place),
            13..=17 => {
                let place = self.of(&[place, ChannelKind::Chat, ChannelKind::Room]);
                let data = (!self.one_in(8)).then(|| self.number());
                Phrase::Publish(place, data)
            }
            18 => Phrase::Rpc,
            19 => Phrase::Unsubscribe(ChannelKind::Chat),
            20 => Phrase::Refresh(self.of(&[
                Token::Good,
                Token::Good,
                Token::Expired,
                Token::Others,
                Token::Wrong,
            ])),
            21 => {
                let place = self.of(&[place, ChannelKind::Shut, ChannelKind::Shut]);
                let token = self.channel_token();
                Phrase::SubRefresh(place, self.of(&[token, token, ChannelToken::Missing]))
            }
            22 => self.rarely(place),
            _ => Phrase::Subscribe(place, None, None),
        }
    }

    /// What ends the connection, as a rule.
    fn rarely(&mut self, place: ChannelKind) -> Phrase {
        match self.random.below(8) {
            0 => Phrase::Pong,
            1 => Phrase::WithoutId(place),
            2 => self.connect(),
            3 => Phrase::Refresh(Token::Missing),
            4 => Phrase::Send,
            5 => Phrase::Ping,
            6 => Phrase::Nothing,
            _ => Phrase::Garbage(self.random.below(4)),
        }
    }
}
