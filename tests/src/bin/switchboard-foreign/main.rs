//! Runs clients that others wrote against real servers: each script of `tests/foreign` has a place
//! of its own, which is built, handed over and torn down here.

mod place;
mod proxy;

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use switchboard_tests::adapter::Adapter;
use switchboard_tests::matrix::Fleet;

use crate::place::{Heartbeat, Logins, Place};
use crate::proxy::Program;

/// Runs clients that others wrote against real servers. `.ci/foreign` gets what it needs.
#[derive(Parser)]
struct Arguments {
    /// The servers: tokio, smol, or mixed. May be repeated; all three, if it is not given.
    #[arg(long = "servers", value_parser = fleet)]
    fleets: Vec<Fleet>,
    /// The folder with the packages of package-lock.json.
    #[arg(long)]
    node_modules: PathBuf,
    /// A Python that has the packages of requirements.txt.
    #[arg(long)]
    python: PathBuf,
    /// A folder with the executables of the programs in Go.
    #[arg(long)]
    go_programs: PathBuf,
    /// The folder with the packages of pom.xml.
    #[arg(long)]
    java_packages: PathBuf,
    /// A folder with the suites of clients, as their packages have them.
    #[arg(long)]
    suites: PathBuf,
    /// Chromium's executable.
    #[arg(long)]
    chromium: PathBuf,
    /// Where screenshots are written.
    #[arg(long)]
    output: PathBuf,
    /// Only the scripts with one of these texts in their name.
    only: Vec<String>,
}

fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    if arguments.fleets.is_empty() {
        arguments.fleets = FLEETS.to_vec();
    }
    let begin = Instant::now();
    let mut outcomes = Vec::new();
    for &fleet in &arguments.fleets {
        outcomes.extend(run_all(fleet, &arguments));
    }
    let passed: usize = outcomes.iter().map(|outcome| outcome.passed).sum();
    let failed: usize = outcomes.iter().map(|outcome| outcome.failed).sum();
    println!(
        "{} runs of scripts in {} s",
        outcomes.len(),
        begin.elapsed().as_secs()
    );
    println!("{passed} passed, {failed} failed");
    if passed > 0 && failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

const FLEETS: &[Fleet] = &[
    Fleet::Of(Adapter::Tokio),
    Fleet::Of(Adapter::Smol),
    Fleet::Mixed,
];

fn fleet(text: &str) -> Result<Fleet, String> {
    let named = FLEETS.iter().find(|fleet| fleet.to_string() == text);
    named
        .copied()
        .ok_or_else(|| "must be tokio, smol or mixed".to_owned())
}

/// Runs the scripts side by side: most of the time they wait for heartbeats.
fn run_all(fleet: Fleet, arguments: &Arguments) -> Vec<Outcome> {
    let only = &arguments.only;
    let selected = SCRIPTS
        .iter()
        .filter(|script| only.is_empty() || only.iter().any(|text| script.name().contains(text)));
    thread::scope(|scope| {
        let running: Vec<_> = selected
            .map(|script| scope.spawn(move || script.run(fleet, arguments)))
            .collect();
        running
            .into_iter()
            .map(|script| script.join().unwrap_or(Outcome::BROKEN))
            .collect()
    })
}

const SCRIPTS: &[Script] = &[
    Script::new("node_ws.js", Heartbeat::Quick),
    Script::behind(Program::Nginx, "node_ws_proxy.js"),
    Script::behind(Program::Haproxy, "node_ws_proxy.js"),
    Script::behind(Program::Caddy, "node_ws_proxy.js"),
    Script::new("python_websockets.py", Heartbeat::Quick),
    Script::behind(Program::Nginx, "python_websockets_proxy.py"),
    Script::behind(Program::Haproxy, "python_websockets_proxy.py"),
    Script::behind(Program::Caddy, "python_websockets_proxy.py"),
    Script::behind(Program::Nginx, "node_follow.js"),
    Script::behind(Program::Haproxy, "node_follow.js"),
    Script::behind(Program::Caddy, "node_follow.js"),
    Script::behind(Program::Nginx, "python_follow.py"),
    Script::behind(Program::Haproxy, "python_follow.py"),
    Script::behind(Program::Caddy, "python_follow.py"),
    Script::behind(Program::Nginx, "chromium_page.js"),
    Script::behind(Program::Caddy, "chromium_follow.js"),
    Script::new("curl_api.py", Heartbeat::Default),
    Script::with_tokens("node_centrifuge.js"),
    Script::with_tokens("node_one_way.js"),
    Script {
        logins: Logins::Tokens,
        ..Script::behind(Program::Nginx, "chromium_chat.js")
    },
    Script::new("chromium_tutorial.js", Heartbeat::Default),
    Script::with_tokens("python_centrifuge.py"),
    Script::with_tokens("go_centrifuge"),
    Script::with_tokens("java_centrifuge.java"),
    Script::of_suite("node_centrifuge_cases.js"),
    Script::of_suite("python_centrifuge_suite.py"),
    Script::of_suite("go_centrifuge_suite.py"),
];

/// When a script is given up. The longest wait is that for a proxy's idle timeout.
const ENDS_WITHIN: Duration = Duration::from_secs(300);

/// A file of `tests/foreign`, or a folder with a program in Go.
struct Script {
    file: &'static str,
    heartbeat: Heartbeat,
    /// The proxy that it goes through, if it goes through any.
    proxy: Option<Program>,
    /// How terminals say who they are at the two servers.
    logins: Logins,
}

/// How many checks of a script passed and failed.
struct Outcome {
    passed: usize,
    failed: usize,
}

impl Outcome {
    const BROKEN: Self = Self {
        passed: 0,
        failed: 1,
    };
}

impl Script {
    const fn new(file: &'static str, heartbeat: Heartbeat) -> Self {
        Self {
            file,
            heartbeat,
            proxy: None,
            logins: Logins::Open,
        }
    }

    const fn with_tokens(file: &'static str) -> Self {
        Self {
            logins: Logins::Tokens,
            ..Self::new(file, Heartbeat::Quick)
        }
    }

    const fn of_suite(file: &'static str) -> Self {
        Self {
            logins: Logins::OfSuites,
            ..Self::new(file, Heartbeat::Default)
        }
    }

    const fn behind(proxy: Program, file: &'static str) -> Self {
        Self {
            file,
            proxy: Some(proxy),
            ..Self::new(file, Heartbeat::Default)
        }
    }

    fn name(&self) -> String {
        match self.proxy {
            Some(proxy) => format!("{} behind {proxy}", self.file),
            None => self.file.to_owned(),
        }
    }

    /// What runs it. What has no extension is a program in Go, in a folder of its name.
    fn command(&self, arguments: &Arguments) -> Command {
        let file = Path::new(FOLDER).join(self.file);
        let extension = file.extension().and_then(OsStr::to_str);
        let (interpreter, options) = match extension {
            None => return Command::new(arguments.go_programs.join(self.file)),
            Some("js") => (Path::new("node"), Vec::new()),
            Some("java") => {
                let packages = arguments.java_packages.join("*");
                // It is compiled as it is started, and waits most of the time.
                let quick = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"].map(OsString::from);
                let path = ["--class-path".into(), packages.into_os_string()];
                (Path::new("java"), [quick, path].concat())
            }
            Some(_) => (&*arguments.python, Vec::new()),
        };
        let mut command = Command::new(interpreter);
        command.args(options).arg(file);
        command
    }

    fn run(&self, fleet: Fleet, arguments: &Arguments) -> Outcome {
        let mut place = Place::start(fleet, self.heartbeat, self.proxy, self.logins);
        let label = format!("{fleet}/{}", self.name());
        let output = arguments.output.join(fleet.to_string());
        let mut command = self.command(arguments);
        command
            .env("NODE_PATH", &arguments.node_modules)
            .env("PYTHONUNBUFFERED", "1")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("FOREIGN_PLACE", place.describe().to_string())
            .env("FOREIGN_CHROMIUM", &arguments.chromium)
            .env("FOREIGN_SUITES", &arguments.suites)
            .env("FOREIGN_OUTPUT", output)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        ending_with_this_thread(&mut command, Signal::TERM);
        match command.spawn() {
            Ok(child) => follow(&label, child, &mut place),
            Err(error) => {
                println!("{label}: {:?}: {error}", command.get_program());
                Outcome::BROKEN
            }
        }
    }
}

/// Prints what a script says, as it says it, and counts. A line `restart 0` has that server killed and started
/// again; the answer, on the script's standard input, is a line that describes it.
fn follow(label: &str, mut child: Child, place: &mut Place) -> Outcome {
    let mut outcome = Outcome {
        passed: 0,
        failed: 0,
    };
    let begin = Instant::now();
    let stdout = child.stdout.take();
    let mut stdin = child.stdin.take().expect("it is piped");
    let status = thread::scope(|scope| {
        let waiting = scope.spawn(|| wait_for(&mut child, begin + ENDS_WITHIN));
        for line in stdout
            .into_iter()
            .flat_map(|out| BufReader::new(out).lines())
        {
            let line = line.unwrap_or_else(|error| error.to_string());
            println!("{label}: {line}");
            outcome.passed += usize::from(line.starts_with("ok "));
            outcome.failed += usize::from(line.starts_with("FAILED "));
            if let Some(number) = line.strip_prefix("restart ") {
                let number: usize = number.parse().expect("the number of a server");
                // A script that has ended meanwhile does not read it.
                let _ = writeln!(stdin, "{}", place.restart(number));
            }
        }
        waiting.join().expect("it does not panic")
    });
    let complete = matches!(&status, Ok(status) if status.success()) && outcome.passed > 0;
    if !complete {
        outcome.failed = outcome.failed.max(1);
        println!("{label}: ended with {status:?}");
        place.show_logs();
    }
    println!("{label}: {} s", begin.elapsed().as_secs());
    outcome
}

/// Where the scripts are.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/foreign");

/// Has a process ended by the kernel, should this thread end first, for whatever reason.
fn ending_with_this_thread(command: &mut Command, signal: Signal) {
    #[expect(unsafe_code, reason = "a system call between fork and exec")]
    // SAFETY: prctl may be called there, and nothing is allocated.
    unsafe {
        command.pre_exec(move || Ok(set_parent_process_death_signal(Some(signal))?));
    }
}

/// Waits for the end of a process, and brings it about when the time is up.
fn wait_for(child: &mut Child, end: Instant) -> io::Result<std::process::ExitStatus> {
    const POLL: Duration = Duration::from_millis(50);
    while Instant::now() < end {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        thread::sleep(POLL);
    }
    terminate(child);
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        format!("it did not end within {} s", ENDS_WITHIN.as_secs()),
    ))
}

/// Asks a process to end, and kills it if it does not.
fn terminate(child: &mut Child) {
    const GRACE: Duration = Duration::from_secs(5);
    const POLL: Duration = Duration::from_millis(10);
    // What is ignored here fails only for a process that has ended.
    let _ = kill_process(Pid::from_child(child), Signal::TERM);
    let end = Instant::now() + GRACE;
    while matches!(child.try_wait(), Ok(None)) && Instant::now() < end {
        thread::sleep(POLL);
    }
    let _ = child.kill();
    let _ = child.wait();
}
