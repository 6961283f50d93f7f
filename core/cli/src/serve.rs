//! `switchboard serve`: start, wait, drain.

use std::future::pending;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{join_all, select_all};
use switchboard_core::config::ConfigError;
use switchboard_driver::runtime::{Runtime, race};
use switchboard_driver::{Builder, DirectoryChoice, Handle, Server, StartError};
use switchboard_http::Api;

use crate::assemble::Parts;
use crate::complaints::Complaints;
use crate::failure::Failure;
use crate::logging;
use crate::origins::Origins;
use crate::output::say;
use crate::reload::{Reloader, Running, at_each_hangup};
use crate::signals::{Signal, Signals};
use crate::stop::Stop;

/// Starts a server, and serves until a signal has drained it.
pub(crate) async fn run<R: Runtime>(
    parts: Parts,
    reloader: Reloader,
    stop: Stop,
    signals: Signals,
) -> Result<ExitCode, Failure> {
    announce(&parts);
    let (server, api) = start::<R>(parts).await?;
    print_addresses(&server);
    let running = Running::new(server.handle(), api, stop);
    let reloading = at_each_hangup(reloader, running.clone(), &signals);
    let servers = vec![server];
    let serving = until_signal::<R>(&servers, &signals, || say("ready"));
    let signal = race(serving, reloading).await?;
    drain::<R>(servers, running.stop(), signal, signals).await
}

/// Listens for the signals that ask the process to end.
pub(crate) fn listen_for_signals() -> Result<Signals, Failure> {
    Signals::listen().map_err(|error| Failure::System {
        doing: "to listen for signals",
        error,
    })
}

/// Starts a server, with its API.
pub(crate) async fn start<R: Runtime>(parts: Parts) -> Result<(Server, Arc<Api>), Failure> {
    let api = Api::new(parts.api).map_err(|error| misfit(&error, &parts.origins))?;
    let api = Arc::new(api);
    let server = Builder::<R>::default()
        .settings(parts.settings)
        .shared_authenticator(parts.authenticator)
        .shared_api(Arc::<Api>::clone(&api))
        .start()
        .await
        .map_err(|error| explain(error, &parts.origins))?;
    Ok((server, api))
}

/// Waits for a signal that asks to end, or for a server to die. When all servers are ready, that is
/// told.
pub(crate) async fn until_signal<R: Runtime>(
    servers: &[Server],
    signals: &Signals,
    tell_ready: impl FnOnce(),
) -> Result<Signal, Failure> {
    let asked = async { Ok(signals.next().await) };
    let died = async {
        let (died, ..) = select_all(servers.iter().map(|server| Box::pin(server.died()))).await;
        Err(Failure::Died(died))
    };
    let serving = async {
        for server in servers {
            until_ready::<R>(&server.handle()).await;
        }
        tell_ready();
        pending().await
    };
    race(asked, race(died, serving)).await
}

/// Drains servers, and ends. A second signal ends at once.
pub(crate) async fn drain<R: Runtime>(
    servers: Vec<Server>,
    stop: Stop,
    signal: Signal,
    signals: Signals,
) -> Result<ExitCode, Failure> {
    tracing::info!(
        signal = signal.name(),
        delay = ?stop.delay,
        spread = ?stop.spread,
        "draining: no new terminals; another signal ends at once"
    );
    let handles: Vec<Handle> = servers.iter().map(Server::handle).collect();
    let drained = async {
        let ended = shut_down::<R>(servers, stop).await;
        if ended == Ended::All {
            tracing::info!("drained");
        }
        Ok(ExitCode::from(ended.status()))
    };
    let again = async {
        let signal = signals.next().await;
        tracing::warn!(signal = signal.name(), "ending at once");
        // Nothing else is waited for, and nothing is tidied up.
        logging::finish();
        std::process::exit(signal.status().into())
    };
    race(drained, race(report::<R, _>(&handles), again)).await
}

/// What has ended in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    All,
    NotAll,
}

impl Ended {
    /// What the process ends with.
    const fn status(self) -> u8 {
        match self {
            Self::All => 0,
            Self::NotAll => 4,
        }
    }
}

/// Sends the terminals away, then removes rows and leases. It ends in time, whatever is left.
async fn shut_down<R: Runtime>(servers: Vec<Server>, stop: Stop) -> Ended {
    let gone = async {
        let drains = servers
            .iter()
            .map(|server| server.drain(stop.delay, stop.spread));
        join_all(drains).await;
        join_all(servers.into_iter().map(Server::shutdown)).await;
    };
    until_late(gone, R::sleep(stop.longest())).await
}

async fn until_late(gone: impl Future<Output = ()>, late: impl Future<Output = ()>) -> Ended {
    let gone = async {
        gone.await;
        Ended::All
    };
    let late = async {
        late.await;
        tracing::warn!(
            "not all has ended in time: terminals that are left are cut off; rows and lease that are \
             left die with the lease"
        );
        Ended::NotAll
    };
    race(gone, late).await
}

/// Says each second how many terminals are left.
async fn report<R: Runtime, T>(handles: &[Handle]) -> T {
    loop {
        R::sleep(Duration::from_secs(1)).await;
        let mut left = 0;
        for handle in handles {
            left += connections(handle).await;
        }
        tracing::info!(connections = left, "draining");
    }
}

async fn connections(handle: &Handle) -> usize {
    let snapshots = handle.snapshots().await;
    snapshots
        .iter()
        .map(|snapshot| snapshot.gauges.connections)
        .sum()
}

/// Waits until a balancer may send terminals.
async fn until_ready<R: Runtime>(handle: &Handle) {
    const LOOK: Duration = Duration::from_millis(10);
    const SAY: Duration = Duration::from_secs(5);
    let mut said = Instant::now();
    while !handle.is_ready() {
        if said.elapsed() >= SAY {
            said = Instant::now();
            match handle.admission().unready() {
                Some(why) => tracing::warn!(why, "waiting until terminals can be let in"),
                None => tracing::warn!(
                    "waiting for the directory; terminals that connect are greeted as degraded"
                ),
            }
        }
        R::sleep(LOOK).await;
    }
}

/// Says in the log what an operator should know about the choices made.
fn announce(parts: &Parts) {
    let settings = &parts.settings;
    match &settings.directory {
        DirectoryChoice::Embedded(_) => tracing::info!(
            "the directory is embedded: this process is a cluster of its own; --redis makes it one of many"
        ),
        DirectoryChoice::Redis(url) => {
            let process = &settings.process;
            tracing::info!(redis = %url, "the directory is in Redis");
            if process.advertise.is_none() && process.peer.ip().is_loopback() {
                tracing::info!(
                    "other instances are told to dial a loopback address, which only those of this \
                     machine can: --peer and --advertise change that"
                );
            }
        }
    }
    parts.warn_if_open();
}

fn print_addresses(server: &Server) {
    if let Some(address) = server.terminals_addr() {
        say(&format!("terminals ws://{address}/connect"));
    }
    if let Some(address) = server.api_addr() {
        say(&format!("api http://{address}"));
    }
    say(&format!("peer {}", server.peer_addr()));
}

fn misfit(error: &ConfigError, origins: &Origins) -> Failure {
    let mut complaints = Complaints::default();
    complaints.add(origins.complaint(error));
    Failure::Settings(complaints)
}

/// Says what to do about it.
fn explain(error: StartError, origins: &Origins) -> Failure {
    let (field, address, error) = match error {
        StartError::Listen {
            field,
            address,
            error,
        } => (field, address, error),
        StartError::Settings(error) => return misfit(&error, origins),
        other => return Failure::Start(other.to_string()),
    };
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => "something else listens there; stop it, or choose another port",
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address; choose one that it has"
        }
        io::ErrorKind::PermissionDenied => "ports below 1024 are for root; choose another one",
        _ => "choose another address",
    };
    let place = origins.place(field);
    Failure::Start(format!(
        "{place}: cannot listen at {address}: {error}: {advice}"
    ))
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use futures_util::FutureExt as _;

    use super::*;

    /// Whoever waits for the process is not told that all is well.
    #[test]
    fn an_end_at_which_something_was_stuck_has_a_status_of_its_own() {
        let drained = until_late(ready(()), pending()).now_or_never();
        assert_eq!(drained.map(Ended::status), Some(0));
        let stuck = until_late(pending(), ready(())).now_or_never();
        assert_eq!(stuck.map(Ended::status), Some(4));
    }
}
