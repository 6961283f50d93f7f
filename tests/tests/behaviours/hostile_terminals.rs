//! Terminals that break rules: each loses its own connection, and nothing else happens.

use std::io::Write;
use std::net::TcpStream;

use switchboard_tests::behaviour::{Behaviour, ONE};
use switchboard_tests::behaviours;
use switchboard_tests::matrix::Cell;
use switchboard_tests::patience::{SILENCE, eventually};
use switchboard_tests::raw::{exchange, masked_frame, opcode, status};

pub(crate) const LIST: &[Behaviour] = behaviours![
    (ONE, a_slow_handshake_is_cut_off),
    (ONE, a_trickling_handshake_is_cut_off),
    (ONE, many_unfinished_handshakes_do_not_keep_others_out),
    (ONE, an_endless_head_is_refused),
    (ONE, bytes_that_are_no_protocol_do_no_harm),
    (ONE, a_frame_that_is_too_large_closes_its_connection),
    (
        ONE,
        a_terminal_that_breaks_the_protocol_is_closed_with_a_code
    ),
    (
        ONE,
        the_close_that_a_proxy_sends_without_a_mask_is_taken_as_what_it_is
    ),
];

/// H10: a handshake that never ends holds its socket for the handshake's time and no longer.
fn a_slow_handshake_is_cut_off(cell: Cell) {
    let cluster = cell.start_with(1, |s| s.with("handshake_timeout", "500ms"));
    for address in [cluster[0].terminals(), cluster[0].peer()] {
        for begin in ["", "GET /connect?user=ann HTTP/1.1\r\nHost: x\r\n"] {
            let answer = exchange(address, begin.as_bytes()).expect("the socket is closed");
            assert!(matches!(status(&answer), None | Some(408)), "{address}");
        }
    }
    cluster[0].terminal("ann");
}

/// H10: also one that sends a byte from time to time.
fn a_trickling_handshake_is_cut_off(cell: Cell) {
    let cluster = cell.start_with(1, |s| s.with("handshake_timeout", "500ms"));
    let mut stream = TcpStream::connect(cluster[0].terminals()).expect("it listens");
    stream
        .write_all(b"GET /connect?user=ann HTTP/1.1\r\nHost: x\r\nX-Long: ")
        .expect("open");

    eventually("the trickle is cut off", || stream.write_all(b"a").is_err());
}

/// Idle sockets before their handshake do not keep others out.
fn many_unfinished_handshakes_do_not_keep_others_out(cell: Cell) {
    let cluster = cell.start(1);
    let idle: Vec<_> = (0..300)
        .map(|_| TcpStream::connect(cluster[0].terminals()).expect("it listens"))
        .collect();

    let terminal = cluster[0].terminal("ann");

    assert_eq!(idle.len(), 300);
    terminal.close();
}

/// H10: the head of a request has a limit.
fn an_endless_head_is_refused(cell: Cell) {
    let cluster = cell.start(1);
    for address in [cluster[0].terminals(), cluster[0].api().address()] {
        let head = format!(
            "GET / HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n",
            "a".repeat(1 << 20)
        );
        let answer = exchange(address, head.as_bytes()).expect("it listens");
        assert!(
            matches!(status(&answer), None | Some(400 | 431)),
            "{:?}",
            status(&answer)
        );
    }
    cluster[0].terminal("ann");
}

/// Bytes that are no HTTP at all do no harm.
fn bytes_that_are_no_protocol_do_no_harm(cell: Cell) {
    let cluster = cell.start(1);
    let mut terminal = cluster[0].terminal("ann");
    let garbage: [&[u8]; 4] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00\x01\x02\x03\r\n\r\n",
        b"HELLO\r\n\r\n",
        b"GET\r\n\r\nGET / HTTP/9.9\r\n\r\n",
    ];
    for bytes in garbage {
        for address in [
            cluster[0].terminals(),
            cluster[0].api().address(),
            cluster[0].peer(),
        ] {
            let answer = exchange(address, bytes).expect("it listens");
            assert!(
                matches!(status(&answer), None | Some(400..=499 | 505)),
                "{bytes:?}"
            );
        }
    }
    cluster[0]
        .api()
        .push("ann", "all is well")
        .expect_written(1);
    terminal.expect_text("all is well");
}

/// H09: with the code for it, and only that connection.
fn a_frame_that_is_too_large_closes_its_connection(cell: Cell) {
    let cluster = cell.start_with(1, |s| s.with("frame_bytes", 1000));
    let mut other = cluster[0].terminal("ann");
    let mut largest = cluster[0].terminal("ann");
    largest.send_text(&"x".repeat(1000));
    assert!(largest.recv().text().contains("dropped"));

    let mut too_large = cluster[0].terminal("ann");
    too_large.send_text(&"x".repeat(1001));
    assert_eq!(too_large.ended().code(), Some(1009));

    // A header that promises too much is enough, and so are fragments that add up.
    let mut promise = cluster[0].connect().user("ann").raw();
    promise
        .write(&[
            0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0,
        ])
        .expect("open");
    assert!(matches!(promise.close_code(), Ok(1002 | 1009)));
    let mut fragments = cluster[0].connect().user("ann").raw();
    fragments
        .write(&masked_frame(opcode::TEXT, &[b'x'; 600]))
        .expect("open");
    fragments
        .write(&masked_frame(opcode::CONTINUATION, &[b'x'; 600]))
        .expect("open");
    assert_eq!(fragments.close_code().expect("a Close frame"), 1009);

    other.expect_silence(SILENCE);
}

/// H18, H20: a terminal that breaks the protocol gets a Close frame with the code for it.
fn a_terminal_that_breaks_the_protocol_is_closed_with_a_code(cell: Cell) {
    const PROTOCOL_ERROR: u16 = 1002;
    const INVALID_PAYLOAD: u16 = 1007;
    let cluster = cell.start(1);
    let other = cluster[0].terminal("ann").follow();
    let cases = [
        ("not masked", vec![0x81, 0x01, b'x'], PROTOCOL_ERROR),
        (
            "a Close of 1000 that is not masked",
            vec![0x88, 2, 0x03, 0xE8],
            PROTOCOL_ERROR,
        ),
        (
            "no Close that is not masked but the first such frame",
            vec![0x81, 0x01, b'x', 0x88, 2, 0x03, 0xE9],
            PROTOCOL_ERROR,
        ),
        ("unknown opcode", masked_frame(0x83, b""), PROTOCOL_ERROR),
        ("reserved bit", masked_frame(0xC1, b"x"), PROTOCOL_ERROR),
        (
            "fragmented ping",
            masked_frame(opcode::PING, b""),
            PROTOCOL_ERROR,
        ),
        (
            "long ping",
            masked_frame(0x80 | opcode::PING, &[0; 126]),
            PROTOCOL_ERROR,
        ),
        (
            "nothing to continue",
            masked_frame(0x80 | opcode::CONTINUATION, b"x"),
            PROTOCOL_ERROR,
        ),
        (
            "text that is not UTF-8",
            masked_frame(0x80 | opcode::TEXT, &[0xFF, 0xFE]),
            INVALID_PAYLOAD,
        ),
    ];
    for (what, bytes, code) in cases {
        let mut raw = cluster[0].connect().user("ann").raw();
        raw.write(&bytes).expect("open");
        assert_eq!(
            raw.close_code().unwrap_or_else(|e| panic!("{what}: {e}")),
            code,
            "{what}"
        );
        assert!(raw.has_ended(), "{what}");
    }
    assert_eq!(other.ending(), None);
    eventually("only the other is left", || {
        cluster[0].api().connections("ann").uuids() == [other.uuid]
    });
}

/// Caddy ends the connections of a former configuration so, up to 2.6.2: towards the server, too, as
/// if that were the client.
fn the_close_that_a_proxy_sends_without_a_mask_is_taken_as_what_it_is(cell: Cell) {
    const GOING_AWAY: [u8; 4] = [0x88, 2, 0x03, 0xE9];
    let cluster = cell.start(1);
    let mut raw = cluster[0].connect().user("ann").raw();
    raw.write(&masked_frame(0x80 | opcode::TEXT, b"before it"))
        .expect("open");
    raw.write(&GOING_AWAY).expect("open");
    assert_eq!(raw.close_code().expect("a Close frame"), 1001);
    assert!(raw.has_ended());
    eventually("it is not listed", || {
        cluster[0].api().connections("ann").uuids().is_empty()
    });
}
