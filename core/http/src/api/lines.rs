//! A body that comes in pieces, line by line.

use bytes::{Bytes, BytesMut};

/// What has come of a body, and is no whole line yet or has not been taken.
pub(crate) struct Lines {
    came: BytesMut,
    /// Bytes of it without a line end, from its beginning.
    looked_at: usize,
    /// Lines that were taken.
    pub(crate) read: u64,
    /// Bytes that a line has at most.
    pub(crate) limit: usize,
    ended: bool,
}

impl Lines {
    /// Nothing has come.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            came: BytesMut::new(),
            looked_at: 0,
            read: 0,
            limit,
            ended: false,
        }
    }

    /// The next bytes.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.came.extend_from_slice(bytes);
    }

    /// No more comes: what is left is a line.
    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    /// Forgets what has come.
    pub(crate) fn clear(&mut self) {
        self.came = BytesMut::new();
        self.looked_at = 0;
    }

    /// The next line that is not empty, with its number from 1. `None` until more has come.
    ///
    /// # Errors
    ///
    /// The number of a line that is too long.
    pub(crate) fn next(&mut self) -> Option<Result<(u64, Bytes), u64>> {
        loop {
            let rest = &self.came[self.looked_at..];
            let length = match rest.iter().position(|byte| *byte == b'\n') {
                Some(more) => self.looked_at + more + 1,
                None if self.ended && !self.came.is_empty() => self.came.len(),
                None if self.came.len() > self.limit => return Some(Err(self.read + 1)),
                None => {
                    self.looked_at = self.came.len();
                    return None;
                }
            };
            self.looked_at = 0;
            self.read += 1;
            if length > self.limit + 1 {
                return Some(Err(self.read));
            }
            let line = self.came.split_to(length).freeze();
            if !line.trim_ascii().is_empty() {
                return Some(Ok((self.read, line)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_numbered_however_they_come_and_empty_ones_are_left_out() {
        let body = b"one\n\r\n\n two \r\nthree";
        for step in [1, 2, 5, body.len()] {
            let mut lines = Lines::new(7);
            let mut taken = Vec::new();
            for piece in body.chunks(step) {
                lines.feed(piece);
                taken.extend(std::iter::from_fn(|| lines.next()));
            }
            assert_eq!(lines.next(), None);
            lines.end();
            taken.extend(std::iter::from_fn(|| lines.next()));
            let expected = [(1, "one\n"), (4, " two \r\n"), (5, "three")];
            let expected = expected.map(|(number, text)| Ok((number, Bytes::from(text))));
            assert_eq!(taken, expected, "by {step}");
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_told_before_it_has_come() {
        let mut lines = Lines::new(3);
        lines.feed(b"abc\nab");
        assert_eq!(lines.next(), Some(Ok((1, "abc\n".into()))));
        assert_eq!(lines.next(), None);
        lines.feed(b"cd");
        assert_eq!(lines.next(), Some(Err(2)));
        let mut whole = Lines::new(3);
        whole.feed(b"abcd\n");
        assert_eq!(whole.next(), Some(Err(1)));
    }
}
