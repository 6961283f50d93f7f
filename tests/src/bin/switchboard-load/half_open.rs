//! Handshakes that never get on: what each costs, and what is left of it.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use switchboard_tests::sockets::{connections_at, resident};

/// How much of a request has come when nothing more does.
const BEGUN: &[u8] = b"GET /connect?user=ann HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: nobody\r\n";

/// How long memory is left alone before it is read.
const STILL: Duration = Duration::from_millis(500);

/// Opens so many connections, says half a head on each, and prints what a server's memory does.
pub(crate) fn measure(server: SocketAddr, count: usize, pid: u32) -> io::Result<()> {
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let before = resident(pid);
    let mut open = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = TcpStream::connect(server)?;
        stream.write_all(BEGUN)?;
        open.push(stream);
    }
    thread::sleep(STILL);
    let held = resident(pid);
    let there = connections_at(server.port()).min(count);
    drop(open);
    thread::sleep(STILL);
    let after = resident(pid);
    let each = |bytes: u64| bytes as f64 / 1024.0 / count as f64;
    println!("half-open  {count} handshakes, {there} of them there at the end");
    println!(
        "servers    {:.1} KiB each while they last, {:.1} KiB each after they have gone",
        each(held.saturating_sub(before)),
        each(after.saturating_sub(before)),
    );
    Ok(())
}
