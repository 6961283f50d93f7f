//! `switchboard check`: what is wrong with settings, Redis and the other instances, and what to do.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::time::Duration;

use clap::ArgMatches;
use switchboard_core::difference::Difference;
use switchboard_core::directory::SeenLease;
use switchboard_driver::runtime::{Runtime, race};
use switchboard_driver::{DirectoryChoice, NoLink, Settings, examine_directory, try_link};

use crate::assemble::{Parts, Secret, assemble};
use crate::failure::Failure;
use crate::options::Serve;
use crate::output::say;
use crate::settings::{Level, LogFormat};
use crate::tokens::Fetching;
use crate::usage::warn_of_unknown_variables;
use crate::waiting::wait_for;
use crate::{load, logging};

/// What `check` ends with, for its help.
pub(crate) const AFTER_HELP: &str = "\
Exit status: 0 a server with these settings can serve, though there may be warnings; 1 something is
wrong with what they name; 2 wrong usage or settings.";

/// How long Redis, and each other instance, may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was found so far.
#[derive(Default)]
struct Report {
    errors: usize,
}

impl Report {
    fn good(&self, what: &str) {
        say(&format!("ok       {what}"));
    }

    fn warn(&self, what: &str) {
        say(&format!("warning  {what}"));
    }

    fn error(&mut self, what: &str) {
        self.errors += 1;
        say(&format!("error    {what}"));
    }
}

/// Checks what a server with these settings would meet.
pub(crate) fn run<R: Runtime>(serve: &Serve, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    logging::start(LogFormat::Human, Level::Warn)?;
    warn_of_unknown_variables();
    let loaded = load::load(serve, matches)?;
    let variable = |name: &str| std::env::var(name).ok();
    let parts = assemble(loaded, Secret::Read(variable), Fetching::Awaited(None))?;
    wait_for::<R, _>(async {
        let mut report = Report::default();
        report.good("settings: they fit together, and the files that they name can be used");
        parts.warn_if_open();
        check_listeners(&parts, &mut report);
        check_directory::<R>(&parts.settings, &mut report).await;
        Ok(match report.errors {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        })
    })
}

fn check_listeners(parts: &Parts, report: &mut Report) {
    let process = &parts.settings.process;
    let listeners = [
        ("listen", process.listen),
        ("api", process.api),
        ("peer", Some(process.peer)),
    ];
    for (setting, address) in listeners {
        let Some(address) = address else { continue };
        let place = parts.origins.place(setting);
        match can_listen(address) {
            Ok(()) => report.good(&format!("{place}: {address} is free")),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => report.warn(&format!(
                "{place}: something listens at {address}; that is as it should be if this server runs"
            )),
            Err(error) => report.error(&format!(
                "{place}: this machine cannot listen at {address}: {error}"
            )),
        }
    }
}

fn can_listen(address: SocketAddr) -> io::Result<()> {
    TcpListener::bind(address).map(drop)
}

async fn check_directory<R: Runtime>(settings: &Settings, report: &mut Report) {
    let url = match &settings.directory {
        DirectoryChoice::Redis(url) => url,
        DirectoryChoice::Embedded(_) => {
            return report.good("redis: none is set; the process is a cluster of its own");
        }
    };
    let directory = settings.directory_settings();
    let examined = race(examine_directory::<R>(url, &directory), async {
        R::sleep(PATIENCE).await;
        Err("it does not answer in time".to_owned())
    });
    let findings = match examined.await {
        Ok(findings) => findings,
        Err(why) => return report.error(&format!("redis: {url}: {why}")),
    };
    for fault in &findings.faults {
        report.error(&format!("redis: {url}: {fault}"));
    }
    for doubt in &findings.doubts {
        report.warn(&format!("redis: {url}: {doubt}"));
    }
    if findings.faults.is_empty() {
        report.good(&format!("redis: {url}: it takes reads, writes and scripts"));
    }
    if findings.instances.is_empty() {
        report.good("peers: no other instance runs");
    }
    for lease in &findings.instances {
        let (instance, address) = (lease.instance, &lease.lease.address);
        match check_peer::<R>(lease, &findings.instances, settings).await {
            Ok(differences) => {
                report.good(&format!("peers: {instance} takes links at {address}"));
                for difference in differences {
                    report.warn(&format!(
                        "peers: {instance} has another setting, which all should have alike: {difference}"
                    ));
                }
            }
            Err(why) => report.error(&format!("peers: {instance} at {address}: {why}")),
        }
    }
}

/// Opens a link as another instance would, up to the proof of the other end.
async fn check_peer<R: Runtime>(
    lease: &SeenLease,
    all: &[SeenLease],
    settings: &Settings,
) -> Result<Vec<Difference>, String> {
    let address = &lease.lease.address;
    let sharers = all.iter().filter(|other| other.lease.address == *address);
    let is_shared = sharers.count() > 1;
    let secret = settings.cluster_secret.as_ref();
    let secret = secret.ok_or("there is no cluster secret to greet it with")?;
    let opened = async {
        let opened = try_link::<R>(lease.instance, address, &settings.core, secret).await;
        opened.map_err(|no_link| match no_link {
            NoLink::Undialled(error) => format!(
                "it cannot be dialled from here ({error}): does a firewall forbid it, and is what its \
                 --peer or --advertise says an address for others?"
            ),
            NoLink::NotThere if is_shared => {
                "another server has the same address: each needs its own --advertise, unless one has \
                 crashed and its lease runs out soon"
                    .to_owned()
            }
            NoLink::NotThere => {
                "another server is at that address: it was given to a new one, or this one has crashed \
                 and its lease runs out soon"
                    .to_owned()
            }
            NoLink::Unwelcome(why) => why.to_string(),
            NoLink::Refused(error) => format!("what is there takes no link ({error})"),
        })
    };
    race(opened, async {
        R::sleep(PATIENCE).await;
        Err("it does not answer in time".to_owned())
    })
    .await
}
