//! The fingerprint of an instance. Its order is that of the wings, then of what all of them put off
//! or arm, so that what is the same has the same place whichever wing it belongs to.

use std::hash::Hasher;

use super::Instance;
use crate::base::fingerprint::Fingerprint;
use crate::time::{Instant, Now};

impl Instance {
    /// Hashes all that decides future behaviour, in canonical order, with times relative to `now`.
    /// Instances with equal fingerprints give equal commands for equal calls.
    pub fn fingerprint(&self, now: Now, hasher: &mut impl Hasher) {
        let now = now.mono;
        self.base.identity.instance.fingerprint(now, hasher);
        (self.terminals).fingerprint(now, hasher, |connection, hasher| {
            self.membership.fingerprint_row(now, connection, hasher);
        });
        self.membership.fingerprint(now, hasher);
        self.publish.fingerprint(now, hasher);
        self.deliver.fingerprint(now, hasher);
        self.follow.fingerprint(now, hasher);
        self.peers.fingerprint(now, hasher);
        self.presence.fingerprint(now, hasher);
        self.drain.fingerprint(now, hasher);
        self.fingerprint_alarms(now, hasher);
        self.fingerprint_turn(now, hasher);
        hasher.write_u128(self.base.random.connection_ids.position());
        hasher.write_u128(self.base.random.nonces.position());
        hasher.write_u128(self.base.random.jitter.position());
        hasher.write_u128(self.base.random.positions.position());
    }

    /// All timers of which there is one, as one list.
    fn fingerprint_alarms(&self, now: Instant, hasher: &mut impl Hasher) {
        let (membership, publish, deliver, follow, presence, drain) = (
            self.membership.alarms(),
            self.publish.alarms(),
            self.deliver.alarms(),
            self.follow.alarms(),
            self.presence.alarms(),
            self.drain.alarms(),
        );
        let alarms = [
            &membership[..],
            &publish,
            &deliver,
            &follow,
            &presence,
            &drain,
        ];
        alarms.concat().fingerprint(now, hasher);
    }

    fn fingerprint_turn(&self, now: Instant, hasher: &mut impl Hasher) {
        self.base.turn.fingerprint(now, hasher);
        self.terminals.fingerprint_turn(now, hasher);
        self.peers.unflushed().fingerprint(now, hasher);
        self.deliver.fingerprint_turn(hasher);
        self.publish.fingerprint_turn(hasher);
        self.peers.failed().fingerprint(now, hasher);
        self.membership.fingerprint_turn(now, hasher);
    }
}
