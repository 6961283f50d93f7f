//! Redis behind a Sentinel that replaces the primary when it is gone.

use switchboard_tests::patience::eventually;
use switchboard_tests::redis::RedisServer;
use switchboard_tests::sentinel::Sentinel;
use switchboard_tests::server::{Options, Server};

/// H38, H39: terminals stay, and are reachable through the new primary.
#[test]
fn a_failover_keeps_every_terminal_reachable() {
    let mut primary = RedisServer::start_with(&["--repl-diskless-sync-delay", "0"]);
    let port = primary.port().to_string();
    let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &port]);
    let sentinel = Sentinel::start(primary.port());
    eventually("the Sentinel knows the replica", || {
        sentinel.replicas() == 1
    });
    let options = Options::for_tests()
        .with("--redis", sentinel.url())
        .environment(
            "SWITCHBOARD_CLUSTER_SECRET",
            "a secret of at least sixteen bytes",
        );
    let servers = [Server::start(&options), Server::start(&options)];
    eventually("they are one cluster", || {
        servers.iter().all(|s| s.api().instances().len() == 2)
    });
    let terminal = servers[0].terminal("ann").follow();

    primary.stop();

    eventually("the replica has become the primary", || {
        let role = replica.try_command::<Vec<redis::Value>>(&["ROLE"]);
        role.is_ok_and(|role| role.first() == Some(&redis::Value::BulkString(b"master".to_vec())))
    });
    for server in &servers {
        eventually("a push reaches it without a doubt", || {
            let receipt = server.api().push("ann", "after the failover");
            receipt.outcome(terminal.uuid) == Some("written") && !receipt.degraded
        });
    }
    let rows: Vec<String> = replica.command(&["KEYS", "sb:u:*"]);
    assert_eq!(rows, ["sb:u:ann"]);
    assert_eq!(terminal.ending(), None);
}
