//! A terminal as a good client is: it holds on to the last positions of each log that it follows, and when its
//! connection has ended it comes back at another server, after a random pause that grows.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tungstenite::Message;
use uuid::Uuid;

use super::Grounds;
use super::channel::Channel;
use super::heard::{Heard, Word};
use super::position::Position;
use super::terminals::{Event, Seat};
use crate::random::Random;
use crate::socket::{Socket, open};

/// Positions that a terminal holds on to, of each log.
const HELD: usize = 8;
/// The longest pause of a client that cannot connect.
const PAUSE: Duration = Duration::from_secs(10);
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// For how long a terminal stays connected, at most.
const STAYS: Duration = Duration::from_secs(60);
/// For how long it is away when it leaves by itself, at most.
const AWAY: Duration = Duration::from_secs(5);
/// For how long it stays in its topics until it leaves one of them, at most.
const SETTLES: Duration = Duration::from_secs(40);

/// Why a connection has ended that its terminal has left.
const LEFT: &str = "it has left";

/// One terminal over all its connections.
pub(super) struct Life {
    user: usize,
    place: Arc<Grounds>,
    random: Random,
    /// What it follows: first the log of its user, then those of topics.
    logs: Vec<Following>,
}

/// One log that it follows.
struct Following {
    seat: Arc<Seat>,
    /// Positions that it has, newest first.
    held: VecDeque<Position>,
    /// It has asked to leave the topic.
    leaves: bool,
}

/// A record whose payload is the next frame.
struct Announced {
    log: usize,
    position: Position,
    push: Uuid,
}

/// What a frame leads to.
enum Reaction {
    None,
    /// It joins all of its topics, if this connection has not been greeted before.
    JoinAll,
    /// It joins again the topic of this log.
    Join(usize),
    Await(Announced),
}

/// How a connection has ended.
struct LifeEnd {
    why: String,
    /// The server had said hello.
    greeted: bool,
}

impl Life {
    pub(super) fn new(
        user: usize,
        seats: &[Arc<Seat>],
        place: Arc<Grounds>,
        random: Random,
    ) -> Self {
        let following = |seat: &Arc<Seat>| Following {
            seat: Arc::clone(seat),
            held: VecDeque::new(),
            leaves: false,
        };
        Self {
            user,
            place,
            random,
            logs: seats.iter().map(following).collect(),
        }
    }

    pub(super) async fn lives(mut self) {
        let mut server = None;
        let mut pause = Duration::from_secs(1);
        let mut attempts = 0;
        loop {
            sleep(self.random.time(pause)).await;
            let (index, addresses) = self.place.any(&mut self.random, server);
            server = Some(index);
            let after = self.logs[0].asks(&self.place, index);
            let asked = match after.as_slice() {
                [] => "log=1".to_owned(),
                after => {
                    let after: Vec<_> = after.iter().map(|p| format!("after={p}")).collect();
                    after.join("&")
                }
            };
            let query = format!("user={}&{asked}", Channel::User(self.user));
            let opened = timeout(HANDSHAKE, open(addresses.terminals, &query)).await;
            let ending = match opened {
                Ok(Ok(socket)) => self.is_connected(socket, index).await,
                Ok(Err(error)) => LifeEnd::ungreeted(error),
                Err(_) => LifeEnd::ungreeted("the handshake took too long".to_owned()),
            };
            let left = ending.why == LEFT;
            for log in &mut self.logs {
                log.leaves = false;
                log.note(&self.place, Event::Ended(ending.why.clone()));
            }
            attempts = if ending.greeted { 0 } else { attempts + 1 };
            pause = if left {
                AWAY
            } else {
                PAUSE.min(Duration::from_secs(1) * (1 << attempts.min(4)))
            };
        }
    }

    /// Reads until the connection has ended.
    async fn is_connected(&mut self, mut socket: Socket, server: usize) -> LifeEnd {
        let mut until = Instant::now() + self.random.time(STAYS);
        let mut settled = Instant::now() + self.random.time(SETTLES);
        let mut greeted = false;
        let mut announced = None;
        loop {
            let left = until.min(settled).saturating_duration_since(Instant::now());
            let why = match timeout(left, socket.next()).await {
                Ok(Some(Ok(Message::Text(text)))) => {
                    let reaction = match announced.take() {
                        Some(announced) => self.has(announced, text.as_str()),
                        None => self.hears(text.as_str()),
                    };
                    if matches!(reaction, Reaction::JoinAll)
                        && std::mem::replace(&mut greeted, true)
                    {
                        continue;
                    }
                    match self.reacts(reaction, &mut socket, server).await {
                        Ok(next) => announced = next,
                        Err(error) => {
                            return LifeEnd {
                                why: error,
                                greeted,
                            };
                        }
                    }
                    continue;
                }
                Ok(Some(Ok(Message::Close(frame)))) => {
                    let code = frame.map_or(1005, |frame| frame.code.into());
                    format!("closed with {code}")
                }
                Ok(Some(Ok(other))) if other.is_binary() => {
                    let frame = Event::Stray("a binary frame".to_owned());
                    self.logs[0].note(&self.place, frame);
                    continue;
                }
                Ok(Some(Ok(_))) => continue,
                Ok(Some(Err(error))) => error.to_string(),
                Ok(None) => "it has ended".to_owned(),
                Err(_) if self.place.calm.load(Ordering::Relaxed) => {
                    until += STAYS;
                    settled += STAYS;
                    continue;
                }
                Err(_) if settled < until => {
                    settled += self.random.time(SETTLES);
                    match self.leaves_a_topic(&mut socket).await {
                        Ok(()) => continue,
                        Err(error) => error,
                    }
                }
                Err(_) => {
                    // Some say goodbye, others are gone.
                    if self.random.below(2) == 0 {
                        let _ = timeout(HANDSHAKE, socket.close(None)).await;
                    }
                    LEFT.to_owned()
                }
            };
            return LifeEnd { why, greeted };
        }
    }

    /// A frame of the server's own.
    fn hears(&mut self, text: &str) -> Reaction {
        let heard = Heard::of(text);
        let found = match &heard {
            Heard::Of(None, _) => Some(0),
            Heard::Of(Some(topic), _) => {
                let mut logs = self.logs.iter();
                logs.position(|log| log.seat.channel == *topic)
            }
            Heard::Other => None,
        };
        let (Heard::Of(_, word), Some(log)) = (heard, found) else {
            self.logs[0].note(&self.place, Event::Stray(text.to_owned()));
            return Reaction::None;
        };
        let place = &self.place;
        let following = &mut self.logs[log];
        let greets = log == 0 && matches!(word, Word::Greeted | Word::Stands { .. });
        match word {
            Word::Greeted => following.note(place, Event::Greeted),
            Word::Stands {
                position,
                resumed,
                expired,
            } => {
                following.goes_on_from(position);
                let event = Event::Stands {
                    position,
                    resumed,
                    expired,
                };
                following.note(place, event);
            }
            Word::Gap(position) => {
                following.held.clear();
                following.goes_on_from(position);
                following.note(place, Event::Gap(position));
            }
            Word::Back(position) => {
                following.goes_on_from(position);
                following.note(place, Event::Back(position));
            }
            Word::Message(position, push) => {
                return Reaction::Await(Announced {
                    log,
                    position,
                    push,
                });
            }
            Word::Left => {
                following.leaves = false;
                following.note(place, Event::Left);
                return Reaction::Join(log);
            }
        }
        if greets {
            Reaction::JoinAll
        } else {
            Reaction::None
        }
    }

    fn has(&mut self, announced: Announced, text: &str) -> Reaction {
        let Announced {
            log,
            position,
            push,
        } = announced;
        let following = &mut self.logs[log];
        following.held.push_front(position);
        following.held.truncate(HELD);
        let record = Event::Record {
            position,
            push,
            text: text.to_owned(),
        };
        following.note(&self.place, record);
        Reaction::None
    }

    /// Does what a frame leads to. Returns the record that it announces.
    ///
    /// # Errors
    ///
    /// Why the connection has ended.
    async fn reacts(
        &mut self,
        reaction: Reaction,
        socket: &mut Socket,
        server: usize,
    ) -> Result<Option<Announced>, String> {
        let joins = match reaction {
            Reaction::None => return Ok(None),
            Reaction::Await(announced) => return Ok(Some(announced)),
            Reaction::JoinAll => 1..self.logs.len(),
            Reaction::Join(log) => log..log + 1,
        };
        for log in joins {
            let following = &self.logs[log];
            let mut wish = json!({"join": following.seat.channel.to_string()});
            match following.asks(&self.place, server) {
                after if after.is_empty() => wish["log"] = true.into(),
                after => wish["after"] = after.iter().map(Position::to_string).collect(),
            }
            wishes(socket, &wish).await?;
        }
        Ok(None)
    }

    /// It leaves one of the topics where it knows that it is a member, and joins again once it has left.
    async fn leaves_a_topic(&mut self, socket: &mut Socket) -> Result<(), String> {
        let stays = |log: &&mut Following| log.seat.stands() && !log.leaves;
        let mut topics: Vec<_> = self.logs[1..].iter_mut().filter(stays).collect();
        if topics.is_empty() {
            return Ok(());
        }
        let chosen = self.random.below(topics.len());
        topics[chosen].leaves = true;
        let wish = json!({"leave": topics[chosen].seat.channel.to_string()});
        wishes(socket, &wish).await
    }
}

async fn wishes(socket: &mut Socket, wish: &Value) -> Result<(), String> {
    let frame = json!({"switchboard": wish}).to_string();
    let sent = socket.send(Message::text(frame)).await;
    sent.map_err(|error| error.to_string())
}

impl LifeEnd {
    const fn ungreeted(why: String) -> Self {
        Self {
            why,
            greeted: false,
        }
    }
}

impl Following {
    /// It asks a server for what comes after what it has, newest first.
    fn asks(&self, place: &Grounds, server: usize) -> Vec<Position> {
        let after: Vec<_> = self.held.iter().copied().collect();
        let event = Event::Asks {
            server,
            after: after.clone(),
        };
        self.note(place, event);
        after
    }

    /// It stands at a position: what it has behind that counts no longer.
    fn goes_on_from(&mut self, position: Position) {
        while self.held.front().is_some_and(|held| *held != position) {
            self.held.pop_front();
        }
        if self.held.is_empty() {
            self.held.push_front(position);
        }
    }

    fn note(&self, place: &Grounds, event: Event) {
        self.seat
            .note(place.now(), event, self.held.front().copied());
    }
}
