//! A look at the directory server, for whoever wants to know what is wrong before a server starts.

use switchboard_core::directory::{DirectorySettings, Operation, Reply, SeenLease};

use super::mark;
use super::primary::Primary;
use super::trouble::Trouble;
use crate::directory::RedisUrl;
use crate::redis::accepted;
use crate::runtime::Runtime;

/// What was found at a directory server that answers.
#[derive(Debug, Default)]
pub struct Findings {
    /// Instances whose lease has not expired.
    pub instances: Vec<SeenLease>,
    /// What makes it unfit, each with what to do.
    pub faults: Vec<String>,
    /// What can make it unfit.
    pub doubts: Vec<String>,
}

/// Asks the server what an instance would ask it. To be called on a thread of the runtime.
///
/// # Errors
///
/// Says why it cannot be asked.
pub async fn examine_directory<R: Runtime>(
    url: &RedisUrl,
    settings: &DirectorySettings,
) -> Result<Findings, String> {
    let mut primary = Primary::<R>::connect(url)
        .await
        .map_err(|trouble| explain(&trouble))?;
    let mut findings = Findings::default();

    // A check leaves no mark: the settings that it checks may be wrong ones.
    match mark::read(&mut primary.connection, settings).await {
        Ok(found) => {
            let other = found.and_then(|found| mark::other(&found, settings));
            findings.faults.extend(other);
        }
        Err(trouble) => findings.faults.push(format!(
            "it does not say the layout of its keys ({})",
            trouble.reason()
        )),
    }

    // As instances' rows: reads may be answered while writes are refused.
    let key = format!("{}check", settings.prefix);
    let write: [&[&str]; 1] = [&["SET", &key, "", "PX", "1000"]];
    let written = primary.connection.ask_all(write).await;
    let written = written.and_then(|answers| {
        answers
            .into_iter()
            .try_for_each(|answer| accepted(answer).map(drop))
    });
    if let Err(error) = written {
        findings.faults.push(format!(
            "it refuses to write ({error}): mend that, as no terminal can be registered"
        ));
    }

    if let Some(policy) = primary.evicts().await {
        findings.doubts.push(format!(
            "its maxmemory-policy is {policy}, which may throw rows away: set it to noeviction"
        ));
    }

    let view = Operation::View.request(settings);
    let answer = primary.connection.ask(&view).await;
    let reply = answer
        .map_err(|error| error.to_string())
        .and_then(|answer| {
            let reply = Operation::View.decode(answer);
            reply.map_err(|error| error.to_string())
        });
    match reply {
        Ok(Reply::Leases { leases, malformed }) => {
            if malformed > 0 {
                findings.doubts.push(format!(
                    "{malformed} of the instances' entries cannot be understood: does something else, \
                     or another version, use the prefix {}?",
                    settings.prefix
                ));
            }
            let lives = |lease: &SeenLease| lease.remaining.is_some();
            findings.instances = leases.into_iter().filter(lives).collect();
        }
        Ok(_) => {}
        Err(error) => findings
            .faults
            .push(format!("it does not execute a script ({error})")),
    }
    Ok(findings)
}

fn explain(trouble: &Trouble) -> String {
    match trouble {
        Trouble::Login(why) => format!(
            "it refuses the login ({why}): give user and password in --redis, as \
             redis://user:password@host:port"
        ),
        Trouble::Permission(why) => format!(
            "its user may not do what is needed ({why}); with the default --prefix this is enough: \
             ACL SETUSER name on >password ~sb:* +@all -@dangerous +role +info"
        ),
        Trouble::SentinelLogin(why) => format!(
            "{why}: give user and password of the Sentinels in --redis, as \
             ...?sentinel_user=NAME&sentinel_password=PASSWORD"
        ),
        Trouble::Replica => {
            "it is a replica: name the primary in --redis, or let Sentinels name it \
             with redis+sentinel://"
                .to_owned()
        }
        Trouble::TooOld(found) => {
            format!("it is {found}: Redis 7.0 or newer, or Valkey, is needed")
        }
        Trouble::Layout(why) => why.clone(),
        Trouble::Unreachable(why) | Trouble::Lost(why) => {
            format!("it cannot be asked ({why}): does it run, and is this its address?")
        }
    }
}
