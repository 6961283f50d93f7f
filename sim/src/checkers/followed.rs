//! What clients hold that follow a log, across their connections.

use std::collections::BTreeMap;

use switchboard_core::channel::Channel;
use switchboard_core::event::Follow;
use switchboard_core::frame::Recovery;
use switchboard_core::id::TopicId;
use switchboard_core::position::Position;
use switchboard_core::time::Instant;

use crate::checker::Watch;
use crate::observed::{LogWord, Observed};

/// What each client holds of each log, by its name.
#[derive(Clone, Debug, Default)]
pub(super) struct Followed {
    clients: BTreeMap<(String, Channel), Path>,
}

/// What a client has been told since it was last given a position: it holds the records behind that, one after the
/// other.
#[derive(Clone, Debug)]
pub(super) struct Path {
    /// Whose log it is.
    pub(super) channel: Channel,
    /// The session on which it was told last.
    pub(super) session: usize,
    /// When it was told there where it begins.
    pub(super) since: Instant,
    /// The position that it was given.
    pub(super) given: Position,
    /// What it was told from there on: positions, and the numbers of pushes.
    pub(super) records: Vec<(Position, Option<usize>)>,
}

impl Path {
    /// Where the client stands.
    pub(super) fn at(&self) -> Position {
        self.records.last().map_or(self.given, |record| record.0)
    }

    /// How many records lie before a position that it holds.
    fn place_of(&self, is_it: impl Fn(Position) -> bool) -> Option<usize> {
        if is_it(self.given) {
            return Some(0);
        }
        let at = (self.records.iter()).rposition(|record| is_it(record.0))?;
        Some(at + 1)
    }
}

impl Followed {
    /// What the client of a session holds of a log.
    pub(super) fn of(&self, watch: &Watch<'_>, session: usize, channel: &Channel) -> Option<&Path> {
        let client = watch.scene().sessions()[session].client();
        self.clients.get(&(client.to_owned(), channel.clone()))
    }

    /// Whether nobody follows.
    pub(super) fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// What all clients hold.
    pub(super) fn all(&self) -> impl Iterator<Item = &Path> {
        self.clients.values()
    }

    /// Takes in what a terminal was told.
    ///
    /// # Errors
    ///
    /// What cannot be.
    pub(super) fn take_in(
        &mut self,
        event: &Observed,
        watch: &Watch<'_>,
    ) -> Result<(), &'static str> {
        match event {
            Observed::LogHeard {
                session,
                topic,
                word,
            } => self.heard(watch, *session, topic.as_ref(), *word),
            Observed::Seen {
                session,
                push,
                topic,
                position: Some(position),
                ..
            } => {
                let this = &watch.scene().sessions()[*session];
                let key = (this.client().to_owned(), this.channel(topic.as_ref()));
                let path = (self.clients.get_mut(&key)).filter(|path| path.session == *session);
                let path = path.ok_or("is told a record, and not where it stands")?;
                path.records.push((*position, *push));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn heard(
        &mut self,
        watch: &Watch<'_>,
        session: usize,
        topic: Option<&TopicId>,
        word: LogWord,
    ) -> Result<(), &'static str> {
        let this = &watch.scene().sessions()[session];
        let channel = this.channel(topic);
        let asked = this.asks_of(&channel);
        if asked.is_empty() {
            return Err("is told of a log and did not ask");
        }
        let since = watch.now();
        let anew = |given| Path {
            channel: channel.clone(),
            session,
            since,
            given,
            records: Vec::new(),
        };
        let name = (this.client().to_owned(), channel.clone());
        let begun = (self.clients.get(&name)).is_some_and(|path| path.session == session);
        match word {
            LogWord::Attached(_) if begun && asked.len() == 1 => {
                return Err("is told twice where it begins");
            }
            LogWord::Attached(attached) => match attached.recovery {
                Recovery::Anew if asked.iter().all(brings_any) => {
                    return Err("begins anew, and has brought a position");
                }
                Recovery::Lost if !asked.iter().any(brings_any) => {
                    return Err("has lost what it did not bring");
                }
                Recovery::Anew | Recovery::Lost => {
                    self.clients.insert(name, anew(attached.position));
                }
                Recovery::Resumed => {
                    let position = attached.position;
                    let path = (self.clients.get_mut(&name)).ok_or("resumes what it never held")?;
                    path.session = session;
                    path.since = since;
                    let by_offset = Some(position.offset());
                    if asked.iter().any(|asked| asked.after.contains(&position)) {
                        go_back(path, |held| held == position)?;
                    } else if asked.iter().any(|asked| asked.behind == by_offset) {
                        // Whatever the tag: what it holds there is what it was told.
                        go_back(path, |held| held.offset() == position.offset())?;
                    } else {
                        return Err("resumes where it did not ask");
                    }
                }
            },
            LogWord::Gap(_) | LogWord::Back(_) if !begun => {
                return Err("is told of a gap before it is told where it begins");
            }
            LogWord::Gap(position) => {
                self.clients.insert(name, anew(position));
            }
            LogWord::Back(position) => {
                let path = (self.clients.get_mut(&name)).ok_or("goes back from nowhere")?;
                go_back(path, |held| held == position)?;
            }
        }
        Ok(())
    }
}

/// Whether a terminal brings what it holds.
const fn brings_any(asked: &Follow) -> bool {
    !asked.after.is_empty() || asked.behind.is_some()
}

fn go_back(path: &mut Path, to: impl Fn(Position) -> bool) -> Result<(), &'static str> {
    let place = path.place_of(to).ok_or("goes back where it never was")?;
    path.records.truncate(place);
    Ok(())
}
