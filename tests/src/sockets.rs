//! What the kernel says of processes and their sockets (Linux).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::TcpStream;
use std::time::Duration;

use socket2::SockRef;

/// TCP connections of this machine with this local port, in whatever state but listening: also
/// those that have ended a short time ago.
///
/// The kernel lists its sockets piece by piece. What begins or ends meanwhile, wherever on the machine, can have a
/// line skipped or listed twice: so the list is read several times, and each connection counts once.
pub fn connections_at(port: u16) -> usize {
    const LISTENING: &str = "0A";
    const READINGS: usize = 3;
    let local = format!(":{port:04X}");
    let mut connections = BTreeSet::new();
    for _ in 0..READINGS {
        let table = fs::read_to_string("/proc/net/tcp").expect("Linux lists its sockets");
        for line in table.lines().skip(1) {
            let fields: Vec<_> = line.split_whitespace().collect();
            if fields[1].ends_with(&local) && fields[3] != LISTENING {
                connections.insert((fields[1].to_owned(), fields[2].to_owned()));
            }
        }
    }
    connections.len()
}

/// Open descriptors of a process.
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Resident memory of a process in bytes.
pub fn resident(pid: u32) -> u64 {
    const PAGE: u64 = 4096;
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages = text
        .split_whitespace()
        .nth(1)
        .and_then(|p| p.parse::<u64>().ok());
    pages.unwrap_or_default() * PAGE
}

/// Processor time of a process, user and system.
pub fn processor_time(pid: u32) -> Duration {
    const TICKS_PER_SECOND: u64 = 100;
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The second field is the name in parentheses and may hold spaces.
    let after_name = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}

/// Whether all threads of a process are stopped by a signal.
pub fn is_stopped(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("the process lives");
    threads.flatten().all(|thread| {
        let text = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // The state stands behind the name, which is in parentheses and may hold spaces.
        let state = text
            .rsplit_once(") ")
            .map(|(_, rest)| rest.starts_with('T'));
        state.unwrap_or(false)
    })
}

/// Ends a connection with a reset, as a crash or a pulled cable followed by a reboot does.
///
/// # Errors
///
/// If the socket is broken already.
pub fn reset(stream: TcpStream) -> io::Result<()> {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    drop(stream);
    Ok(())
}
