//! Whether the other end of a socket shows life although no frame of it comes.

/// What moved on a socket since the last ping, or since it was last looked at.
#[derive(Debug, Default)]
pub(crate) struct Signs {
    /// Whether bytes came.
    heard: bool,
    /// Bytes that the operating system has taken, in all.
    handed: u64,
    /// It is full: it takes more when the other end has taken some.
    is_full: bool,
    /// Bytes that it took then. So many, at least, are with the other end.
    freed: u64,
    /// Bytes that were sent before the last ping.
    before_ping: u64,
    /// Of these, as far as known, those that were with the other end when last looked at.
    taken: u64,
}

impl Signs {
    /// Notes that bytes came.
    pub(crate) const fn came(&mut self) {
        self.heard = true;
    }

    /// The operating system takes nothing at present.
    pub(crate) const fn full(&mut self) {
        self.is_full = true;
    }

    /// The operating system has taken so many bytes.
    pub(crate) fn handed(&mut self, bytes: usize) {
        self.handed += bytes as u64;
        if std::mem::take(&mut self.is_full) {
            self.freed += bytes as u64;
        }
    }

    /// A ping is sent behind so many bytes that the operating system has not taken yet. It has some
    /// that the other end has not acknowledged, if it tells how many.
    pub(crate) fn pinged(&mut self, queued: usize, unacknowledged: Option<usize>) {
        self.heard = false;
        self.before_ping = self.handed + queued as u64;
        self.taken = self.taken_of(unacknowledged);
    }

    /// Whether bytes came, or the other end took some of what stands before the ping, since this
    /// was asked last or the ping was sent. What it takes behind the ping shows nothing: the
    /// operating system there does so for a program that hangs, as long as its buffers have room.
    pub(crate) fn look(&mut self, unacknowledged: Option<usize>) -> bool {
        let before = self.taken;
        self.taken = self.taken_of(unacknowledged);
        std::mem::take(&mut self.heard) || self.taken > before
    }

    /// Whether the other end has all that stood before the last ping.
    pub(crate) fn is_ping_taken(&self, unacknowledged: Option<usize>) -> bool {
        self.taken_of(unacknowledged) == self.before_ping
    }

    fn taken_of(&self, unacknowledged: Option<usize>) -> u64 {
        match unacknowledged {
            // It counts what was sent before the socket was watched as well.
            Some(bytes) => {
                let acknowledged = self.handed.saturating_sub(bytes as u64);
                acknowledged.min(self.before_ping)
            }
            None => self.freed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// H23, H27: a terminal that takes slowly what it is sent is there.
    #[test]
    fn what_is_acknowledged_of_the_data_before_a_ping_is_life() {
        let mut signs = Signs::default();
        signs.handed(1000);
        signs.pinged(500, Some(900));
        signs.handed(300);
        assert!(!signs.look(Some(1200)), "nobody has acknowledged that");
        assert!(signs.look(Some(1100)));
        assert!(!signs.look(Some(1100)), "not since it was last asked");
        signs.handed(202);
        assert!(signs.look(Some(1)));
        assert!(!signs.look(Some(1)));
    }

    /// H27: the operating system of a terminal that hangs acknowledges the ping and what follows.
    #[test]
    fn what_is_acknowledged_behind_a_ping_is_not() {
        let mut signs = Signs::default();
        signs.handed(1000);
        signs.pinged(0, Some(0));
        signs.handed(2);
        assert!(!signs.look(Some(0)));
        signs.handed(5000);
        assert!(!signs.look(Some(0)));
    }

    /// Where nobody tells what was acknowledged, room that a full buffer has again tells it.
    #[test]
    fn what_a_full_buffer_takes_again_is_life() {
        let mut signs = Signs::default();
        signs.pinged(2000, None);
        signs.handed(1000);
        assert!(!signs.look(None), "it was not full");
        signs.full();
        assert!(!signs.look(None));
        signs.handed(100);
        assert!(signs.look(None) && !signs.look(None));
    }

    /// H27: a terminal that sends one large message slowly is there before it is complete.
    #[test]
    fn bytes_that_come_are_life() {
        let mut signs = Signs::default();
        signs.came();
        signs.pinged(0, None);
        assert!(!signs.look(None), "that was before the ping");
        signs.came();
        assert!(signs.look(None) && !signs.look(None));
    }
}
