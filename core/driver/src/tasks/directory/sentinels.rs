//! What Sentinels say of their master, and which of them to believe.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use switchboard_core::directory::redis::Value;

use super::trouble::Trouble;
use crate::directory::Sentinel;
use crate::redis::{Address, Connection, accepted};
use crate::runtime::{Runtime, race};

/// How long a Sentinel may take to answer, from the dialling on: half of what establishing a link may take, so that the
/// other half is left for the master.
const PATIENCE: Duration = Duration::from_millis(1500);

/// A master, as Sentinels name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) address: Address,
    /// The number of the failover that made it the master (`config-epoch`): of two that are named, the one with the
    /// higher number has replaced the other. 0 if a Sentinel does not say.
    epoch: u64,
}

impl Named {
    /// One that is named there, without a number.
    #[cfg(test)]
    pub(super) fn at(url: &str) -> Self {
        Self {
            address: Address::parse(url).expect("a URL"),
            epoch: 0,
        }
    }

    /// Those that have replaced this one: a Sentinel that was cut off or stalled names one that this one has
    /// replaced, and is not heeded. What is said of this one is kept in mind.
    pub(super) fn successors(&mut self, answers: Vec<Self>) -> Vec<Self> {
        let of_this = answers.iter().filter(|named| named.address == self.address);
        let known = of_this.map(|named| named.epoch).max();
        self.epoch = self.epoch.max(known.unwrap_or_default());
        let mut last = latest(answers);
        last.retain(|named| named.epoch > self.epoch);
        last
    }
}

/// Those that are named under the highest number: one, if it has one address only.
pub(super) fn latest(answers: Vec<Named>) -> Vec<Named> {
    let highest = answers.iter().map(|named| named.epoch).max();
    let mut latest = Vec::new();
    for named in answers {
        if Some(named.epoch) == highest && !latest.contains(&named) {
            latest.push(named);
        }
    }
    latest
}

/// Asks all Sentinels at once. Those that are silent are not waited for once more than half of all say the same.
///
/// # Errors
///
/// If none names a master.
pub(super) async fn ask<R: Runtime>(sentinel: &Sentinel) -> Result<Vec<Named>, Trouble> {
    let questions = sentinel.sentinels.iter().map(async |address| {
        let silent = async {
            R::sleep(PATIENCE).await;
            Err(Trouble::Unreachable("no answer".to_owned()))
        };
        let named = race(named_by::<R>(address, sentinel), silent).await;
        named.map_err(|why| why.of_sentinel(&address.socket()))
    });
    let mut questions: FuturesUnordered<_> = questions.collect();
    let mut answers = Vec::new();
    let mut trouble = Trouble::Unreachable("no Sentinel is named".to_owned());
    while let Some(answer) = questions.next().await {
        match answer {
            Ok(named) => {
                answers.push(named);
                if are_agreed(&answers, sentinel.sentinels.len()) {
                    break;
                }
            }
            // What one says tells more than that another is silent.
            Err(why) => {
                if matches!(trouble, Trouble::Unreachable(_)) {
                    trouble = why;
                }
            }
        }
    }
    if answers.is_empty() {
        return Err(trouble);
    }
    Ok(answers)
}

/// Whether more than half of so many Sentinels say what the last answer says.
fn are_agreed(answers: &[Named], sentinels: usize) -> bool {
    let same = answers
        .iter()
        .filter(|&named| Some(named) == answers.last());
    same.count() > sentinels / 2
}

async fn named_by<R: Runtime>(address: &Address, sentinel: &Sentinel) -> Result<Named, Trouble> {
    let mut connection = Connection::open::<R>(address).await?;
    // If a failover falls between the two, the new address has the old number, and not the other way round: so the
    // old master is not taken for the new one.
    let questions = ["MASTER", "GET-MASTER-ADDR-BY-NAME"];
    let questions = questions.map(|question| ["SENTINEL", question, &sentinel.master]);
    let answers = connection.ask_all(questions).await?;
    let [about, master] = answers.as_slice() else {
        return Err(Trouble::Unreachable(
            "it was asked two questions".to_owned(),
        ));
    };
    let named = match accepted(master.clone())? {
        Value::Nil => {
            return Err(Trouble::Unreachable(
                "it watches no master of that name".to_owned(),
            ));
        }
        named => socket(&named),
    };
    let (host, port) = named
        .ok_or_else(|| Trouble::Unreachable("it names a master without an address".to_owned()))?;
    Ok(Named {
        address: sentinel.master_at(host, port),
        epoch: epoch(about).unwrap_or_default(),
    })
}

/// A host and a port.
fn socket(named: &Value) -> Option<(String, u16)> {
    let Value::Array(parts) = named else {
        return None;
    };
    let [host, port] = parts.as_slice() else {
        return None;
    };
    Some((text(host)?.to_owned(), text(port)?.parse().ok()?))
}

/// The number of the failover in the answer to `SENTINEL MASTER`, which may be forbidden.
fn epoch(about: &Value) -> Option<u64> {
    let Value::Array(items) = about else {
        return None;
    };
    let mut pairs = items.as_chunks().0.iter();
    let [_, epoch] = pairs.find(|[name, _]| text(name) == Some("config-epoch"))?;
    text(epoch)?.parse().ok()
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::Bulk(text) => std::str::from_utf8(text).ok(),
        Value::Nil | Value::Int(_) | Value::Status(_) | Value::Array(_) | Value::Error(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn named(host: &str, epoch: u64) -> Named {
        let address = Address::plain(host.to_owned(), 1);
        Named { address, epoch }
    }

    /// H38, H39: a Sentinel that was cut off names what others have replaced.
    #[test]
    fn the_master_of_the_last_failover_is_believed() {
        let (old, new) = (named("a", 4), named("b", 5));
        for answers in [
            vec![old.clone(), new.clone()],
            vec![new.clone(), old.clone()],
            vec![old.clone(), old.clone(), new.clone()],
        ] {
            assert_eq!(latest(answers), std::slice::from_ref(&new));
        }
        let elsewhere = named("b.example", 5);
        assert_eq!(
            latest(vec![new.clone(), elsewhere.clone(), new.clone(), old]),
            [new, elsewhere]
        );
    }

    #[test]
    fn a_primary_is_left_for_a_later_one_only() {
        for (answers, successors) in [
            // One that was cut off is alone, is asked first, or is one of most.
            (vec![named("a", 4)], vec![]),
            (vec![named("a", 4), named("b", 5)], vec![]),
            (vec![named("a", 4), named("a", 4), named("b", 5)], vec![]),
            (vec![], vec![]),
            // Another address of it.
            (vec![named("b.example", 5)], vec![]),
            // Another that is not numbered, as Sentinels do not tell.
            (vec![named("c", 0)], vec![]),
            (vec![named("c", 6)], vec![named("c", 6)]),
            (
                vec![named("a", 4), named("c", 6), named("b", 5)],
                vec![named("c", 6)],
            ),
            // It was replaced and is the master again.
            (vec![named("c", 6), named("b", 7)], vec![]),
        ] {
            let mut present = named("b", 5);
            assert_eq!(
                present.successors(answers.clone()),
                successors,
                "{answers:?}"
            );
        }
    }

    #[test]
    fn the_number_of_a_primary_is_kept_in_mind() {
        let mut present = named("b", 0);
        assert_eq!(present.successors(vec![named("b", 5)]), []);
        assert_eq!(present.successors(vec![named("a", 4)]), []);
        assert_eq!(present.successors(vec![named("c", 6)]), [named("c", 6)]);
    }

    #[test]
    fn the_silent_are_waited_for_until_most_agree() {
        let (old, new) = (named("a", 4), named("b", 5));
        for (answers, sentinels, agreed) in [
            (vec![&new], 1, true),
            (vec![&new], 2, false),
            (vec![&new, &new], 3, true),
            (vec![&old, &new], 3, false),
            (vec![&old, &new, &new], 4, false),
            (vec![&old, &new, &new, &new], 4, true),
            (vec![&old, &new, &new], 3, true),
        ] {
            let answers: Vec<Named> = answers.into_iter().cloned().collect();
            assert_eq!(are_agreed(&answers, sentinels), agreed, "{answers:?}");
        }
    }

    #[test]
    fn a_failover_is_numbered_if_a_sentinel_says_so() {
        let bulk = |text: &str| Value::Bulk(Bytes::copy_from_slice(text.as_bytes()));
        let about = ["name", "main", "config-epoch", "12", "quorum", "2"].map(bulk);
        assert_eq!(epoch(&Value::Array(about.to_vec())), Some(12));
        assert_eq!(epoch(&Value::Array(Vec::new())), None);
        assert_eq!(epoch(&Value::Nil), None);
    }
}
