//! `switchboard token`: a token as terminals need it, without an identity provider.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::{Arg, ArgMatches, Args};
use jsonwebtoken::{EncodingKey, Header};
use serde::Serialize;
use switchboard_core::config::duration;
use switchboard_core::id::{InvalidTopic, InvalidUser, UserId};
use switchboard_core::topic::TopicPattern;
use switchboard_http::auth::{Expiry, Jwt, JwtKey, JwtSettings, QueryToken};

use crate::complaints::Complaints;
use crate::failure::Failure;
use crate::load::{self, Loaded};
use crate::options::Serve;
use crate::output::say;
use crate::{catalogue, secrets};

/// The flags of `switchboard token`.
#[derive(Args, Debug)]
pub(crate) struct Token {
    /// Whom the terminal belongs to: the token's `sub`
    #[arg(value_parser = user)]
    user: UserId,
    /// How long it is good
    #[arg(long, value_name = "TIME", value_parser = duration::parse, default_value = "1h")]
    expires_in: Duration,
    /// Topics that the terminal joins, and beginnings with a `*` of those that it may join: the token's
    /// `topics`
    #[arg(long, value_name = "TOPIC,...", value_delimiter = ',', value_parser = topic)]
    topics: Vec<String>,
    #[command(flatten)]
    serve: Serve,
}

/// Settings that decide which tokens a server takes, and are shown in the help. The others are taken as
/// well, so that one settings file and one environment do for all.
const ABOUT_TOKENS: [&str; 3] = ["jwt_secret_file", "jwt_audience", "jwt_issuer"];

/// Leaves out of the help what says nothing of tokens.
pub(crate) fn hide_what_is_not_about_tokens(arg: Arg) -> Arg {
    let setting = arg.get_id().as_str();
    let is_setting = catalogue::setting(setting).is_some();
    let hide = is_setting && !ABOUT_TOKENS.contains(&setting);
    arg.hide(hide)
}

/// Prints a token.
pub(crate) fn print(token: &Token, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let Loaded { tables, origins } = load::load(&token.serve, matches)?;
    let tokens = &tables.tokens;
    let Some(path) = &tokens.jwt_secret_file else {
        return Err(wrong(
            "a token needs the secret that the server knows: name its file with --jwt-secret-file. \
             Tokens for a public key are signed by whoever has the private one"
                .to_owned(),
        ));
    };
    let place = || origins.place("jwt_secret_file");
    let complain = |error: String| wrong(format!("{}: {error}", place()));
    let secret = secrets::read(path).map_err(|error| complain(error.to_string()))?;
    check(&secret).map_err(&complain)?;
    let expires = SystemTime::now() + token.expires_in;
    let claims = Claims {
        sub: token.user.as_str(),
        exp: seconds(expires),
        topics: &token.topics,
        aud: tokens.jwt_audience.first(),
        iss: tokens.jwt_issuer.first(),
    };
    let key = EncodingKey::from_secret(&secret);
    let token = jsonwebtoken::encode(&Header::default(), &claims, &key)
        .map_err(|error| complain(error.to_string()))?;
    say(&token);
    Ok(ExitCode::SUCCESS)
}

/// What a token says.
#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    exp: u64,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    topics: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a String>,
}

fn wrong(complaint: String) -> Failure {
    let mut complaints = Complaints::default();
    complaints.add(complaint);
    Failure::Settings(complaints)
}

/// Whether a server would take the secret.
fn check(secret: &[u8]) -> Result<(), String> {
    let settings = JwtSettings {
        key: JwtKey::Secret(secret.to_vec()),
        audience: Vec::new(),
        issuer: Vec::new(),
        expiry: Expiry::Required,
        query_token: QueryToken::Ignored,
    };
    Jwt::new(&settings)
        .map(drop)
        .map_err(|error| error.to_string())
}

fn seconds(moment: SystemTime) -> u64 {
    let since = moment.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn topic(text: &str) -> Result<String, InvalidTopic> {
    let _: TopicPattern = text.parse()?;
    Ok(text.to_owned())
}

fn user(text: &str) -> Result<UserId, InvalidUser> {
    UserId::new(text)
}
