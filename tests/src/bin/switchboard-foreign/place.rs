//! What a script finds: two servers with Redis, a proxy in front of them, and a server that takes
//! tokens.

use serde_json::{Value, json};
use switchboard_tests::matrix::Fleet;
use switchboard_tests::patience::eventually;
use switchboard_tests::redis::RedisServer;
use switchboard_tests::server::Server;
use switchboard_tests::settings::Settings;

use crate::proxy::{Program, Proxy, quiet_port};

/// How often the servers ping.
#[derive(Clone, Copy)]
pub(crate) enum Heartbeat {
    /// Every second, so that several pass in a short time.
    Quick,
    /// Every 25 s, as whoever sets nothing has it.
    Default,
}

/// How terminals say who they are.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Logins {
    /// By a name in the query.
    Open,
    /// By a token.
    Tokens,
    /// By a token, also in the query. Clients of Centrifuge may do what their suites expect: at the two servers what
    /// anybody may, and at the one that takes tokens what members may do.
    OfSuites,
}

/// Servers and what belongs to them. All of it ends with this value.
pub(crate) struct Place {
    proxy: Option<Proxy>,
    servers: [Server; 2],
    fleet: Fleet,
    /// With what each of the two was started: its addresses are its own.
    settings: [Settings; 2],
    tokens: Server,
    _redis: RedisServer,
}

/// Topics of which clients of Centrifuge recover what they have missed.
const HISTORY: &str = "room:=subscribe+publish+history";

/// What the suites of centrifuge-go and centrifuge-js expect that anybody may do. The former asks for a presence that is
/// not there, and `test:` is for it what there is not; some of the topics keep so little that a client falls behind.
const OF_ANYBODY: [&str; 5] = [
    "=subscribe+publish_any+history_any+join_leave",
    "js:=subscribe+publish_any+presence_any+history_any",
    "shut:=",
    "smallhistory:=subscribe+publish_any+history_any:2",
    "test:=",
];

/// What that of centrifuge-python expects that members may do.
const OF_MEMBERS: [&str; 3] = [
    "=publish+presence+history+join_leave",
    "smallhistory:=publish+history:2",
    "test:=",
];

/// More than a client of a suite publishes in a second.
const PUBLICATIONS: i64 = 100_000;

impl Place {
    /// Starts everything and waits until the two servers know each other.
    pub(crate) fn start(
        fleet: Fleet,
        heartbeat: Heartbeat,
        program: Option<Program>,
        logins: Logins,
    ) -> Self {
        let redis = RedisServer::start();
        let listen = quiet_port();
        let any = settings(heartbeat)
            .with("drain", "2s")
            .with_file("api_key_file", API_KEY);
        let mut of_cluster = any
            .clone()
            .with("redis", redis.url())
            .with_file("cluster_secret_file", CLUSTER_SECRET);
        if program.is_some() {
            of_cluster = of_cluster
                .with("connections", CONNECTIONS)
                .with("public_url", format!("ws://{listen}/connect"));
        }
        let tokens = |settings: Settings| {
            let settings = settings.with("auth", "jwt");
            settings.with_file("jwt_secret_file", JWT_SECRET)
        };
        let mut with_tokens = tokens(any);
        match logins {
            Logins::Open => {}
            Logins::Tokens => {
                of_cluster = tokens(of_cluster).with("namespaces", vec![HISTORY.to_owned()]);
            }
            Logins::OfSuites => {
                let allowed = |entries: &[&str]| -> Vec<String> {
                    entries.iter().map(|entry| (*entry).to_owned()).collect()
                };
                of_cluster = tokens(of_cluster)
                    .with("token_in_query", true)
                    .with("topic_publications", PUBLICATIONS)
                    .with("namespaces", allowed(&OF_ANYBODY));
                with_tokens = with_tokens.with("namespaces", allowed(&OF_MEMBERS));
            }
        }
        let settings = [0, 1].map(|_| at_quiet_ports(of_cluster.clone()));
        let servers = [0, 1].map(|number| Server::start(fleet.adapter(number), &settings[number]));
        for server in &servers {
            let api = server.api().with_key(API_KEY);
            eventually("the servers know each other", || {
                let instances = api.instances();
                instances.len() == 2 && instances.iter().all(|instance| instance.state == "up")
            });
        }
        Self {
            proxy: program.map(|program| Proxy::start(program, listen, &servers)),
            servers,
            fleet,
            settings,
            tokens: Server::start(fleet.adapter(1), &with_tokens),
            _redis: redis,
        }
    }

    /// What the scripts are told, as JSON.
    pub(crate) fn describe(&self) -> Value {
        let mut tokens = server(&self.tokens);
        tokens["secret"] = json!(JWT_SECRET);
        let addresses = [(); 4].map(|()| quiet_port().to_string());
        json!({
            "servers": [server(&self.servers[0]), server(&self.servers[1])],
            "tokens": tokens,
            "proxy": self.proxy.as_ref().map(Proxy::describe),
            "key": API_KEY,
            "frame_bytes": FRAME_BYTES,
            "push_bytes": PUSH_BYTES,
            "connections": CONNECTIONS,
            "idle_seconds": IDLE_SECONDS,
            // For those who start something themselves.
            "executable": self.fleet.adapter(0).executable(),
            "addresses": addresses,
        })
    }

    /// Kills one of the two servers, if it lives, starts it again at its addresses, and gives what the scripts
    /// are told about it.
    pub(crate) fn restart(&mut self, number: usize) -> Value {
        self.servers[number].sigkill();
        let adapter = self.fleet.adapter(number);
        self.servers[number] = Server::start(adapter, &self.settings[number]);
        server(&self.servers[number])
    }

    /// Prints what servers and proxy have logged.
    pub(crate) fn show_logs(&self) {
        for server in self.servers.iter().chain([&self.tokens]) {
            println!(
                "--- log of the server at {}\n{}",
                server.terminals(),
                server.log()
            );
        }
        if let Some(proxy) = &self.proxy {
            println!("--- log of the proxy\n{}", proxy.log());
        }
    }
}

const API_KEY: &str = "a key of these test servers";
const CLUSTER_SECRET: &str = "a secret of these test servers";
const JWT_SECRET: &str = "a secret of at least thirty-two bytes";

/// The documented default of `--frame-bytes`.
const FRAME_BYTES: usize = 64 << 10;

/// The documented default of `--push-bytes`.
const PUSH_BYTES: usize = 1 << 20;

/// How many terminals each of two servers behind a proxy takes: few, so that a script can fill one.
const CONNECTIONS: i64 = 50;

/// Longer than any timeout of `deploy/` and of nginx's defaults (60 s) for a silent upstream, and than
/// two heartbeats of the default 25 s with their jitter.
const IDLE_SECONDS: u64 = 75;

/// The defaults, but for ports and workers: nothing here is about leases, and a busy machine may be slow.
fn settings(heartbeat: Heartbeat) -> Settings {
    let hurried = [
        "lease",
        "lease_renewal",
        "view_interval",
        "directory_timeout",
    ];
    let settings = hurried
        .iter()
        .fold(Settings::for_tests(), |settings, name| {
            settings.without(name)
        });
    match heartbeat {
        Heartbeat::Quick => settings
            .with("ping_interval", "1s")
            .with("ping_timeout", "5s"),
        Heartbeat::Default => settings,
    }
}

/// With addresses that nobody else gets while the server is down.
fn at_quiet_ports(settings: Settings) -> Settings {
    let listeners = ["listen", "api", "peer"];
    listeners.iter().fold(settings, |settings, name| {
        settings.with(name, quiet_port().to_string())
    })
}

fn server(server: &Server) -> Value {
    json!({
        "terminals": format!("ws://{}/connect", server.terminals()),
        "api": format!("http://{}", server.api().address()),
        "pid": server.pid(),
    })
}
