//! What Switchboard tells clients otherwise than Centrifugo does where the same is done, and why.

use std::collections::{BTreeMap, BTreeSet};

use super::player::Noted;
use super::sequence::{ChannelKind, ChannelToken, Held, Phrase, Step, Token};

/// A difference that is meant.
pub struct Difference {
    /// Why it is so.
    pub reason: &'static str,
    /// Whether a step is one where it shows.
    shows: fn(&Moment<'_>) -> bool,
    /// What is told then.
    told: fn(&Moment<'_>) -> Otherwise,
}

/// What is told where there is a difference.
enum Otherwise {
    /// This, and all goes on as there.
    This(Noted),
    /// Something else, as the answer to a question, and all goes on as there.
    Else,
    /// Something else, after which the two servers are not in the same state.
    Apart,
}

/// A step, what Centrifugo has told in it, and what it had told before.
struct Moment<'a> {
    step: &'a Step,
    noted: &'a Noted,
    state: &'a Standing,
}

/// What is known of clients, by their letters.
#[derive(Default)]
struct Standing {
    connected: BTreeSet<char>,
    /// The channels to which they are subscribed, and whether the server has subscribed them.
    subscribed: BTreeMap<(char, String), bool>,
    /// The channels in which they have ever been told where they stand.
    placed: BTreeSet<(char, String)>,
}

/// What Switchboard is expected to tell in the steps of a sequence, up to the first after which the two servers are not in
/// the same state.
pub fn expected(steps: &[Step], noted: &[Noted]) -> Vec<Option<Noted>> {
    let mut state = Standing::default();
    let mut expected = Vec::new();
    for (step, noted) in steps.iter().zip(noted) {
        let Some(here) = state.expected(step, noted) else {
            return expected;
        };
        expected.push(here);
        state.keep(step, noted);
    }
    expected
}

impl Standing {
    /// What is told in a step, if that is known. `None`: the servers are not in the same state then.
    fn expected(&self, step: &Step, noted: &Noted) -> Option<Option<Noted>> {
        let mut here = Some(noted.clone());
        for difference in DIFFERENCES {
            let moment = Moment {
                step,
                noted: here.as_ref().unwrap_or(noted),
                state: self,
            };
            if !(difference.shows)(&moment) {
                continue;
            }
            match (difference.told)(&moment) {
                Otherwise::This(told) => here = here.map(|_| told),
                Otherwise::Else => here = None,
                Otherwise::Apart => return None,
            }
        }
        Some(here)
    }

    fn keep(&mut self, step: &Step, noted: &Noted) {
        if let Step::Goes(speaker) = step {
            self.goes(speaker.letter());
        }
        for note in noted {
            self.keep_note(note);
        }
    }

    fn goes(&mut self, letter: char) {
        self.connected.remove(&letter);
        self.subscribed.retain(|(of, _), _| *of != letter);
    }

    fn keep_note(&mut self, note: &str) {
        let Some((letter, note)) = note.split_once(": ") else {
            return;
        };
        let letter = letter.chars().next().unwrap_or_default();
        let mut words = note.split(' ');
        let kind = words.next().unwrap_or_default();
        if kind == "closed" {
            self.goes(letter);
        } else if kind.starts_with("connect") {
            self.connected.insert(letter);
            for word in words {
                self.comes(letter, word, true);
            }
        } else if let ("subscribe" | "unsubscribe", Some(word)) = (kind, words.next()) {
            match kind {
                "subscribe" => self.comes(letter, word, false),
                _ => drop(self.subscribed.remove(&(letter, word.to_owned()))),
            }
        }
    }

    fn comes(&mut self, letter: char, word: &str, by_server: bool) {
        let name = word.split('(').next().unwrap_or_default().to_owned();
        if word.contains("positioned") {
            self.placed.insert((letter, name.clone()));
        }
        self.subscribed.insert((letter, name), by_server);
    }
}

/// All of them. Of those that show in a step, each goes on with what the one before has made of it.
pub const DIFFERENCES: &[Difference] = &[
    Difference {
        reason: "there is a channel of everyone, to which the server subscribes each client",
        shows: |moment| moment.noted.iter().any(|note| is(note, "connect")),
        told: |moment| {
            moment.with(|note| match is(note, "connect") {
                true => vec![note.replacen(") ", ") # ", 1)],
                false => vec![note.to_owned()],
            })
        },
    },
    Difference {
        reason: "who says nothing of who it is gets an error, by which it stays away as well",
        shows: |moment| moment.says(|said| matches!(said, Phrase::Connect(Token::Missing, _))),
        told: |moment| {
            moment.with(
                |note| match is(note, "closed 3501") && !moment.is_connected(note) {
                    true => vec![format!("{}: error 101", letter(note))],
                    false => vec![note.to_owned()],
                },
            )
        },
    },
    Difference {
        reason: "who answers a ping that there was not is closed behind the answers, which may be noted before",
        shows: |moment| !moment.ends() && moment.says(|said| matches!(said, Phrase::Pong)),
        told: |_| Otherwise::Apart,
    },
    Difference {
        reason: "topics need no namespace, and what is allowed nowhere is not allowed there",
        shows: |moment| {
            let is_unknown = moment.noted.iter().any(|note| is(note, "error 102"));
            is_unknown && moment.says(|said| said.place() == Some(ChannelKind::Nowhere))
        },
        told: |_| Otherwise::Apart,
    },
    Difference {
        reason: "a token for another channel or user refuses the subscription, and does not end the connection",
        shows: |moment| moment.is_closed(3500) && moment.says(Phrase::has_token_of_others),
        told: |_| Otherwise::Apart,
    },
    Difference {
        reason: "a message without an answer is for the application that embeds the server",
        shows: |moment| moment.is_closed(3508) && moment.says(|said| matches!(said, Phrase::Send)),
        told: |_| Otherwise::Apart,
    },
    Difference {
        reason: "a request that is not there is refused, and does not end the connection",
        shows: |moment| {
            moment.is_closed(3501)
                && moment.says(|said| matches!(said, Phrase::Ping | Phrase::Nothing))
        },
        told: |_| Otherwise::Apart,
    },
    Difference {
        reason: "a renewal without a token is refused, and does not end the connection",
        shows: |moment| {
            let is_renewal =
                |said: &Phrase| matches!(said, Phrase::SubRefresh(_, ChannelToken::Missing));
            moment.is_closed(3501) && moment.says(is_renewal)
        },
        told: |_| Otherwise::Apart,
    },
    Difference {
        reason: "clients do not leave the channels to which the server subscribes them",
        shows: |moment| {
            moment
                .noted
                .iter()
                .any(|note| moment.leaves_by_itself(note))
        },
        told: |_| Otherwise::Apart,
    },
    Difference {
        reason: "who is not subscribed is not told that it is no longer",
        shows: |moment| matches!(moment.step, Step::Removes(..)),
        told: |moment| {
            moment.with(|note| {
                let channel = note.split(' ').nth(2).unwrap_or_default();
                let key = (letter(note), channel.to_owned());
                match moment.state.subscribed.contains_key(&key) {
                    true => vec![note.to_owned()],
                    false => Vec::new(),
                }
            })
        },
    },
    Difference {
        reason: "where something is missing, what is kept follows",
        shows: |moment| {
            moment.says(|said| match said {
                Phrase::Subscribe(ChannelKind::Room, _, held) | Phrase::Connect(_, held) => {
                    matches!(held, Some(Held::Strange | Held::OtherEpoch))
                }
                _ => false,
            })
        },
        told: |_| Otherwise::Apart,
    },
    Difference {
        reason: "nobody can say whether something is missing since the beginning of time; what is kept follows",
        shows: |moment| moment.noted.iter().any(|note| note.contains(",recovered)")),
        told: |moment| {
            moment.with(|note| {
                let channel = if is(note, "connect") { "own" } else { "room" };
                let key = (letter(note), channel.to_owned());
                vec![match moment.state.placed.contains(&key) {
                    true => note.to_owned(),
                    false => note.replace(",recovered)", ")"),
                }]
            })
        },
    },
    Difference {
        reason: "a history is not read backwards from a position",
        shows: |moment| {
            moment.says(|said| match said {
                Phrase::History(_, history) => history.reverse && history.since.is_some(),
                _ => false,
            })
        },
        told: |_| Otherwise::Else,
    },
    Difference {
        reason: "a name that is too long is refused as such, whatever is asked",
        shows: |moment| {
            moment.says(|said| match said {
                Phrase::Subscribe(..) | Phrase::Unsubscribe(_) => false,
                other => other.place() == Some(ChannelKind::Long),
            })
        },
        told: |_| Otherwise::Apart,
    },
    Difference {
        reason: "no token is for the channel of another user",
        shows: |moment| {
            moment.says(|said| matches!(said, Phrase::Subscribe(ChannelKind::Others, Some(_), _)))
        },
        told: |_| Otherwise::Apart,
    },
    Difference {
        reason: "a position that the log does not know is an error",
        shows: |moment| {
            moment.says(|said| match said {
                Phrase::History(_, history) => history.since == Some(Held::Strange),
                _ => false,
            })
        },
        told: |moment| {
            moment.with(|note| match is(note, "history") {
                true => vec![format!("{}: error 112", letter(note))],
                false => vec![note.to_owned()],
            })
        },
    },
    Difference {
        reason: "who comes and leaves at once is not told of",
        shows: |moment| {
            let comes =
                moment.says(|said| matches!(said, Phrase::Subscribe(ChannelKind::Hall, ..)));
            let leaves = moment.says(|said| matches!(said, Phrase::Unsubscribe(ChannelKind::Hall)));
            comes && (leaves || moment.ends())
        },
        told: |_| Otherwise::Apart,
    },
];

impl Moment<'_> {
    fn says(&self, is_it: impl Fn(&Phrase) -> bool) -> bool {
        match self.step {
            Step::Says(_, said) => said.iter().any(is_it),
            Step::Goes(_) | Step::Pushes(..) | Step::Kicks(_) | Step::Removes(..) => false,
        }
    }

    fn is_closed(&self, code: u16) -> bool {
        let closed = format!("closed {code}");
        self.noted.iter().any(|note| is(note, &closed))
    }

    /// Whether a connection ends.
    fn ends(&self) -> bool {
        self.noted.iter().any(|note| is(note, "closed"))
    }

    /// Whether by this note a client has left a channel to which the server has subscribed it.
    fn leaves_by_itself(&self, note: &str) -> bool {
        let left = note
            .split_once(": unsubscribe ")
            .filter(|_| matches!(self.step, Step::Says(..)));
        left.is_some_and(|(_, channel)| {
            let key = (letter(note), channel.to_owned());
            self.state.subscribed.get(&key) == Some(&true) || channel == "own"
        })
    }

    /// Whether the client of a note was connected before.
    fn is_connected(&self, note: &str) -> bool {
        self.state.connected.contains(&letter(note))
    }

    fn with(&self, change: impl Fn(&str) -> Vec<String>) -> Otherwise {
        Otherwise::This(self.noted.iter().flat_map(|note| change(note)).collect())
    }
}

/// Whether a note is of this kind, whoever was told.
fn is(note: &str, kind: &str) -> bool {
    note.split_once(": ")
        .is_some_and(|(_, note)| note.starts_with(kind))
}

fn letter(note: &str) -> char {
    note.chars().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::centrifuge::sequence::Speaker;
    use crate::centrifuge::transcript::{TRANSCRIPT, read};

    #[test]
    fn each_difference_shows_in_the_transcript() {
        let text = fs::read_to_string(TRANSCRIPT).expect("it is in the repository");
        let all = read(&text);
        for Difference { reason, shows, .. } in DIFFERENCES {
            let shows_in = all.iter().any(|recorded| {
                let mut state = Standing::default();
                let mut steps = recorded.sequence.steps.iter().zip(&recorded.steps);
                steps.any(|(step, noted)| {
                    let moment = Moment {
                        step,
                        noted,
                        state: &state,
                    };
                    let here = shows(&moment);
                    state.keep(step, noted);
                    here
                })
            });
            assert!(shows_in, "{reason}");
        }
    }

    #[test]
    fn what_follows_where_the_servers_are_apart_is_not_compared() {
        let steps = [
            Step::Says(Speaker::Ann, vec![Phrase::Rpc]),
            Step::Says(Speaker::Ann, vec![Phrase::Ping]),
            Step::Says(Speaker::Ann, vec![Phrase::Rpc]),
        ];
        let noted = ["a: error 108", "a: closed 3501", "a: error 108"];
        let noted = noted.map(|note| vec![note.to_owned()]);
        let expected = expected(&steps, &noted);
        assert_eq!(expected, [Some(noted[0].clone())]);
    }
}
