//! The servers under test: one for each runtime, built once per test run.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::sync::OnceLock;

use serde_json::Value;

/// The runtime that a server is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adapter {
    /// `switchboard`, the binary of `switchboard-tokio`.
    Tokio,
    /// The example `server` of `switchboard-smol`.
    Smol,
}

impl Adapter {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Tokio, Self::Smol];

    /// The executable: the one that the adapter's variable names, or else the workspace's, brought
    /// up to date by cargo in the profile and target folder of the running test.
    ///
    /// # Panics
    ///
    /// If the build fails.
    pub fn executable(self) -> &'static Path {
        static TOKIO: OnceLock<PathBuf> = OnceLock::new();
        static SMOL: OnceLock<PathBuf> = OnceLock::new();
        let (path, target) = match self {
            Self::Tokio => (&TOKIO, &TOKIO_SERVER),
            Self::Smol => (&SMOL, &SMOL_SERVER),
        };
        path.get_or_init(|| match env::var_os(target.variable) {
            Some(path) => path.into(),
            None => target.build(),
        })
    }
}

impl fmt::Display for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tokio => "tokio",
            Self::Smol => "smol",
        })
    }
}

impl FromStr for Adapter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::ALL.iter().find(|adapter| adapter.to_string() == text);
        named
            .copied()
            .ok_or_else(|| "must be tokio or smol".to_owned())
    }
}

struct Target {
    /// Names another executable.
    variable: &'static str,
    name: &'static str,
}

const TOKIO_SERVER: Target = Target {
    variable: "SWITCHBOARD_BIN",
    name: "switchboard",
};

const SMOL_SERVER: Target = Target {
    variable: "SWITCHBOARD_SMOL_BIN",
    name: "server",
};

/// What cargo selects: both servers. Features unify over the selected packages, and those of dev-dependencies
/// count as soon as a test or an example is among the targets: these are the arguments with which
/// nothing is compiled that the tests' own invocation has not compiled already.
const SELECTION: &[&str] = &[
    "--workspace",
    "--exclude=switchboard-sim",
    "--bin=switchboard",
    "--example=server",
    "--test=documents",
];

impl Target {
    fn build(&self) -> PathBuf {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .arg("build")
            .args(SELECTION)
            .arg("--message-format=json")
            .current_dir(
                Path::new(env!("CARGO_MANIFEST_DIR"))
                    .parent()
                    .expect("a workspace member"),
            )
            .stdin(Stdio::null())
            .stderr(Stdio::inherit());
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        if let Some(folder) = target_folder() {
            cargo.arg("--target-dir").arg(folder);
        }
        // What cargo sets for a test would look like a changed environment to build scripts.
        for (name, _) in env::vars_os() {
            let name_text = name.to_string_lossy();
            if SET_BY_CARGO
                .iter()
                .any(|prefix| name_text.starts_with(prefix))
            {
                cargo.env_remove(&name);
            }
        }
        let output = cargo.output().expect("cargo runs, as it runs this test");
        assert!(output.status.success(), "{} does not build", self.name);
        assert!(
            !has_flaws(&output.stdout),
            "{} was built with the core's feature `flaws`, which is the simulator's",
            self.name
        );
        self.executable(&output.stdout)
            .expect("cargo names the executable that it has built")
    }

    fn executable(&self, messages: &[u8]) -> Option<PathBuf> {
        artifacts(messages)
            .filter(|message| message["target"]["name"] == self.name)
            .find_map(|message| message["executable"].as_str().map(PathBuf::from))
    }
}

fn has_flaws(messages: &[u8]) -> bool {
    let of_core = |message: &Value| message["target"]["name"] == "switchboard_core";
    let core = artifacts(messages)
        .find(of_core)
        .expect("cargo names the core");
    let features = core["features"]
        .as_array()
        .expect("an artifact has features");
    features.iter().any(|feature| feature == "flaws")
}

/// What cargo has built, among the JSON objects that it prints, a line each: warnings are there as well.
fn artifacts(messages: &[u8]) -> impl Iterator<Item = Value> {
    let lines = messages.split(|byte| *byte == b'\n');
    lines
        .filter_map(|line| serde_json::from_slice(line).ok())
        .filter(|message: &Value| message["reason"] == "compiler-artifact")
}

const SET_BY_CARGO: &[&str] = &[
    "CARGO_PKG_",
    "CARGO_MANIFEST_",
    "CARGO_CRATE_",
    "CARGO_BIN_",
    "CARGO_PRIMARY_",
    "CARGO_TARGET_TMPDIR",
    "OUT_DIR",
];

/// `target` of `target/debug/deps/suite-0123`.
fn target_folder() -> Option<PathBuf> {
    let exe = env::current_exe().ok()?;
    let deps = exe.parent()?;
    (deps.file_name()? == "deps").then(|| deps.parent()?.parent().map(Path::to_owned))?
}
