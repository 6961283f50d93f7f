//! What a client was told, in words that do not depend on who said it and when.

use serde_json::Value;

use super::Client;
use super::sequence::{ChannelKind, Speaker};

/// How what is told to a client of a sequence is noted.
pub(super) struct Notes {
    seed: u64,
    speaker: Speaker,
}

impl Notes {
    pub(super) const fn new(seed: u64, speaker: Speaker) -> Self {
        Self { seed, speaker }
    }

    /// A reply, if it is one.
    pub(super) fn reply(&self, client: &Client, said: &Value) -> Option<String> {
        said["id"].as_u64()?;
        let error = &said["error"];
        if error.is_object() {
            let temporary = if error["temporary"] == true {
                " temporary"
            } else {
                ""
            };
            return Some(format!("error {}{temporary}", error["code"]));
        }
        let mut fields = said.as_object()?.iter().filter(|(name, _)| *name != "id");
        let (name, result) = fields.next()?;
        let of = client.asked_about(said).map(|channel| self.place(channel));
        let of = of.map_or_else(String::new, |place| format!(" {place}"));
        let count = |name: &str| result[name].as_u64().unwrap_or(0);
        Some(match name.as_str() {
            "connect" => format!("connect{}{}", flags(result), self.subs(result)),
            "subscribe" => format!("subscribe{of}{}", flags(result)),
            "presence" => {
                let clients = result["presence"]
                    .as_object()
                    .map_or(0, serde_json::Map::len);
                format!("presence{of} {clients}")
            }
            "presence_stats" => format!(
                "presence_stats{of} {} {}",
                count("num_clients"),
                count("num_users")
            ),
            "history" => {
                let publications = result["publications"].as_array().into_iter().flatten();
                let numbers: Vec<_> = publications.map(number).collect();
                format!("history{of} [{}]", numbers.join(" "))
            }
            other => format!("{other}{of}{}", flags(result)),
        })
    }

    /// The pushes in what it is told, and their channels. What a subscription recovers is noted as if it came behind.
    pub(super) fn pushes(&self, client: &Client, said: &Value) -> Vec<(String, String)> {
        let mut noted = Vec::new();
        let mut recovered = |channel: &str, result: &Value| {
            for publication in result["publications"].as_array().into_iter().flatten() {
                noted.push(self.publication(channel, publication));
            }
        };
        if let Some(channel) = client.asked_about(said) {
            recovered(channel, &said["subscribe"]);
        }
        for (channel, result) in said["connect"]["subs"].as_object().into_iter().flatten() {
            recovered(channel, result);
        }
        let push = &said["push"];
        let channel = push["channel"].as_str().unwrap_or_default();
        let place = self.place(channel);
        let kinds = push.as_object().into_iter().flatten();
        for (kind, told) in kinds.filter(|(kind, _)| *kind != "channel") {
            let note = match kind.as_str() {
                "pub" => self.publication(channel, told).1,
                "join" | "leave" => format!("{kind} {place} {}", self.user(&told["info"]["user"])),
                "unsubscribe" => format!("unsubscribe {place} {}", told["code"]),
                "disconnect" => format!("disconnect {}", told["code"]),
                "subscribe" => format!("subscribe {place}{}", flags(told)),
                other => other.to_owned(),
            };
            noted.push((place.clone(), note));
        }
        noted
    }

    fn publication(&self, channel: &str, publication: &Value) -> (String, String) {
        let place = self.place(channel);
        let note = format!("pub {place} {}", number(publication));
        (place, note)
    }

    /// The channels to which the server subscribes.
    fn subs(&self, result: &Value) -> String {
        let subs = result["subs"].as_object().into_iter().flatten();
        let mut subs: Vec<_> = subs
            .map(|(channel, result)| format!(" {}{}", self.place(channel), flags(result)))
            .collect();
        subs.sort();
        subs.concat()
    }

    fn place(&self, channel: &str) -> String {
        const ALL: [(ChannelKind, &str); 10] = [
            (ChannelKind::Chat, "chat"),
            (ChannelKind::Room, "room"),
            (ChannelKind::News, "news"),
            (ChannelKind::Hall, "hall"),
            (ChannelKind::Shut, "shut"),
            (ChannelKind::Own, "own"),
            (ChannelKind::Others, "others"),
            (ChannelKind::Nowhere, "nowhere"),
            (ChannelKind::Long, "long"),
            (ChannelKind::Empty, "empty"),
        ];
        let found = ALL
            .iter()
            .find(|(place, _)| place.name(self.seed, self.speaker) == channel);
        found.map_or_else(|| channel.to_owned(), |(_, name)| (*name).to_owned())
    }

    fn user(&self, user: &Value) -> char {
        let is_own = user.as_str() == Some(&self.speaker.user(self.seed));
        if is_own {
            self.speaker.letter()
        } else {
            self.speaker.other().letter()
        }
    }
}

/// What is true of a result that clients act on.
fn flags(result: &Value) -> String {
    let all = [
        "expires",
        "recoverable",
        "positioned",
        "was_recovering",
        "recovered",
        "pong",
    ];
    let flags: Vec<_> = all
        .into_iter()
        .filter(|name| result[name] == true)
        .collect();
    match flags.is_empty() {
        true => String::new(),
        false => format!("({})", flags.join(",")),
    }
}

fn number(publication: &Value) -> String {
    publication["data"]["number"].to_string()
}
