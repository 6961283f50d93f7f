//! Where bytes of sockets are read to on their way.
//!
//! Streams are handed bytes that have values to read into. A buffer of each connection is kept by those that say nothing,
//! and one of each reading has to be filled with zeros first, which costs more than to copy what has come.

use std::cell::RefCell;

/// As large as it is. It is what `--header-bytes` is without a setting, and more than most requests have.
pub(crate) const READ: usize = 16 << 10;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

/// Reads through the buffer of this thread, which whoever reads within a reading cannot.
pub(crate) fn with<T>(read: impl FnOnce(&mut [u8]) -> T) -> T {
    BUFFER.with_borrow_mut(|buffer| read(buffer))
}
