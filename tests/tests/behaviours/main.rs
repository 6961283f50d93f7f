//! All behaviours of the server, each tried in the cells of the matrix in which it applies.

mod acks;
mod api_errors;
mod centrifuge;
mod centrifuge_logs;
mod centrifugo;
mod chaos;
mod check;
mod command_line;
mod commands;
mod connections;
mod crash;
mod crowded;
mod drain;
mod durable;
mod emulation;
mod failover;
mod half_closed;
mod handshake;
mod hostile_terminals;
mod key_sets;
mod kick;
mod layout;
mod limits;
mod links;
mod log;
mod old_redis;
mod operations;
mod push;
mod read_log;
mod receipts;
mod redis_away;
mod reload;
mod slow_terminals;
mod tokens;
mod topic_logs;
mod topics;
mod traffic;
mod users;
mod workers;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Those that take longest come first, so that none of them is left alone at the end.
    switchboard_tests::suite::main(&[
        chaos::LIST,
        redis_away::LIST,
        emulation::LIST,
        failover::LIST,
        slow_terminals::LIST,
        crash::LIST,
        drain::LIST,
        durable::LIST,
        acks::LIST,
        centrifuge::LIST,
        centrifuge_logs::LIST,
        centrifugo::LIST,
        connections::LIST,
        workers::LIST,
        links::LIST,
        log::LIST,
        crowded::LIST,
        receipts::LIST,
        push::LIST,
        read_log::LIST,
        kick::LIST,
        old_redis::LIST,
        layout::LIST,
        tokens::LIST,
        topics::LIST,
        topic_logs::LIST,
        users::LIST,
        api_errors::LIST,
        operations::LIST,
        command_line::LIST,
        check::LIST,
        commands::LIST,
        reload::LIST,
        key_sets::LIST,
        half_closed::LIST,
        handshake::LIST,
        limits::LIST,
        hostile_terminals::LIST,
    ])
}
