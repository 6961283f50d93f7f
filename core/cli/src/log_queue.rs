//! Lines on their way to standard error: a queue, and a thread that writes.
//!
//! Whoever reads standard error may be slow, or stopped; an instance's thread never waits for it.
//! Lines that find no room are dropped and counted, and the log says how many, at the place where
//! they are missing.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use switchboard_driver::log;

/// Bytes that wait to be written, at most: some thousand lines, as many as a busy server writes
/// in a moment at `trace`.
const ROOM: usize = 1 << 20;

/// Lines that wait for standard error.
#[derive(Default)]
pub(crate) struct LogQueue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    text: Vec<u8>,
    /// Lines that were dropped since the writer last looked.
    dropped: u64,
    writing: bool,
}

/// One end of the queue, for those who have lines.
pub(crate) struct Lines(pub(crate) Arc<LogQueue>);

impl Write for Lines {
    /// Takes a whole line. It neither waits nor fails.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl LogQueue {
    /// Adds a line, if there is room.
    pub(crate) fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.text.len() + line.len() > ROOM {
            state.dropped += 1;
            log::count_lost(1);
            return;
        }
        state.text.extend_from_slice(line);
        drop(state);
        self.changed.notify_all();
    }

    /// Writes what is in the queue when there is something, for ever; `tell` says how many lines were
    /// dropped behind what was written last.
    pub(crate) fn serve(&self, out: &mut impl Write, tell: impl Fn(u64)) -> ! {
        loop {
            self.write_once(out, &tell);
        }
    }

    fn write_once(&self, out: &mut impl Write, tell: impl Fn(u64)) {
        let mut state = self.lock();
        while state.text.is_empty() {
            state = self.wait(state);
        }
        state.writing = true;
        let text = std::mem::take(&mut state.text);
        let dropped = std::mem::take(&mut state.dropped);
        drop(state);
        if out.write_all(&text).and_then(|()| out.flush()).is_err() {
            // Nobody can be told here; `/metrics` shows it.
            let lines = text.iter().filter(|&&byte| byte == b'\n').count();
            log::count_lost(lines as u64);
        }
        if dropped > 0 {
            tell(dropped);
        }
        self.lock().writing = false;
        self.changed.notify_all();
    }

    /// Waits until all is written, and no longer than this.
    pub(crate) fn flush(&self, patience: Duration) {
        let end = Instant::now() + patience;
        let mut state = self.lock();
        while state.writing || !state.text.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.changed.wait_timeout(state, left);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let waited = self.changed.wait(state);
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::thread;

    use super::*;

    /// H55: the log says where it has a gap, and how large it is.
    #[test]
    fn lines_that_find_no_room_are_counted_and_told_behind_those_that_did() {
        let queue = LogQueue::default();
        let line = [b'x'; 1 << 10];
        for _ in 0..ROOM / line.len() + 3 {
            queue.push(&line);
        }
        let (mut out, told) = (Vec::new(), Cell::new(0));
        queue.write_once(&mut out, |dropped| told.set(dropped));
        assert_eq!((out.len(), told.get()), (ROOM, 3));
        queue.push(b"next\n");
        queue.write_once(&mut out, |_| panic!("nothing was dropped since"));
        assert!(out.ends_with(b"next\n"));
    }

    #[test]
    fn a_writer_that_is_stuck_holds_nobody_up() {
        let queue = LogQueue::default();
        queue.push(b"line\n");
        queue.flush(Duration::from_millis(1));
        assert_eq!(queue.lock().text, b"line\n");
    }

    #[test]
    fn a_flush_ends_when_all_is_written() {
        let queue = Arc::new(LogQueue::default());
        queue.push(b"line\n");
        let writer = thread::spawn({
            let queue = Arc::clone(&queue);
            move || queue.write_once(&mut io::sink(), |_| {})
        });
        queue.flush(Duration::from_secs(3600));
        writer.join().expect("it writes");
    }
}
