//! Where bytes of sockets are read to on their way.
//!
//! Streams are handed bytes that have values to read into. A buffer of each connection is kept by those that say
//! nothing, and one of each reading has to be filled with zeros first, which costs more than to copy what has come.

use std::cell::Cell;

/// As large as it is. It is what `--header-bytes` is without a setting, and more than most requests have.
pub(crate) const READ: usize = 16 << 10;

thread_local! {
    /// Empty while somebody reads.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Reads through the buffer of this thread. A stream that reads from another one in its turn gets a new one.
pub(crate) fn with<T>(read: impl FnOnce(&mut [u8]) -> T) -> T {
    let mut buffer = BUFFER.take();
    if buffer.is_empty() {
        buffer = vec![0; READ];
    }
    let output = read(&mut buffer);
    BUFFER.set(buffer);
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_reads_within_a_reading_has_a_buffer_of_its_own() {
        let first = with(|buffer| {
            buffer[0] = 7;
            assert_eq!(with(|inner| (inner[0], inner.len())), (0, READ));
            assert_eq!(buffer[0], 7);
            buffer.as_ptr()
        });
        assert_eq!(with(|buffer| buffer.as_ptr()), first);
    }
}
