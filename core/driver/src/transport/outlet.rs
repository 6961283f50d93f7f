//! Frames on their way from a terminal's task to its socket.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_io::AsyncWrite;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::OpCode;

use super::signs::Signs;

/// What one write to the operating system takes at most, unless a single frame is larger.
pub(crate) const WRITE_CHUNK: usize = 16 << 10;

/// Bytes of the longest frame header that a server writes: flags, and a length of 8 bytes.
const HEADER_MAX: usize = 10;

/// Chunks that wait for the stream before tungstenite's answers to pings wait too.
const OUTLET_CHUNKS: usize = 64;

/// Whole frames that wait to be written, in their order.
#[derive(Default)]
pub(crate) struct Outlet {
    chunks: VecDeque<Chunk>,
    /// Bytes of the first chunk that are written.
    written: usize,
}

struct Chunk {
    /// The header of a frame. Empty if the payload holds whole frames already.
    header: [u8; HEADER_MAX],
    header_len: u8,
    payload: Bytes,
}

impl Outlet {
    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Whether tungstenite's answers to pings must wait.
    pub(crate) fn is_full(&self) -> bool {
        self.chunks.len() >= OUTLET_CHUNKS
    }

    /// Adds a frame.
    pub(crate) fn push_frame(&mut self, opcode: OpCode, payload: Bytes) {
        let mut header = [0; HEADER_MAX];
        let frame = FrameHeader {
            is_final: true,
            opcode,
            ..FrameHeader::default()
        };
        let mut room: &mut [u8] = &mut header;
        let formatted = frame.format(payload.len() as u64, &mut room);
        debug_assert!(formatted.is_ok(), "every header fits");
        let header_len = (HEADER_MAX - room.len()) as u8;
        self.chunks.push_back(Chunk {
            header,
            header_len,
            payload,
        });
    }

    /// Adds what is encoded already: some bytes, no more than a header has, and what follows them.
    pub(crate) fn push(&mut self, before: &[u8], payload: Bytes) {
        let mut header = [0; HEADER_MAX];
        header[..before.len()].copy_from_slice(before);
        self.chunks.push_back(Chunk {
            header,
            header_len: before.len() as u8,
            payload,
        });
    }

    /// Writes all of it, through `scratch`, and tells `signs` what becomes of it.
    pub(crate) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        signs: &mut Signs,
        cx: &mut Context<'_>,
        scratch: &mut Vec<u8>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let parts = self.gather(scratch).map(IoSlice::new);
            let Poll::Ready(written) = Pin::new(&mut *stream).poll_write_vectored(cx, &parts)?
            else {
                signs.full();
                return Poll::Pending;
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            signs.handed(written);
            self.consume(written);
        }
        Pin::new(stream).poll_flush(cx)
    }

    /// Writes of it what is taken at once. What is left, and what is wrong, is for
    /// [`poll_write`](Self::poll_write).
    pub(crate) fn try_write(
        &mut self,
        write: impl Fn(&[IoSlice<'_>]) -> io::Result<usize>,
        signs: &mut Signs,
        scratch: &mut Vec<u8>,
    ) {
        while !self.is_empty() {
            let parts = self.gather(scratch).map(IoSlice::new);
            let Ok(written @ 1..) = write(&parts) else {
                return;
            };
            signs.handed(written);
            self.consume(written);
        }
    }

    /// What is to be written next: as many chunks as fit into a write, side by side, and a large payload
    /// behind them as it lies.
    fn gather<'a>(&'a self, scratch: &'a mut Vec<u8>) -> [&'a [u8]; 2] {
        scratch.clear();
        let mut skip = self.written;
        for chunk in &self.chunks {
            for part in [
                &chunk.header[..usize::from(chunk.header_len)],
                &chunk.payload,
            ] {
                let skipped = skip.min(part.len());
                skip -= skipped;
                let part = &part[skipped..];
                if part.len() >= WRITE_CHUNK {
                    return [scratch, part];
                }
                let room = WRITE_CHUNK - scratch.len();
                scratch.extend_from_slice(&part[..part.len().min(room)]);
            }
            if scratch.len() == WRITE_CHUNK {
                break;
            }
        }
        [scratch, &[]]
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.chunks.iter().map(Chunk::len).sum::<usize>() - self.written
    }

    /// Takes out so many bytes, which are written.
    fn consume(&mut self, mut written: usize) {
        written += self.written;
        while let Some(chunk) = self.chunks.front() {
            let Some(rest) = written.checked_sub(chunk.len()) else {
                break;
            };
            written = rest;
            self.chunks.pop_front();
        }
        self.written = written;
        if self.chunks.is_empty() {
            // An idle terminal keeps no buffer.
            self.chunks = VecDeque::new();
        }
    }
}

impl Chunk {
    fn len(&self) -> usize {
        usize::from(self.header_len) + self.payload.len()
    }
}
