//! One terminal's WebSocket over any stream: tungstenite reads, and writes control frames; the
//! frames of pushes are written from their shared bytes, so that nothing large stays allocated.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_io::{AsyncRead, AsyncWrite};
use switchboard_core::frame::{CloseCode, FrameKind, Payload};
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, FrameHeader};
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Message, Utf8Bytes};

/// A WebSocket, server's side.
pub(crate) struct Socket<S> {
    stream: S,
    protocol: WebSocketContext,
    outlet: Outlet,
}

/// The buffer of each terminal that tungstenite reads into. Measured: resident bytes per idle
/// terminal grow with it, and a message that is larger is read in steps of it.
const READ_BUFFER: usize = 1024;

/// What tungstenite may buffer of its own frames: pongs and the Close frame.
const CONTROL_BUFFER: usize = 4096;

/// What one write to the operating system takes at most, unless a single frame is larger.
const WRITE_CHUNK: usize = 16 << 10;

/// Bytes of the longest frame header that a server writes: flags, and a length of 8 bytes.
const HEADER_MAX: usize = 10;

/// Chunks that wait for the stream before tungstenite's answers to pings wait too.
const OUTLET_CHUNKS: usize = 64;

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// A socket whose upgrade is done; `read` is what was read from it beyond that.
    pub(crate) fn new(stream: S, read: &[u8], frame_bytes: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(CONTROL_BUFFER)
            .max_message_size(Some(frame_bytes))
            .max_frame_size(Some(frame_bytes));
        Self {
            stream,
            protocol: WebSocketContext::from_partially_read(read.to_vec(), Role::Server, Some(config)),
            outlet: Outlet::default(),
        }
    }

    /// Queues a frame.
    pub(crate) fn send(&mut self, payload: &Payload) {
        let data = match payload.kind() {
            FrameKind::Text => Data::Text,
            FrameKind::Binary => Data::Binary,
        };
        self.outlet.push_frame(OpCode::Data(data), payload.bytes().clone());
    }

    /// Queues a ping.
    pub(crate) fn ping(&mut self) {
        self.outlet.push_frame(OpCode::Control(Control::Ping), Bytes::new());
    }

    /// Queues a Close frame, unless there was one.
    pub(crate) fn close(&mut self, cx: &mut Context<'_>, code: CloseCode) {
        let frame = CloseFrame {
            code: code.number().into(),
            reason: Utf8Bytes::from_static(code.reason()),
        };
        let mut io = Io {
            stream: &mut self.stream,
            outlet: &mut self.outlet,
            cx,
        };
        // It fails if the connection is closed already, which is what is wanted.
        let _ = self.protocol.close(&mut io, Some(frame));
    }

    /// Reads a message. Answers to pings and Close frames are queued.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<tungstenite::Result<Message>> {
        let mut io = Io {
            stream: &mut self.stream,
            outlet: &mut self.outlet,
            cx,
        };
        let result = self.protocol.read(&mut io);
        if let Ok(Message::Close(_)) = &result {
            // The answer to a Close frame waits in tungstenite until somebody asks.
            let _ = self.protocol.flush(&mut io);
        }
        match result {
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            result => Poll::Ready(result),
        }
    }

    /// Whether everything queued is with the operating system.
    pub(crate) fn is_flushed(&self) -> bool {
        self.outlet.chunks.is_empty()
    }

    /// Writes what is queued, by way of `scratch`, which is shared by all terminals of a thread.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>, scratch: &mut Vec<u8>) -> Poll<io::Result<()>> {
        while !self.outlet.chunks.is_empty() {
            let bytes = self.outlet.gather(scratch);
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outlet.consume(written);
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Ends the stream's writing half.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }

    /// Reads bytes that nobody wants. `Ready` at the end of the stream, or after an error.
    pub(crate) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [0; 1024];
        loop {
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut bytes)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
    }
}

/// Whole frames that wait to be written, in their order.
#[derive(Default)]
struct Outlet {
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
    fn push_frame(&mut self, opcode: OpCode, payload: Bytes) {
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

    fn push_raw(&mut self, bytes: &[u8]) {
        self.chunks.push_back(Chunk {
            header: [0; HEADER_MAX],
            header_len: 0,
            payload: Bytes::copy_from_slice(bytes),
        });
    }

    /// What is to be written next: the rest of a large payload as it lies, else as many chunks as
    /// fit into a write, side by side.
    fn gather<'a>(&'a self, scratch: &'a mut Vec<u8>) -> &'a [u8] {
        scratch.clear();
        let mut skip = self.written;
        for chunk in &self.chunks {
            for part in [&chunk.header[..usize::from(chunk.header_len)], &chunk.payload] {
                let skipped = skip.min(part.len());
                skip -= skipped;
                let part = &part[skipped..];
                if scratch.is_empty() && part.len() >= WRITE_CHUNK {
                    return part;
                }
                let room = WRITE_CHUNK - scratch.len();
                scratch.extend_from_slice(&part[..part.len().min(room)]);
            }
            if scratch.len() == WRITE_CHUNK {
                break;
            }
        }
        scratch
    }

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

/// What tungstenite reads from and writes to during one poll.
struct Io<'a, 'cx, S> {
    stream: &'a mut S,
    outlet: &'a mut Outlet,
    cx: &'a mut Context<'cx>,
}

impl<S: AsyncRead + Unpin> Read for Io<'_, '_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match Pin::new(&mut *self.stream).poll_read(self.cx, buffer) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl<S> Write for Io<'_, '_, S> {
    /// Takes whole frames: tungstenite hands over all that it has buffered.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.outlet.chunks.len() >= OUTLET_CHUNKS {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.outlet.push_raw(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
