//! The contract of `Runtime`, function by function.

use std::cell::RefCell;
use std::io::{ErrorKind, IoSlice};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use futures_util::{AsyncReadExt as _, AsyncWriteExt as _, future};
use switchboard_driver::runtime::Runtime;

pub async fn tasks_run_in_turns_on_the_thread_that_spawned_them<R: Runtime>() {
    let home = thread::current().id();
    // Neither `Rc` nor `RefCell` may leave the thread.
    let turns = Rc::new(RefCell::new(Vec::new()));
    let (first_goes, second_waits) = oneshot::channel();
    let (second_goes, all_ended) = oneshot::channel();
    let mine = Rc::clone(&turns);
    R::spawn(async move {
        let () = second_waits.await.expect("the other task runs");
        mine.borrow_mut().push(("second", thread::current().id()));
        second_goes.send(()).expect("the test waits");
    });
    let mine = Rc::clone(&turns);
    R::spawn(async move {
        mine.borrow_mut().push(("first", thread::current().id()));
        first_goes.send(()).expect("the other task waits");
    });
    all_ended.await.expect("both tasks run");
    assert_eq!(*turns.borrow(), [("first", home), ("second", home)]);
}

pub async fn tasks_that_are_left_are_dropped_with_what_they_own<R: Runtime>() {
    let (owned, dropped) = oneshot::channel::<()>();
    let (begun, begins) = oneshot::channel();
    let other = thread::spawn(|| {
        R::run(async move {
            R::spawn(async move {
                let _owned = owned;
                begun.send(()).expect("the main future waits");
                future::pending::<()>().await;
            });
            begins.await.expect("the task begins");
        })
    });
    let ran = other.join().expect("no panic");
    ran.expect("the runtime can be set up");
    assert_eq!(dropped.await, Err(oneshot::Canceled));
}

pub async fn a_sleep_does_not_end_early<R: Runtime>() {
    for time in [
        Duration::ZERO,
        Duration::from_micros(300),
        Duration::from_millis(20),
    ] {
        let begin = Instant::now();
        R::sleep(time).await;
        assert!(begin.elapsed() >= time, "{time:?}");
    }
}

pub async fn a_socket_is_taken_from_one_thread_to_another<R: Runtime>() {
    let (listener, address) = listener::<R>();
    let mut client = R::dial(address.to_string()).await.expect("it connects");
    let (socket, from) = R::accept(&listener).await.expect("somebody has connected");
    assert_eq!(from, socket.peer_addr().expect("it is connected"));

    // Adopted here, read here, let go, and adopted by another thread's runtime.
    let mut stream = R::adopt(socket).expect("it can be adopted");
    client.write_all(b"here").await.expect("written");
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes).await.expect("it comes");
    assert_eq!(&bytes, b"here");
    let socket = R::release(stream).expect("it can be released");
    let echo = thread::spawn(move || {
        R::run(async move {
            let mut stream = R::adopt(socket).expect("it can be adopted again");
            let mut bytes = [0; 5];
            stream.read_exact(&mut bytes).await.expect("it comes");
            stream.write_all(&bytes).await.expect("written");
            stream.close().await.expect("closed");
        })
    });
    client.write_all(b"there").await.expect("written");
    let mut all = Vec::new();
    client.read_to_end(&mut all).await.expect("it comes");
    assert_eq!(all, b"there");
    let ran = echo.join().expect("no panic");
    ran.expect("the runtime can be set up");
}

pub async fn what_a_socket_takes_at_once_is_written_and_it_says_when_it_takes_nothing<
    R: Runtime,
>() {
    let (listener, address) = listener::<R>();
    let mut client = R::dial(address.to_string()).await.expect("it connects");
    let (socket, _) = R::accept(&listener).await.expect("somebody has connected");
    let mut stream = R::adopt(socket).expect("it can be adopted");
    // A runtime may learn by waiting that a socket can be written to.
    stream.write_all(b"a").await.expect("written");
    let parts = [IoSlice::new(b"bc"), IoSlice::new(b"d")];
    let written = R::try_write(&stream, &parts);
    assert_eq!(written.expect("there is room"), 3);

    let more = vec![b'x'; 1 << 20];
    let mut sent = 4;
    let full = loop {
        match R::try_write(&stream, &[IoSlice::new(&more)]) {
            Ok(written) => sent += written,
            Err(error) => break error.kind(),
        }
    };
    assert_eq!(full, ErrorKind::WouldBlock);
    let mut all = vec![0; sent];
    client.read_exact(&mut all).await.expect("it comes");
    assert!(all.starts_with(b"abcdx"));
    // A write that waits goes on when there is room.
    stream.write_all(b"end").await.expect("written");
    stream.close().await.expect("closed");
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.expect("it ends");
    assert_eq!(rest, b"end");
}

/// Nobody is left waiting for the end of what comes while the socket is still read.
pub async fn a_closed_stream_ends_what_the_other_end_reads_and_can_be_read<R: Runtime>() {
    let (listener, address) = listener::<R>();
    let mut client = R::dial(address.to_string()).await.expect("it connects");
    let (socket, _) = R::accept(&listener).await.expect("somebody has connected");
    let mut stream = R::adopt(socket).expect("it can be adopted");
    stream.write_all(b"bye").await.expect("written");
    stream.close().await.expect("closed");
    let mut all = Vec::new();
    client.read_to_end(&mut all).await.expect("it ends");
    assert_eq!(all, b"bye");

    client.write_all(b"goodbye").await.expect("written");
    drop(client);
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.expect("it ends");
    assert_eq!(all, b"goodbye");
    stream.close().await.expect("a second time changes nothing");
}

pub async fn a_dialled_name_is_resolved_and_a_refusal_is_told<R: Runtime>() {
    let (listener, address) = listener::<R>();
    let stream = R::dial(format!("localhost:{}", address.port()))
        .await
        .expect("it connects");
    let (accepted, _) = R::accept(&listener).await.expect("somebody has connected");
    let dialled = R::release(stream).expect("it can be released");
    assert!(dialled.nodelay().expect("it is a socket"));
    assert_eq!(dialled.local_addr().ok(), accepted.peer_addr().ok());

    drop(listener);
    let refused = R::dial(address.to_string()).await.map(drop);
    assert_eq!(
        refused.expect_err("nobody listens").kind(),
        ErrorKind::ConnectionRefused
    );
    assert!(R::dial("no port".to_owned()).await.is_err());
}

fn listener<R: Runtime>() -> (R::Listener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("it is bound");
    listener.set_nonblocking(true).expect("it is a socket");
    (R::listen(listener).expect("it can be registered"), address)
}
