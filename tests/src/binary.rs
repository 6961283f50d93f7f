//! The server under test, built once per test run.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// The executable of the server: the one that `SWITCHBOARD_BIN` names, or else the workspace's,
/// brought up to date by cargo in the profile and target folder of the running test.
///
/// # Panics
///
/// If the build fails.
pub fn switchboard() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| match env::var_os("SWITCHBOARD_BIN") {
        Some(path) => path.into(),
        None => build(),
    })
}

fn build() -> PathBuf {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // As `cargo test --workspace` selects them, so that features unify alike and nothing is compiled
    // a second time: they include those of dev-dependencies as soon as a test is among the targets.
    cargo
        .args([
            "build",
            "-p",
            "switchboard-tokio",
            "-p",
            "switchboard-tests",
        ])
        .args(["--bin", "switchboard", "--message-format=json"])
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
    if let Some(target) = target_folder() {
        cargo.arg("--target-dir").arg(target);
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
    assert!(output.status.success(), "the server does not build");
    assert!(
        !has_flaws(&output.stdout),
        "the server was built with the core's feature `flaws`, which is the simulator's"
    );
    executable(&output.stdout).expect("cargo names the executable that it has built")
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

fn has_flaws(messages: &[u8]) -> bool {
    let of_core = |message: &Value| message["target"]["name"] == "switchboard_core";
    let core = read(messages).find(of_core).expect("cargo names the core");
    let features = core["features"]
        .as_array()
        .expect("an artifact has features");
    features.iter().any(|feature| feature == "flaws")
}

fn executable(messages: &[u8]) -> Option<PathBuf> {
    read(messages)
        .filter(|message| message["target"]["name"] == "switchboard")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

fn read(messages: &[u8]) -> impl Iterator<Item = Value> {
    messages
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
}
