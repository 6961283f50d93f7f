//! The command line: what is wrong is said before anything is run, and nobody has to read the output.
#![cfg(feature = "cli")]

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard-sim"));
    command.args(arguments);
    command
}

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().expect("it is started")
}

/// What is said of a command that does not succeed, and its status.
fn refused(arguments: &[&str]) -> (String, i32) {
    let output = run(arguments);
    let said = String::from_utf8(output.stderr).expect("it is a text");
    assert!(!said.contains("panicked"), "{arguments:?}: {said}");
    (said, output.status.code().expect("it ends by itself"))
}

/// A folder of one's own, empty.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("it can be made");
    folder
}

#[test]
fn a_reader_may_go_away() {
    for arguments in [
        &["replay", "3", "--trace"][..],
        &["run", "1", "2", "3", "4", "5", "6", "7", "8"],
    ] {
        let mut child = command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it is started");
        let mut output = child.stdout.take().expect("it is piped");
        output.read_exact(&mut [0; 4]).expect("it prints something");
        drop(output);
        let status = child.wait().expect("it ends");
        let mut said = String::new();
        let mut errors = child.stderr.take().expect("it is piped");
        errors.read_to_string(&mut said).expect("it is a text");
        assert_eq!((said.as_str(), status.code()), ("", Some(141)));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_an_error() {
    for arguments in [&["run", "1"][..], &["print", "1"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
        let output = command(arguments)
            .stdout(full.expect("it is there"))
            .stderr(Stdio::piped())
            .output()
            .expect("it is started");
        let said = String::from_utf8(output.stderr).expect("it is a text");
        assert!(said.starts_with("the output cannot be written:"), "{said}");
        assert_eq!(output.status.code(), Some(1));
    }
}

#[test]
fn figures_out_of_range_are_refused() {
    for arguments in [
        &["swarm", "--jobs", "0"][..],
        &["swarm", "--jobs", "100000"],
        &["swarm", "--seconds", "18446744073709551615"],
        &["swarm", "--seconds", "0"],
        &["bugs", "--jobs", "0"],
        &["bugs", "--tries", "0"],
        &["check-determinism", "--seeds", "0"],
    ] {
        let (said, status) = refused(arguments);
        assert!(said.contains("is not in "), "{said}");
        assert_eq!(status, 2);
    }
}

#[test]
fn a_file_that_cannot_be_written_is_refused_at_once() {
    let file = "/there/is/no/such/folder/out.txt";
    for arguments in [
        &["swarm", "--seconds", "1000", "--out", file][..],
        &["shrink", "1", "--out", file],
    ] {
        let (said, status) = refused(arguments);
        assert!(said.starts_with(&format!("{file} cannot be written: ")));
        assert_eq!(status, 1);
    }
    let out = folder("writable").join("out.txt");
    run(&["shrink", "0", "--out", &out.to_string_lossy()]);
    assert!(!out.exists(), "nothing is left of the attempt");
}

#[test]
fn a_source_that_is_none_is_explained() {
    let (said, status) = refused(&["replay", "0xzz"]);
    assert!(said.contains("a number, such as 17 or 0x11, would be a seed"));
    assert_eq!(status, 1);
}

#[test]
fn all_sources_are_read_before_the_first_is_run() {
    let output = run(&["run", "1", "/there/is/no/such/file.txt"]);
    assert!(output.stdout.is_empty());
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_violation_must_be_expected_of_a_checker_that_is_there() {
    let file = folder("expected").join("schedule.txt");
    let text = "switchboard-sim 1 seed 1 instances 1\nexpect violation orphan-dept by 1s\n";
    std::fs::write(&file, text).expect("it can be written");
    let (said, _) = refused(&["replay", &file.to_string_lossy()]);
    assert!(said.contains("`orphan-dept`"), "{said}");
    assert!(said.contains("orphan-debt, "), "{said}");
}

#[test]
fn golden_keeps_no_trace_of_what_is_violated() {
    let dir = folder("golden");
    let file = dir.join("schedule.txt");
    let golden = || run(&["golden", "--write", "--dir", &dir.to_string_lossy()]);
    let (said, _) = refused(&["golden", "--dir", &dir.to_string_lossy()]);
    assert!(said.contains("`--dir` names the folder"), "{said}");

    let text = "switchboard-sim 1 seed 1 instances 1\n1s client c1 connects i1 as ann\n";
    std::fs::write(&file, format!("{text}5s expect at-rest\n")).expect("it can be written");
    let output = golden();
    let said = String::from_utf8(output.stdout).expect("it is a text");
    assert!(said.contains("VIOLATED empty-at-rest"), "{said}");
    assert!(said.contains("such a trace is not kept"), "{said}");
    assert_eq!(output.status.code(), Some(1));
    assert!(!file.with_extension("trace").exists());
    let output = run(&["golden", "--dir", &dir.to_string_lossy()]);
    let said = String::from_utf8(output.stdout).expect("it is a text");
    assert!(!said.contains("if that is meant"), "{said}");

    std::fs::write(&file, text).expect("it can be written");
    assert_eq!(golden().status.code(), Some(0));
    assert!(file.with_extension("trace").exists());
}

#[test]
fn golden_says_what_is_wrong_with_a_trace_and_how_to_write_it() {
    let dir = folder("golden-trace");
    let file = dir.join("schedule.txt");
    let text = "switchboard-sim 1 seed 1 instances 1\n1s client c1 connects i1 as ann\n";
    std::fs::write(&file, text).expect("it can be written");
    std::fs::write(file.with_extension("trace"), "nonsense").expect("it can be written");
    let dir = dir.to_string_lossy();
    let output = run(&["golden", "--dir", &dir]);
    let said = String::from_utf8(output.stdout).expect("it is a text");
    assert!(said.contains("schedule.trace: line 1 is not"), "{said}");
    assert!(said.contains(&format!("golden --write --dir {dir}\n")));
    assert_eq!(output.status.code(), Some(1));
}
