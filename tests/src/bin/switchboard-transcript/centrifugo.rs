//! Centrifugo as a process, configured as the server of the behaviour is.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command};

use serde_json::{Value, json};
use switchboard_tests::api::{Api, json_post};
use switchboard_tests::centrifuge::player::{Application, SECRET};
use switchboard_tests::patience::eventually;
use tempfile::TempDir;

/// A running Centrifugo. It is killed when it goes out of scope.
pub(crate) struct Centrifugo {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

const KEY: &str = "a key of this comparison";

impl Centrifugo {
    pub(crate) fn start(executable: &Path) -> Self {
        let folder = TempDir::with_prefix("centrifugo-").expect("a temporary folder");
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.expect("there is a free port");
        let file = folder.path().join("config.json");
        fs::write(&file, configuration(address).to_string()).expect("the folder is writable");
        let log = File::create(folder.path().join("log")).expect("the folder is writable");
        let child = Command::new(executable)
            .arg("--config")
            .arg(&file)
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .spawn()
            .expect("Centrifugo can be executed");
        let server = Self {
            child,
            address,
            _folder: folder,
        };
        eventually("Centrifugo listens", || {
            std::net::TcpStream::connect(address).is_ok()
        });
        server
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    fn call(&self, method: &str, body: &Value) {
        let request = json_post(&format!("/api/{method}"), body).header("X-API-Key", KEY);
        let answer = Api::new(self.address).send(request);
        assert!(answer.json()["error"].is_null(), "{}", answer.text());
    }
}

impl Application for Centrifugo {
    fn push(&self, channel: &str, data: &Value) {
        self.call("publish", &json!({"channel": channel, "data": data}));
    }

    fn kick(&self, user: &str) {
        self.call("disconnect", &json!({"user": user}));
    }

    fn remove(&self, channel: &str, user: &str) {
        self.call("unsubscribe", &json!({"channel": channel, "user": user}));
    }
}

impl Drop for Centrifugo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What clients may do is the same as there: `NAMESPACES` of the behaviour.
fn configuration(address: SocketAddr) -> Value {
    let kept = json!({"history_size": 100, "history_ttl": "600s", "force_recovery": true, "force_positioning": true,
        "allow_history_for_subscriber": true});
    let with = |base: &Value, more: Value| {
        let mut options = base.clone();
        for (name, value) in more.as_object().into_iter().flatten() {
            options[name] = value.clone();
        }
        options
    };
    let subscribe = json!({"allow_subscribe_for_client": true});
    let namespaces = [
        with(
            &subscribe,
            json!({"name": "chat", "allow_publish_for_subscriber": true, "presence": true,
            "allow_presence_for_subscriber": true}),
        ),
        with(
            &kept,
            json!({"name": "room", "allow_subscribe_for_client": true, "allow_publish_for_subscriber": true}),
        ),
        with(&subscribe, json!({"name": "news"})),
        with(
            &subscribe,
            json!({"name": "hall", "join_leave": true, "force_push_join_leave": true}),
        ),
        json!({"name": "shut"}),
    ];
    json!({
        "http_server": {"address": address.ip().to_string(), "port": address.port()},
        "http_api": {"key": KEY},
        "client": {
            "allowed_origins": ["*"],
            "token": {"hmac_secret_key": String::from_utf8_lossy(SECRET)},
            "subscribe_to_user_personal_channel": {"enabled": true},
        },
        "channel": {
            // What the channel of a user allows.
            "without_namespace": with(&kept, json!({"presence": true, "allow_presence_for_subscriber": true,
                "allow_user_limited_channels": true})),
            "namespaces": namespaces,
        },
        "usage_stats": {"disabled": true},
    })
}
