//! What one terminal saw of one log, frame by frame: where it stands, and what it must have been told.

use std::collections::HashMap;
use std::time::Duration;

use uuid::Uuid;

use super::channel::Channel;
use super::history::{Histories, Log, Since};
use super::judge::{Fault, Judged, Wrong};
use super::position::Position;
use super::producers::Push;
use super::terminals::{Event, Told};

/// Goes through what one terminal saw of one log.
pub(super) struct Walk<'a> {
    histories: &'a Histories,
    log: &'a Log,
    by_id: &'a HashMap<Uuid, &'a Push>,
    told: &'a Told,
    stands: Option<Position>,
    /// The positions that it brought when it asked last, newest first.
    asked: Vec<Position>,
    /// The positions that it was sent since it asked and was given one.
    sent: Vec<Position>,
    /// It has left the topic, and has not asked again.
    left: bool,
    /// Where each push was when it came last, and how many gaps and steps back had been before.
    got: HashMap<Uuid, (Position, usize)>,
    times: usize,
    at: Duration,
    judged: &'a mut Judged,
}

/// An instance remembers so many records that it has sent, at least.
const REMEMBERED: usize = 16;

impl<'a> Walk<'a> {
    pub(super) fn new(
        histories: &'a Histories,
        log: &'a Log,
        by_id: &'a HashMap<Uuid, &'a Push>,
        told: &'a Told,
        judged: &'a mut Judged,
    ) -> Self {
        Self {
            histories,
            log,
            by_id,
            told,
            stands: None,
            asked: Vec::new(),
            sent: Vec::new(),
            left: false,
            got: HashMap::new(),
            times: 0,
            at: Duration::ZERO,
            judged,
        }
    }
}

impl Walk<'_> {
    pub(super) fn judge(mut self) {
        for (at, event) in &self.told.events {
            self.at = *at;
            if self.left && event.is_told() {
                self.wrong(Fault::Other, format!("it has left, and is told {event:?}"));
            }
            match event {
                Event::Asks { after, .. } => {
                    *match self.told.channel {
                        Channel::User(_) => &mut self.judged.tally.connects,
                        Channel::Topic(_) => &mut self.judged.tally.joins,
                    } += 1;
                    self.asked.clone_from(after);
                    self.sent.clear();
                    self.left = false;
                }
                Event::Greeted => {}
                Event::Left => {
                    self.judged.tally.leaves += 1;
                    self.left = true;
                }
                Event::Ended(why) => match self.told.channel {
                    Channel::User(_) => {
                        self.judged.tally.refused += usize::from(why.starts_with("refused"));
                    }
                    Channel::Topic(_) => {}
                },
                Event::Stray(frame) => self.wrong(Fault::Other, format!("a stray frame: {frame}")),
                Event::Stands {
                    position,
                    resumed,
                    expired,
                } => self.is_told(*position, *resumed, *expired),
                Event::Record {
                    position,
                    push,
                    text,
                } => self.gets(*position, *push, text),
                Event::Gap(position) => {
                    let had = self.sent.iter().rev().take(REMEMBERED).copied().collect();
                    self.gap(had);
                    self.is_given(*position);
                }
                Event::Back(position) => {
                    let newer = self.sent.iter().rev().take_while(|sent| *sent != position);
                    let newer = newer.copied().collect();
                    if !self.sent.contains(position) {
                        let what = format!("a step back to {position}, which it was not sent");
                        self.wrong(Fault::Other, what);
                    }
                    self.steps_back(newer);
                    self.is_given(*position);
                }
            }
        }
        let head = self.histories.head(self.told.channel);
        if self.stands != head {
            let what = format!(
                "in the end it stands at {:?}, the log at {head:?}",
                self.stands
            );
            self.wrong(Fault::Lost, what);
        }
    }

    /// The hello, or the frame behind it, says where it stands.
    fn is_told(&mut self, position: Position, resumed: bool, expired: bool) {
        let asked = std::mem::take(&mut self.asked);
        if asked.is_empty() {
            if resumed || expired {
                self.wrong(
                    Fault::Other,
                    "it asked for nothing to be resumed".to_owned(),
                );
            }
            // It may have been told where it stands before, and have lost that connection at once.
            self.times += 1;
        } else if expired {
            self.gap(asked);
        } else if let Some(index) = asked.iter().position(|asked| *asked == position) {
            self.judged.tally.resumes += 1;
            if !resumed {
                self.wrong(
                    Fault::Other,
                    "it was resumed, which the hello denies".to_owned(),
                );
            }
            if index > 0 {
                self.judged.tally.resumed_behind += 1;
                self.steps_back(asked[..index].to_vec());
            }
        } else {
            let what = format!("it is resumed at {position}, which it did not bring");
            self.wrong(Fault::Lost, what);
        }
        self.is_given(position);
    }

    fn is_given(&mut self, position: Position) {
        self.sent = vec![position];
        self.stands = Some(position);
    }

    fn gets(&mut self, position: Position, push: Uuid, text: &str) {
        self.judged.tally.records += 1;
        match self.by_id.get(&push) {
            Some(pushed) if pushed.text == text && pushed.to == self.told.channel => {}
            _ => self.wrong(Fault::Other, format!("push {push} does not say {text}")),
        }
        let before = self.got.insert(push, (position, self.times));
        match before {
            Some((_, times)) if times == self.times => {
                self.wrong(Fault::Doubled, format!("push {text} has come again"));
            }
            Some(_) => self.judged.tally.again += 1,
            None => {}
        }
        match self.log.records.get(&position) {
            Some((before, _)) if Some(*before) == self.stands => {}
            Some((before, _)) => {
                let stands = self.stands;
                let what =
                    format!("push {text} at {position} is behind {before}, it is at {stands:?}");
                self.wrong(Fault::Lost, what);
            }
            // Redis had it for a moment between two readings.
            None => self.judged.tally.records_unread += 1,
        }
        self.stands = Some(position);
        self.sent.push(position);
    }

    /// Something is missing, they say. The log must not have known any of the positions that it had.
    fn gap(&mut self, had: Vec<Position>) {
        self.judged.tally.gaps += 1;
        self.times += 1;
        if let Some(known) = self.known(&had) {
            let what = format!("a gap, although the log knew {known}");
            self.wrong(Fault::FalseGap, what);
        }
    }

    fn steps_back(&mut self, newer: Vec<Position>) {
        self.judged.tally.backs += 1;
        self.times += 1;
        if let Some(known) = self.known(&newer) {
            let what = format!("a step back, although the log knew {known}");
            self.wrong(Fault::FalseBack, what);
        }
    }

    /// One of these positions, which are older than this moment, that the log knew: it is there in the next
    /// reading. While there are two primaries, one of them need not know it, unless both have it from before.
    fn known(&self, positions: &[Position]) -> Option<Position> {
        let reading = self.histories.after(self.at)?;
        let knew = |position: &Position| match self.histories.readings[reading].since {
            Since::Kept | Since::Lost | Since::Emptied => true,
            Since::Split => reading > 0 && self.log.knows(*position, reading - 1),
        };
        let known = |position: &&Position| self.log.knows(**position, reading) && knew(position);
        positions.iter().find(known).copied()
    }

    fn wrong(&mut self, fault: Fault, what: String) {
        self.judged.wrong.push(Wrong {
            fault,
            channel: self.told.channel,
            at: self.at,
            what: format!("terminal {}: {what}", self.told.number),
        });
    }
}
