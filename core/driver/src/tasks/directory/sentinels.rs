//! What Sentinels say of their master, and which of them to believe.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use redis::aio::ConnectionLike as _;
use redis::{AsyncConnectionConfig, Client, ErrorKind, RedisError, Value, from_redis_value};

use super::trouble::Trouble;
use crate::directory::Sentinel;

/// How long a connection to a Sentinel may take, and then its answer: in all half of what establishing a link
/// may take, so that the other half is left for the master.
const PATIENCE: Duration = Duration::from_millis(750);

/// A master, as Sentinels name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) url: String,
    /// The number of the failover that made it the master (`config-epoch`): of two that are named, the one with the
    /// higher number has replaced the other. 0 if a Sentinel does not say.
    epoch: u64,
}

impl Named {
    /// One that is named there, without a number.
    #[cfg(test)]
    pub(super) fn at(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            epoch: 0,
        }
    }

    /// Those that have replaced this one: a Sentinel that was cut off or stalled names one that this one has
    /// replaced, and is not heeded. What is said of this one is kept in mind.
    pub(super) fn successors(&mut self, answers: Vec<Self>) -> Vec<Self> {
        let of_this = answers.iter().filter(|named| named.url == self.url);
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
pub(super) async fn ask(sentinel: &Sentinel) -> Result<Vec<Named>, Trouble> {
    let questions = sentinel.hosts.iter().map(async |host| {
        let named = named_by(host, sentinel).await;
        named.map_err(|why| why.of_sentinel(host))
    });
    let mut questions: FuturesUnordered<_> = questions.collect();
    let mut answers = Vec::new();
    let mut trouble = Trouble::Unreachable("no Sentinel is named".to_owned());
    while let Some(answer) = questions.next().await {
        match answer {
            Ok(named) => {
                answers.push(named);
                if are_agreed(&answers, sentinel.hosts.len()) {
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

async fn named_by(host: &str, sentinel: &Sentinel) -> Result<Named, Trouble> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    let client = Client::open(sentinel.sentinel_url(host))?;
    let mut connection = client
        .get_multiplexed_async_connection_with_config(&config)
        .await?;
    let mut questions = redis::pipe();
    questions.ignore_errors();
    // If a failover falls between the two, the new address has the old number, and not the other way round: so the
    // old master is not taken for the new one.
    for question in ["MASTER", "GET-MASTER-ADDR-BY-NAME"] {
        questions
            .cmd("SENTINEL")
            .arg(question)
            .arg(&sentinel.master);
    }
    let count = questions.len();
    let answers = connection.req_packed_commands(&questions, 0, count).await?;
    let [about, address] = <[Value; 2]>::try_from(answers)
        .map_err(|_| RedisError::from((ErrorKind::Parse, "it was asked two questions")))?;
    let named: Option<(String, u16)> =
        from_redis_value(address.extract_error()?).map_err(RedisError::from)?;
    let Some((host, port)) = named else {
        return Err(Trouble::Unreachable(
            "it watches no master of that name".to_owned(),
        ));
    };
    Ok(Named {
        url: sentinel.master_url(&host, port),
        epoch: epoch(about).unwrap_or_default(),
    })
}

/// The number of the failover in the answer to `SENTINEL MASTER`, which may be forbidden.
fn epoch(about: Value) -> Option<u64> {
    let about: BTreeMap<String, String> = from_redis_value(about.extract_error().ok()?).ok()?;
    about.get("config-epoch")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(url: &str, epoch: u64) -> Named {
        let url = url.to_owned();
        Named { url, epoch }
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
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let about = ["name", "main", "config-epoch", "12", "quorum", "2"].map(bulk);
        assert_eq!(epoch(Value::Array(about.to_vec())), Some(12));
        assert_eq!(epoch(Value::Array(Vec::new())), None);
        assert_eq!(epoch(Value::Nil), None);
    }
}
