//! Plays sequences on a server, whosever it is, and notes what kinds of replies and pushes the two clients are told:
//! no ids, no times and no offsets, which differ from one server to another.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::Message;

use super::notes::Notes;
use super::sequence::{
    ChannelKind, ChannelToken, Held, History, Phrase, Sequence, Speaker, Step, Token,
};
use super::{Client, Encoding, handshake};
use crate::patience::PATIENCE;
use crate::token::{hs256, seconds_from_now};

/// The key of all tokens that count.
pub const SECRET: &[u8] = b"a secret of at least thirty-two bytes";

/// What the application does at a server.
pub trait Application: Sync {
    /// Pushes to a channel. It is kept where there is a history.
    fn push(&self, channel: &str, data: &Value);
    /// Ends the connections of a user.
    fn kick(&self, user: &str);
    /// Ends the subscription of a user to a channel.
    fn remove(&self, channel: &str, user: &str);
}

/// Where sequences are played.
pub struct Stage<'a> {
    /// Where clients connect.
    pub terminals: SocketAddr,
    /// How their messages become bytes.
    pub encoding: Encoding,
    /// What the application does.
    pub application: &'a dyn Application,
}

/// What the clients are told in a step: each is the client, and what it is told. Replies come first, by their ids, and then
/// pushes, by their channels. Of a client whose connection has ended it is the end alone, and of one whose connect was refused
/// by an error it is the error alone.
pub type Noted = Vec<String>;

/// Plays a sequence, and returns what was told in each step. Whatever comes within this time after the last belongs to
/// the step.
pub fn listen(stage: &Stage<'_>, sequence: &Sequence, quiet: Duration) -> Vec<Noted> {
    let mut play = Play::new(stage, sequence.seed);
    let steps = sequence.steps.iter();
    steps
        .map(|step| {
            let ids = play.act(step);
            play.hear_until_quiet(&ids, quiet);
            play.end_step()
        })
        .collect()
}

/// Plays a sequence until something else is told than is expected, where something is: the number of the step, and what is
/// told.
pub fn differs(
    stage: &Stage<'_>,
    sequence: &Sequence,
    expected: &[Option<Noted>],
) -> Option<(usize, Noted)> {
    let mut play = Play::new(stage, sequence.seed);
    for (number, (step, expected)) in sequence.steps.iter().zip(expected).enumerate() {
        let may_ask_again = match step {
            Step::Says(_, said) => said.iter().all(Phrase::is_question),
            _ => false,
        };
        let mut ids = play.act(step);
        let end = Instant::now() + PATIENCE;
        loop {
            let noted = play.noted();
            let is_expected = match expected {
                Some(expected) => noted == *expected,
                None => play.has_answers(&ids),
            };
            if is_expected {
                break;
            }
            if Instant::now() > end {
                return Some((number, noted));
            }
            if may_ask_again && play.is_answered(&ids) {
                // A server knows the members of a topic a moment later.
                play.forget(&ids);
                ids = play.act(step);
            }
            play.hear(POLL);
        }
        play.end_step();
    }
    None
}

/// The time from one look to the next.
const POLL: Duration = Duration::from_millis(2);

struct Play<'a> {
    stage: &'a Stage<'a>,
    seed: u64,
    ann: Side,
    bob: Side,
}

/// One of the clients.
struct Side {
    speaker: Speaker,
    client: Option<Client>,
    /// Where it stands in channels, and where it was told of a publication for the first time.
    known: HashMap<String, Known>,
}

#[derive(Default)]
struct Known {
    epoch: String,
    newest: u64,
    oldest: Option<u64>,
}

impl<'a> Play<'a> {
    fn new(stage: &'a Stage<'a>, seed: u64) -> Self {
        let [ann, bob] = Speaker::BOTH.map(|speaker| Side {
            speaker,
            client: None,
            known: HashMap::new(),
        });
        Self {
            stage,
            seed,
            ann,
            bob,
        }
    }

    fn side(&mut self, speaker: Speaker) -> &mut Side {
        match speaker {
            Speaker::Ann => &mut self.ann,
            Speaker::Bob => &mut self.bob,
        }
    }

    /// Does what a step says, and returns the ids of the commands that are answered.
    fn act(&mut self, step: &Step) -> Ids {
        let (stage, seed) = (self.stage, self.seed);
        let name = |place: ChannelKind, speaker| place.name(seed, speaker);
        match step {
            Step::Says(speaker, said) => {
                let ids = self.side(*speaker).say(stage, seed, said);
                return Ids {
                    speaker: *speaker,
                    ids,
                };
            }
            Step::Goes(speaker) => self.side(*speaker).client = None,
            Step::Pushes(place, data) => {
                (stage.application).push(&name(*place, Speaker::Ann), &data_of(*data));
            }
            Step::Kicks(speaker) => stage.application.kick(&speaker.user(seed)),
            Step::Removes(speaker, place) => {
                let channel = name(*place, *speaker);
                stage.application.remove(&channel, &speaker.user(seed));
            }
        }
        Ids {
            speaker: Speaker::Ann,
            ids: Vec::new(),
        }
    }

    fn hear(&mut self, span: Duration) {
        let clients = [&mut self.ann, &mut self.bob].map(|side| side.client.as_mut());
        let clients: Vec<_> = clients.into_iter().flatten().collect();
        if clients.is_empty() {
            thread::sleep(span);
        }
        for client in clients {
            client.hear_for(span);
        }
    }

    fn hear_until_quiet(&mut self, ids: &Ids, quiet: Duration) {
        let end = Instant::now() + PATIENCE;
        while !self.has_answers(ids) && Instant::now() < end {
            self.hear(POLL);
        }
        let mut since = Instant::now();
        let mut before = self.noted();
        while since.elapsed() < quiet {
            self.hear(POLL);
            let now = self.noted();
            if now != before {
                (since, before) = (Instant::now(), now);
            }
        }
    }

    /// Whether all are answered, or will not be.
    fn has_answers(&mut self, ids: &Ids) -> bool {
        let client = self.side(ids.speaker).client.as_ref();
        client.is_none_or(is_over) || self.is_answered(ids)
    }

    /// Whether all are answered, of a client that may say more.
    fn is_answered(&mut self, ids: &Ids) -> bool {
        let client = self.side(ids.speaker).client.as_ref();
        client.is_some_and(|client| {
            let answered = |id: &u64| client.heard().any(|said| said["id"] == *id);
            !is_over(client) && ids.ids.iter().all(answered)
        })
    }

    /// Leaves out what these were answered.
    fn forget(&mut self, ids: &Ids) {
        if let Some(client) = &mut self.side(ids.speaker).client {
            client.forget(|said| ids.ids.iter().any(|id| said["id"] == *id));
        }
    }

    fn noted(&self) -> Noted {
        let both = [&self.ann, &self.bob].into_iter();
        both.flat_map(|side| side.noted(self.seed)).collect()
    }

    /// What was told in a step that is over. A client that was refused goes, as clients do.
    fn end_step(&mut self) -> Noted {
        let noted = self.noted();
        for side in [&mut self.ann, &mut self.bob] {
            side.learn();
            let Some(client) = &mut side.client else {
                continue;
            };
            if is_over(client) {
                side.client = None;
            } else {
                client.forget(|_| true);
            }
        }
        noted
    }
}

/// Commands that one of them has said.
struct Ids {
    speaker: Speaker,
    ids: Vec<u64>,
}

/// Whether its connection has ended, or its connect was refused.
fn is_over(client: &Client) -> bool {
    client.ending().is_some() || client.heard().any(is_refusal)
}

/// Whether this answers connect, the first command, by an error.
fn is_refusal(said: &Value) -> bool {
    said["id"] == 1 && said["error"].is_object()
}

impl Side {
    fn say(&mut self, stage: &Stage<'_>, seed: u64, said: &[Phrase]) -> Vec<u64> {
        let is_away = self.client.is_none();
        let mut client = (self.client.take())
            .unwrap_or_else(|| Client::over(handshake(stage.terminals), stage.encoding));
        let connects = matches!(said.first(), Some(Phrase::Connect(..)));
        let first = (is_away && !connects).then_some(&Phrase::Connect(Token::Good, None));
        let mut ids = Vec::new();
        let mut commands = Vec::new();
        for said in first.into_iter().chain(said) {
            if let Phrase::Garbage(kind) = said {
                client.say_all(&commands);
                commands.clear();
                client.send(garbage(stage.encoding, *kind));
                continue;
            }
            let (request, is_answered) = self.request(seed, said);
            commands.push(match is_answered {
                true => {
                    let id = client.next_id();
                    ids.push(id);
                    with_id(id, request)
                }
                false => request,
            });
        }
        client.say_all(&commands);
        self.client = Some(client);
        ids
    }

    /// A request, and whether it has an id and is answered.
    fn request(&self, seed: u64, said: &Phrase) -> (Value, bool) {
        let name = |place: ChannelKind| place.name(seed, self.speaker);
        let request = match said {
            Phrase::Connect(token, held) => {
                let mut request = json!({"token": self.token(seed, *token)});
                if let Some(held) = held {
                    let own = name(ChannelKind::Own);
                    request["subs"] = json!({(&own): self.recover(&own, *held)});
                }
                json!({"connect": request})
            }
            Phrase::Subscribe(place, token, held) => {
                let channel = name(*place);
                let mut request =
                    held.map_or_else(|| json!({}), |held| self.recover(&channel, held));
                request["channel"] = json!(channel);
                if let Some(token) = token {
                    request["token"] = json!(self.channel_token(seed, *place, *token));
                }
                json!({"subscribe": request})
            }
            Phrase::Unsubscribe(place) => json!({"unsubscribe": {"channel": name(*place)}}),
            Phrase::Publish(place, Some(data)) => {
                json!({"publish": {"channel": name(*place), "data": data_of(*data)}})
            }
            Phrase::Publish(place, None) => json!({"publish": {"channel": name(*place)}}),
            Phrase::Presence(place) => json!({"presence": {"channel": name(*place)}}),
            Phrase::PresenceStats(place) => json!({"presence_stats": {"channel": name(*place)}}),
            Phrase::History(place, history) => {
                json!({"history": self.history(&name(*place), history)})
            }
            Phrase::Rpc => json!({"rpc": {"method": "method", "data": {}}}),
            Phrase::Send => return (json!({"send": {"data": {}}}), false),
            Phrase::Refresh(token) => json!({"refresh": {"token": self.token(seed, *token)}}),
            Phrase::SubRefresh(place, token) => {
                let token = self.channel_token(seed, *place, *token);
                json!({"sub_refresh": {"channel": name(*place), "token": token}})
            }
            Phrase::Ping => json!({"ping": {}}),
            Phrase::Nothing => json!({}),
            Phrase::Pong => return (json!({}), false),
            Phrase::WithoutId(place) => {
                return (json!({"subscribe": {"channel": name(*place)}}), false);
            }
            Phrase::Garbage(_) => unreachable!("it is no command"),
        };
        (request, true)
    }

    fn recover(&self, channel: &str, held: Held) -> Value {
        let mut position = self.position(channel, held);
        position["recover"] = json!(true);
        position
    }

    fn history(&self, channel: &str, history: &History) -> Value {
        let mut request = json!({"channel": channel});
        if let Some(limit) = history.limit {
            request["limit"] = json!(limit);
        }
        if let Some(held) = history.since {
            request["since"] = self.position(channel, held);
        }
        if history.reverse {
            request["reverse"] = json!(true);
        }
        request
    }

    /// What it says of where it stands. Where it has been told of no position it says that of the beginning.
    fn position(&self, channel: &str, held: Held) -> Value {
        let nothing = Known::default();
        let known = self.known.get(channel).unwrap_or(&nothing);
        let (offset, epoch) = match held {
            Held::Newest => (known.newest, known.epoch.as_str()),
            Held::Oldest => (known.oldest.unwrap_or(known.newest), known.epoch.as_str()),
            Held::Strange => (known.newest + 1_000_000, known.epoch.as_str()),
            Held::OtherEpoch => (known.newest, "other"),
        };
        json!({"offset": offset, "epoch": epoch})
    }

    fn token(&self, seed: u64, token: Token) -> String {
        let user = self.speaker.user(seed);
        let claims = |seconds| json!({"sub": user, "exp": seconds_from_now(seconds)});
        match token {
            Token::Good => hs256(SECRET, &claims(3600)),
            Token::Endless => hs256(SECRET, &json!({"sub": user})),
            Token::WithTopic => {
                let mut claims = claims(3600);
                claims["channels"] = json!([ChannelKind::Chat.name(seed, self.speaker)]);
                hs256(SECRET, &claims)
            }
            Token::Missing => String::new(),
            Token::Expired => hs256(SECRET, &claims(-3600)),
            Token::Forged => hs256(b"another secret of thirty-two bytes", &claims(3600)),
            Token::Wrong => "wrong".to_owned(),
            Token::Others => {
                let claims =
                    json!({"sub": self.speaker.other().user(seed), "exp": seconds_from_now(3600)});
                hs256(SECRET, &claims)
            }
        }
    }

    fn channel_token(&self, seed: u64, place: ChannelKind, token: ChannelToken) -> String {
        let speaker = match token {
            ChannelToken::OfOther => self.speaker.other(),
            _ => self.speaker,
        };
        let channel = match token {
            ChannelToken::ForOther => "another".to_owned(),
            _ => place.name(seed, self.speaker),
        };
        let seconds = if token == ChannelToken::Expired {
            -3600
        } else {
            3600
        };
        let claims = json!({"sub": speaker.user(seed), "channel": channel, "exp": seconds_from_now(seconds)});
        match token {
            ChannelToken::Missing => String::new(),
            ChannelToken::Forged => hs256(b"another secret of thirty-two bytes", &claims),
            _ => hs256(SECRET, &claims),
        }
    }

    /// Keeps in mind where it was told that it stands.
    fn learn(&mut self) {
        let Some(client) = &self.client else { return };
        for said in client.heard() {
            let subscribed = said["subscribe"].as_object().map(|_| &said["subscribe"]);
            if let (Some(result), Some(channel)) = (subscribed, client.asked_about(said)) {
                learn_stand(&mut self.known, channel, result);
            }
            for (channel, result) in said["connect"]["subs"].as_object().into_iter().flatten() {
                learn_stand(&mut self.known, channel, result);
            }
            let push = &said["push"];
            if push["pub"].is_object() {
                let channel = push["channel"].as_str().unwrap_or_default();
                learn_publication(&mut self.known, channel, &push["pub"]);
            }
        }
    }

    /// What it was told in this step.
    fn noted(&self, seed: u64) -> Vec<String> {
        let Some(client) = &self.client else {
            return Vec::new();
        };
        let letter = self.speaker.letter();
        let notes = Notes::new(seed, self.speaker);
        // Some servers close the connection behind a refusal: that may have come by now, or not.
        let refusal = client.heard().find(|said| is_refusal(said));
        if let Some(refusal) = refusal.and_then(|said| notes.reply(client, said)) {
            return vec![format!("{letter}: {refusal}")];
        }
        if let Some(ending) = client.ending() {
            let ending =
                (ending.code()).map_or_else(|| "lost".to_owned(), |code| format!("closed {code}"));
            // What it was told before may have been left unsent.
            return vec![format!("{letter}: {ending}")];
        }
        // By their ids: one that takes longer may be answered behind those that came later.
        let replies = client
            .heard()
            .filter_map(|said| Some((said["id"].as_u64()?, notes.reply(client, said)?)));
        let replies: BTreeMap<_, _> = replies.collect();
        let mut noted: Vec<_> = replies.into_values().collect();
        let mut pushes: Vec<_> = client
            .heard()
            .flat_map(|said| notes.pushes(client, said))
            .collect();
        pushes.sort_by(|one, other| one.0.cmp(&other.0));
        noted.extend(pushes.into_iter().map(|(_, push)| push));
        noted
            .iter()
            .map(|note| format!("{letter}: {note}"))
            .collect()
    }
}

fn learn_stand(known: &mut HashMap<String, Known>, channel: &str, result: &Value) {
    let Some(epoch) = result["epoch"]
        .as_str()
        .filter(|_| result["recoverable"] == true)
    else {
        return;
    };
    let known_here = known.entry(channel.to_owned()).or_default();
    epoch.clone_into(&mut known_here.epoch);
    known_here.newest = result["offset"].as_u64().unwrap_or(0);
    for publication in result["publications"].as_array().into_iter().flatten() {
        learn_publication(known, channel, publication);
    }
}

fn learn_publication(known: &mut HashMap<String, Known>, channel: &str, publication: &Value) {
    if let Some(offset) = publication["offset"].as_u64() {
        let known = known.entry(channel.to_owned()).or_default();
        known.newest = offset;
        known.oldest.get_or_insert(offset);
    }
}

fn with_id(id: u64, mut request: Value) -> Value {
    request["id"] = json!(id);
    request
}

fn data_of(number: u32) -> Value {
    json!({"number": number})
}

/// What is no command: an unfinished one, another kind of value, a field of another type, or none of it.
fn garbage(encoding: Encoding, kind: usize) -> Message {
    match encoding {
        Encoding::Json => Message::text(["{\"id\":7,", "[]", "{\"id\":\"seven\"}", "x"][kind]),
        Encoding::Protobuf => {
            let all: [&[u8]; 4] = [b"\x05\x08", b"\xff", b"\x02\x22\x05", b"\x01\xff"];
            Message::binary(all[kind].to_vec())
        }
    }
}
