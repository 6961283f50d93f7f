//! `switchboard demo`: two servers in one process, on one embedded directory.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use switchboard_driver::directory::EmbeddedDirectory;
use switchboard_driver::runtime::{Runtime, race};
use switchboard_driver::{DirectoryChoice, Server, Settings};
use switchboard_http::ApiSettings;
use switchboard_http::auth::Open;

use crate::assemble::Parts;
use crate::failure::Failure;
use crate::origins::Origins;
use crate::output::say;
use crate::serve;
use crate::signals::Signal;
use crate::stop::Stop;

/// Ports of the two servers, for terminals and for the API, if they are free.
const PORTS: [(u16, u16); 2] = [(8080, 8081), (8090, 8091)];

/// Nobody waits for the end of a demo.
const SPREAD: Duration = Duration::from_millis(500);

/// Runs two servers until a signal comes, also the one that says that its window was closed.
pub(crate) async fn run<R: Runtime>() -> Result<ExitCode, Failure> {
    let signals = serve::listen_for_signals()?;
    let directory = EmbeddedDirectory::default();
    let [first, second] = PORTS;
    let servers = vec![
        start::<R>(first, &directory).await?,
        start::<R>(second, &directory).await?,
    ];
    let asked = serve::until_signal::<R>(&servers, &signals, || print_how_to_try_it(&servers));
    let left = async {
        signals.hangup().await;
        Ok(Signal::HangUp)
    };
    let signal = race(asked, left).await?;
    let stop = Stop::new(Duration::ZERO, SPREAD, &Settings::default().core);
    serve::drain::<R>(servers, stop, signal, signals).await
}

/// Starts a server at these ports, or at any others if one of them is taken.
async fn start<R: Runtime>(
    ports: (u16, u16),
    directory: &EmbeddedDirectory,
) -> Result<Server, Failure> {
    let started = match serve::start::<R>(parts(ports, directory)).await {
        Err(Failure::Start(_)) => serve::start::<R>(parts((0, 0), directory)).await,
        started => started,
    };
    started.map(|(server, _)| server)
}

fn parts((terminals, api): (u16, u16), directory: &EmbeddedDirectory) -> Parts {
    let near = |port| Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let mut settings = Settings {
        directory: DirectoryChoice::Embedded(directory.clone()),
        ..Settings::default()
    };
    settings.process.listen = near(terminals);
    settings.process.api = near(api);
    Parts {
        settings,
        api: ApiSettings::default(),
        authenticator: Arc::new(Open),
        jwt: None,
        origins: Origins::default(),
    }
}

fn print_how_to_try_it(servers: &[Server]) {
    let apis: Vec<_> = servers.iter().filter_map(Server::api_addr).collect();
    let terminals: Vec<_> = servers.iter().filter_map(Server::terminals_addr).collect();
    let (&[api, other_api], &[here, there]) = (apis.as_slice(), terminals.as_slice()) else {
        unreachable!("both servers have both listeners: the settings say so");
    };
    say(&format!(
        "Two servers that share a directory. Connect as ann, at either:

  http://{api}/
  http://{other_api}/

or with a WebSocket client: ws://{here}/connect?user=ann, ws://{there}/connect?user=ann

Then push through either; every terminal of ann gets it, wherever it is:

  curl -d 'Hello through the first' http://{api}/v1/users/ann/push
  curl -d 'Hello through the second' http://{other_api}/v1/users/ann/push

A topic has members at either. Make all connections of ann members, present and to come, and push to it:

  curl -X PUT http://{api}/v1/topics/news/users/ann
  curl -d 'Hello members' http://{other_api}/v1/topics/news/push
  curl http://{api}/v1/topics/news/members

A durable push is kept for terminals that are away. Tick \"Follow the log\" on a page, connect, cut the connection,
push durably, and see the terminal come back with what it missed. Or read the log without a terminal:

  curl -d 'Hello later' 'http://{api}/v1/users/ann/push?durable=true'
  curl http://{other_api}/v1/users/ann/log

Ctrl-C ends it."
    ));
}
