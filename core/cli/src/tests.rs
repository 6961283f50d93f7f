//! The settings, all three ways.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Arg, CommandFactory, FromArgMatches};
use switchboard_core::settings::{Choice, Setting, Unit};
use switchboard_driver::{AuthKind, DirectoryChoice};
use toml::Value;

use crate::assemble::{Parts, Secret, assemble};
use crate::catalogue::{self, HEADINGS};
use crate::complaints::Complaints;
use crate::load::{self, Loaded};
use crate::tokens::Fetching;
use crate::{Cli, Command, command, sample, values};

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
    command().debug_assert();
}

/// A row in one of the tables is all that a setting needs.
#[test]
fn every_row_is_a_flag_and_a_variable_and_its_default_is_told() {
    let command = command();
    let serve = command.find_subcommand("serve").expect("a command");
    let mut flags: BTreeSet<_> = serve
        .get_arguments()
        .map(|arg| arg.get_id().as_str())
        .collect();
    for setting in catalogue::settings() {
        let name = setting.name;
        assert!(
            flags.remove(name),
            "{name} is in two tables, or has no flag"
        );
        let is_it = |arg: &&Arg| arg.get_id() == name;
        let arg = serve.get_arguments().find(is_it).expect("a flag");
        let long = arg.get_long().map(|long| format!("--{long}"));
        assert_eq!(long, Some(catalogue::flag(name)));
        let variable = arg
            .get_env()
            .map(|name| name.to_string_lossy().into_owned());
        assert_eq!(variable, Some(catalogue::variable(name)));
        assert_eq!(arg.get_help_heading(), Some(setting.group));
        assert!(
            HEADINGS.contains(&setting.group),
            "{name}: {}",
            setting.group
        );
        let behind = setting
            .behind
            .is_none_or(|behind| catalogue::setting(behind).is_some());
        assert!(behind, "{name} is listed behind what is no setting");
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        assert!(
            help.starts_with(catalogue::sentence(setting.help)),
            "{help}"
        );
        let default = catalogue::defaults()
            .get(name)
            .and_then(|value| match value {
                Value::Integer(number) if setting.unit != Unit::Bytes => Some(number.to_string()),
                Value::String(text) => Some(text.clone()),
                _ => None,
            });
        if let Some(default) = default {
            let told = format!(" [default: {default}]");
            assert!(help.ends_with(&told), "{name}: {help}");
        }
    }
    flags.remove("config");
    assert_eq!(flags, BTreeSet::new(), "flags that are no settings");
}

/// Whatever table they are in.
#[test]
fn settings_that_belong_together_are_listed_one_after_the_other() {
    let names = catalogue::names();
    for listed in [
        &["listen", "api", "peer", "advertise", "name", "workers"][..],
        &["redis", "prefix", "partitions", "cluster_secret_file"],
        &[
            "connections_per_user",
            "frame_bytes",
            "header_bytes",
            "queue_bytes",
        ],
    ] {
        let found = names.windows(listed.len()).any(|names| names == listed);
        assert!(found, "{listed:?} in {names:?}");
    }
}

#[test]
fn every_setting_means_the_same_as_a_flag_and_in_the_file() {
    for setting in catalogue::settings() {
        let (sample, setting) = (another_value(setting), setting.name);
        let value = match &sample {
            Value::String(text) => text.clone(),
            Value::Array(items) => items
                .iter()
                .filter_map(|item| item.as_str())
                .collect::<Vec<_>>()
                .join(","),
            other => other.to_string(),
        };
        let flag = format!("{}={value}", catalogue::flag(setting));
        let by_flag = load(&[&flag], None).unwrap_or_else(|error| panic!("{flag}: {error}"));
        let file = File::with(setting, &format!("{setting} = {sample}\n"));
        let by_file = load(&[], Some(&file.0)).unwrap_or_else(|error| panic!("{setting}: {error}"));
        let read = by_flag.tables.values();
        assert_eq!(read, by_file.tables.values(), "{setting}");
        assert_ne!(read, catalogue::defaults(), "{setting} changes nothing");
    }
}

#[test]
fn the_sample_file_has_every_setting_and_says_the_defaults() {
    let sample = sample::file();
    assert_eq!(
        sample.parse(),
        Ok(toml::Table::new()),
        "all is commented out"
    );
    assert!(sample.lines().all(|line| line.chars().count() <= 100));

    let is_setting =
        |line: &&str| line.starts_with('#') && !line.starts_with("# ") && !line.starts_with("##");
    let all: String = sample
        .lines()
        .filter(is_setting)
        .map(|line| format!("{}\n", &line[1..]))
        .collect();
    let table: toml::Table = all.parse().unwrap_or_else(|error| panic!("{error}: {all}"));
    let settings: BTreeSet<_> = catalogue::names().into_iter().collect();
    let named: BTreeSet<_> = table.keys().map(String::as_str).collect();
    assert_eq!(named, settings);

    let mut examples = catalogue::settings();
    examples.retain(|setting| setting.example.is_some());
    for Setting { name, .. } in &examples {
        assert!(
            !catalogue::defaults().contains_key(*name),
            "{name} has a default"
        );
    }
    // Without the examples it is a file that changes nothing.
    let defaults: String = all
        .lines()
        .filter(|line| {
            !examples
                .iter()
                .any(|setting| line.starts_with(&format!("{} =", setting.name)))
        })
        .map(|line| format!("{line}\n"))
        .collect();
    let file = File::with("sample", &defaults);
    let loaded = load(&[], Some(&file.0)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(loaded.tables.values(), catalogue::defaults());
    // And with them each is one that can be.
    let file = File::with("examples", &all);
    load(&[], Some(&file.0)).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_flag_goes_before_the_file_and_the_file_before_the_default() {
    let file = File::with("precedence", "drain = \"1m\"\ndrain_delay = \"5s\"\n");
    let loaded = load(&["--drain=30s"], Some(&file.0)).expect("good settings");
    assert_eq!(loaded.tables.server.drain.as_secs(), 30);
    assert_eq!(loaded.tables.server.drain_delay.as_secs(), 5);
    assert_eq!(
        loaded.tables.process.listen.map(|address| address.port()),
        Some(8080)
    );
    assert_eq!(loaded.origins.place("drain"), "--drain");
    assert!(
        loaded
            .origins
            .place("drain_delay")
            .ends_with("line 2: `drain_delay`")
    );
    assert!(!loaded.origins.is_given("listen"));
}

#[test]
fn what_is_wrong_in_the_file_is_named_with_its_line() {
    for (content, complaint) in [
        (
            "drain = \"1m\"\n\nping_intervall = \"5s\"\n",
            "line 3: there is no setting `ping_intervall`: did you mean `ping_interval`?",
        ),
        (
            "push-bytes = 1\n",
            "line 1: there is no setting `push-bytes`: did you mean `push_bytes`?",
        ),
        (
            "[instance]\nlease = \"5s\"\n",
            "line 1: there is no setting `instance`",
        ),
        (
            "# lease\nlease = 10\n",
            "line 2: `lease`: `10` is not a duration: write a whole number and ms, s, m or h, as in 500ms or 10s",
        ),
        (
            "lease = \"10\"\n",
            "line 1: `lease`: `10` is not a duration",
        ),
        (
            "listen = \"nowhere\"\n",
            "line 1: `listen`: `nowhere` is not an address: write an IP address and a port, as in 127.0.0.1:8080",
        ),
        (
            "listen = 8080\n",
            "line 1: `listen`: `8080` is not an address",
        ),
        (
            "connections = -1\n",
            "line 1: `connections`: `-1` is not a number: write a whole one, as in 1000",
        ),
        (
            "connections = 1.5\n",
            "line 1: `connections`: `1.5` is not a number",
        ),
        (
            "connections = 99999999999\n",
            "line 1: `connections`: `99999999999` is too large",
        ),
        (
            "connections = 99999999999999999999\n",
            "line 1: `connections`: ",
        ),
        (
            "connections = [1]\n",
            "line 1: `connections`: a list stands here, and one value is needed",
        ),
        (
            "queue_bytes = \"4MB\"\n",
            "line 1: `queue_bytes`: `4MB` is not a size: write a whole number of bytes, or of KiB, MiB or GiB",
        ),
        (
            "auth = \"closed\"\n",
            "line 1: `auth`: `closed` is none of open, jwt",
        ),
        ("auth = \"\"\n", "line 1: `auth`: a value is missing"),
        (
            "token_in_query = \"maybe\"\n",
            "line 1: `token_in_query`: `maybe` is neither true nor false",
        ),
        (
            "origins = [[\"a\"]]\n",
            "line 1: `origins`: a list stands in a list",
        ),
        (
            "redis = {url = \"redis://a\"}\n",
            "line 1: `redis`: a table stands here, and a value is needed",
        ),
        ("lease = \n", "line 1: "),
    ] {
        let file = File::with("wrong", content);
        let error = load(&[], Some(&file.0)).expect_err(content).to_string();
        assert!(error.contains(complaint), "{content:?} gave {error:?}");
    }
}

/// A file says as much as a flag does.
#[test]
fn a_value_in_the_file_is_complained_about_as_that_of_a_flag() {
    for setting in catalogue::settings() {
        let by_flag = values::read(setting, "?");
        let by_file = values::read_toml(setting, &"?".into());
        assert_eq!(by_flag, by_file, "{}", setting.name);
    }
}

#[test]
fn units_and_lists_may_be_written_as_text() {
    let file = File::with(
        "text",
        "queue_bytes = \"8MiB\"\nlinks = \"7\"\norigins = \"a.example,b.example\"\njwt_audience = [\"a,b\"]\n",
    );
    let loaded = load(&["--push-bytes=64KiB"], Some(&file.0)).expect("good settings");
    assert_eq!(loaded.tables.core.queue_bytes, 8 << 20);
    assert_eq!(loaded.tables.core.push_bytes, 64 << 10);
    assert_eq!(loaded.tables.core.links, 7);
    assert_eq!(loaded.tables.process.origins, ["a.example", "b.example"]);
    assert_eq!(loaded.tables.tokens.jwt_audience, ["a,b"]);
    assert!(
        load(&[], Some(&File::with("none", "origins = []\n").0))
            .expect("a good setting")
            .tables
            .process
            .origins
            .is_empty()
    );
}

#[test]
fn everything_that_is_wrong_in_the_file_is_named_at_once() {
    let file = File::with(
        "all",
        "lease = 10\nleese = 1\nauth = \nlinks = \"many\"\nlisten = \"here\"\n",
    );
    let error = load(&[], Some(&file.0)).expect_err("wrong").to_string();
    assert!(error.starts_with("5 settings cannot be used:\n"), "{error}");
    for line in 1..=5 {
        let named = format!(", line {line}: ");
        assert_eq!(error.matches(&named).count(), 1, "{error}");
    }
}

#[test]
fn everything_that_does_not_fit_together_is_named_at_once() {
    let error = refusal(&[
        "--lease-renewal=9s",
        "--listen=0.0.0.0:0",
        "--api=0.0.0.0:0",
        "--peer=0.0.0.0:0",
        "--redis=http://a",
        "--origins=https://*",
        "--api-hosts=http://a",
        "--public-url=nowhere",
        "--frame-bytes=1",
        "--cluster-secret-file=/nonexistent",
    ]);
    assert!(
        error.starts_with("10 settings cannot be used:\n"),
        "{error}"
    );
    for flag in [
        "--lease-renewal: ",
        "--listen: ",
        "--api: ",
        "--peer: ",
        "--redis: ",
        "--origins: ",
        "--api-hosts: ",
        "--public-url: ",
        "--frame-bytes: ",
        "--cluster-secret-file: ",
    ] {
        let named = format!("\n  {flag}");
        assert_eq!(error.matches(&named).count(), 1, "{flag} in {error}");
    }
}

#[test]
fn settings_that_do_not_fit_together_are_named_where_they_were_set() {
    let error = refusal(&["--lease-renewal=9s"]);
    assert!(error.starts_with("--lease-renewal: must be"), "{error}");
    let error = refusal(&["--lease=2s", "--directory-timeout=500ms"]);
    assert!(
        error.starts_with("--lease-renewal (not given: 3s): must be"),
        "{error}"
    );
}

/// H03, H04: what others can reach has a check that somebody chose.
#[test]
fn off_loopback_nothing_is_open_unless_chosen() {
    let error = refusal(&["--listen=0.0.0.0:0"]);
    assert!(
        error.contains("--auth open to believe every name"),
        "{error}"
    );
    let parts = accepted(&["--listen=0.0.0.0:0", "--auth=open"]);
    assert_eq!(parts.authenticator.kind(), AuthKind::Open);
    assert_eq!(
        accepted(&["--listen=127.0.0.1:0"]).authenticator.kind(),
        AuthKind::Open
    );

    let error = refusal(&["--api=[::]:0"]);
    assert!(error.contains("--api-key-file"), "{error}");
    let keys = File::with("keys", "0123456789abcdef\n");
    let parts = accepted(&[
        "--api=[::]:0",
        &format!("--api-key-file={}", keys.0.display()),
    ]);
    assert_eq!(parts.api.api_keys, ["0123456789abcdef"]);
}

/// H34, H35: an address that nobody can dial is not handed out.
#[test]
fn an_unspecified_address_is_not_advertised() {
    for arguments in [
        &["--peer=0.0.0.0:0"][..],
        &["--peer=[::]:7000"],
        &["--advertise=0.0.0.0:7000"],
        &["--advertise=[::]:7000"],
        &["--advertise=[::0]:7000"],
        &["--advertise=0.0.0.0"],
        &["--advertise=example.com"],
        &["--advertise=example.com:0"],
    ] {
        let error = refusal(arguments);
        assert!(
            error.contains("unspecified address"),
            "{arguments:?}: {error}"
        );
    }
    let parts = accepted(&["--peer=0.0.0.0:0", "--advertise=example.com:7000"]);
    assert_eq!(
        parts.settings.process.advertise.as_deref(),
        Some("example.com:7000")
    );
}

#[test]
fn redis_needs_a_cluster_secret_from_one_place() {
    let redis = "--redis=redis://127.0.0.1:6379";
    assert!(refusal(&[redis]).contains("SWITCHBOARD_CLUSTER_SECRET"));

    let file = File::with("cluster", "a secret of the cluster\n");
    let by_file = format!("--cluster-secret-file={}", file.0.display());
    let parts = accepted(&[redis, &by_file]);
    assert!(matches!(
        parts.settings.directory,
        DirectoryChoice::Redis(_)
    ));

    let variable = |_: &str| Some("a secret of the cluster".to_owned());
    let loaded = load(&[redis], None).expect("good settings");
    let by_variable = assemble(loaded, Secret::Read(variable), Fetching::Begun)
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        by_variable.settings.cluster_secret,
        parts.settings.cluster_secret
    );

    let loaded = load(&[redis, &by_file], None).expect("good settings");
    assert!(assemble(loaded, Secret::Read(variable), Fetching::Begun).is_err());
    let loaded = load(&[redis], None).expect("good settings");
    assert!(
        assemble(
            loaded,
            Secret::Read(|_: &str| Some("short".to_owned())),
            Fetching::Begun
        )
        .is_err()
    );
}

/// H06: tokens expire unless somebody chose that they need not; and the key is one.
#[test]
fn tokens_need_exactly_one_key() {
    let file = File::with("jwt", "a secret for tokens, long enough for any use\n");
    let secret = format!("--jwt-secret-file={}", file.0.display());
    assert_eq!(
        accepted(&["--auth=jwt", &secret]).authenticator.kind(),
        AuthKind::Jwt
    );
    assert!(refusal(&["--auth=jwt"]).contains("--jwt-secret-file"));
    assert!(refusal(&[&secret]).contains("add --auth jwt"));
    assert!(refusal(&["--auth=open", &secret]).contains("does nothing"));
    assert!(refusal(&["--auth=open", "--token-in-query"]).contains("does nothing"));
    assert!(refusal(&["--auth=jwt", &secret, "--jwt-public-key-file=key.pem"]).contains("exclude"));
    let missing = refusal(&["--auth=jwt", "--jwt-public-key-file=/nonexistent.pem"]);
    assert!(
        missing.starts_with("--jwt-public-key-file: /nonexistent.pem"),
        "{missing}"
    );
}

fn load(arguments: &[&str], file: Option<&Path>) -> Result<Loaded, Complaints> {
    let all = ["switchboard", "serve"].iter().chain(arguments);
    // Variables of the machine that runs the tests are not theirs.
    let command =
        command().mut_subcommand("serve", |serve| serve.mut_args(|arg| arg.env(None::<&str>)));
    let matches = command
        .try_get_matches_from(all)
        .unwrap_or_else(|error| panic!("{error}"));
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| panic!("{error}"));
    let Command::Serve(mut serve) = cli.command else {
        panic!("not serve");
    };
    serve.config = file.map(Path::to_owned);
    let matches = matches.subcommand_matches("serve").expect("it was given");
    load::load(&serve, matches)
}

fn assembled(arguments: &[&str]) -> Result<Parts, Complaints> {
    let loaded = load(arguments, None).unwrap_or_else(|error| panic!("{error}"));
    assemble(loaded, Secret::Read(|_: &str| None), Fetching::Begun)
}

fn accepted(arguments: &[&str]) -> Parts {
    assembled(arguments).unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
}

fn refusal(arguments: &[&str]) -> String {
    match assembled(arguments) {
        Ok(_) => panic!("{arguments:?} was accepted"),
        Err(error) => error.to_string(),
    }
}

/// A value that is not the default.
fn another_value(setting: &Setting) -> Value {
    let default = catalogue::defaults().remove(setting.name);
    match (setting.unit, default) {
        (Unit::Bytes | Unit::Count, Some(Value::Integer(number))) => (number + 1).into(),
        (Unit::Switch, Some(Value::Boolean(value))) => (!value).into(),
        (Unit::Time, _) => "77m".into(),
        (Unit::Address, _) => "127.0.0.2:7000".into(),
        (Unit::File | Unit::Text(_), _) => "another:7000".into(),
        (Unit::List, _) => Value::Array(vec!["one".into(), "two".into()]),
        (Unit::OneOf(_, choices), default) => {
            let another = |choice: &&Choice| default != Some(choice.word.into());
            choices.iter().find(another).expect("a choice").word.into()
        }
        (unit, default) => panic!("{unit:?} cannot be {default:?}"),
    }
}

/// A file that is removed when dropped.
struct File(PathBuf);

impl File {
    fn with(name: &str, content: &str) -> Self {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or_default().replace("::", "-");
        let name = format!("switchboard-{}-{test}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, content).expect("the folder for temporary files can be written");
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
