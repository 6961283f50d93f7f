//! What the server says, and how it ends, when it is not used as it should be.
#![cfg(feature = "server")]

use std::process::{Command, Output};

#[test]
fn alone_it_prints_help_and_ends_with_2() {
    let output = switchboard(&[], &[]);
    assert_eq!(output.status.code(), Some(2));
    let help = errors(&output);
    assert!(help.contains("serve") && help.contains("demo"), "{help}");
}

#[test]
fn help_names_variables_and_defaults() {
    let output = switchboard(
        &["serve", "--help"],
        &[("SWITCHBOARD_REDIS", "redis://:password@host")],
    );
    assert_eq!(output.status.code(), Some(0));
    let help = String::from_utf8(output.stdout).expect("help is text");
    for part in [
        "--ping-interval <TIME>",
        "[default: 25s]",
        "[env: SWITCHBOARD_PING_INTERVAL]",
        "Listeners:",
        "SIGTERM and SIGINT drain",
    ] {
        assert!(help.contains(part), "{part} is not in {help}");
    }
    assert!(
        !help.contains("password@host"),
        "secrets of the environment are not shown: {help}"
    );
}

#[test]
fn wrong_usage_ends_with_2_and_names_the_flag_or_the_variable() {
    let output = switchboard(&["serve", "--lease", "5"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        errors(&output).contains("--lease: `5` is not a duration"),
        "{}",
        errors(&output)
    );

    let output = switchboard(&["serve", "--leese", "5s"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).contains("'--lease'"), "{}", errors(&output));

    let output = switchboard(&["serve"], &[("SWITCHBOARD_LEASE", "5")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        errors(&output).contains("SWITCHBOARD_LEASE: `5` is not"),
        "{}",
        errors(&output)
    );
}

#[test]
fn a_setting_that_does_not_fit_ends_with_2_and_one_line() {
    for (arguments, variables, complaint) in [
        (
            &["--config=/nonexistent.toml"][..],
            &[][..],
            "/nonexistent.toml",
        ),
        (&["--listen=0.0.0.0:0"], &[], "--auth"),
        (&["--api=0.0.0.0:0"], &[], "--api-key-file"),
        (&["--peer=0.0.0.0:0"], &[], "unless --advertise says"),
        (&["--redis=redis://127.0.0.1"], &[], "--cluster-secret-file"),
        (
            &[],
            &[("SWITCHBOARD_LEASE_RENEWAL", "9s")],
            "SWITCHBOARD_LEASE_RENEWAL: must be",
        ),
        (
            &["--lease-renewal=8s"],
            &[("SWITCHBOARD_LEASE_RENEWAL", "9s")],
            "--lease-renewal: must be",
        ),
    ] {
        let output = switchboard(&[&["serve"], arguments].concat(), variables);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let errors = errors(&output);
        assert_eq!(errors.lines().count(), 1, "{errors}");
        assert!(
            errors.starts_with("switchboard: ") && errors.contains(complaint),
            "{errors}"
        );
        assert!(output.stdout.is_empty());
    }
}

/// H55: what is misspelt is said, in a form that a machine can read.
#[test]
fn a_misspelt_variable_is_warned_of() {
    let arguments = ["serve", "--log=json", "--listen=0.0.0.0:0"];
    let output = switchboard(
        &arguments,
        &[
            ("SWITCHBOARD_LEESE", "5s"),
            ("SWITCHBOARD_SERVICE_HOST", "10.0.0.1"),
        ],
    );
    let errors = errors(&output);
    let warning = errors.lines().next().expect("a warning");
    assert!(
        warning.starts_with('{') && warning.contains("\"level\":\"WARN\""),
        "{errors}"
    );
    assert!(
        warning.contains("did you mean SWITCHBOARD_LEASE?"),
        "{errors}"
    );
    assert!(!errors.contains("SERVICE_HOST"), "{errors}");
}

fn switchboard(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    // Variables of the machine that runs the tests are not theirs.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SWITCHBOARD_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).envs(variables.iter().copied());
    command.output().expect("the server is built")
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
