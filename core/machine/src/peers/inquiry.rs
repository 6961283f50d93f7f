//! The first words of a link, for whoever only wants to know whether there could be one.

use bytes::Bytes;

use super::alike::Alike;
use super::wire::{self, Hello, Role, Transcript, WireError};
use crate::config::{ClusterSecret, Config};
use crate::difference::Difference;
use crate::id::InstanceId;

/// What a dialler says that is no instance. It is said first, and the answer is
/// [heard](Self::heard); then the link is to be ended. An instance that it was said to tells nobody
/// of it, unless it speaks another version.
#[derive(Clone, Debug)]
pub struct Inquiry(Hello);

/// Why there would be no link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unwelcome {
    /// The other end speaks another version.
    #[error(
        "it speaks version {theirs} of the links' protocol, and this is {ours}: run one version"
    )]
    Version {
        /// The version that is spoken here.
        ours: u16,
        /// The version that is spoken there.
        theirs: u16,
    },
    /// The other end does not know the cluster's secret.
    #[error("it has another cluster secret: all servers of a cluster need the same")]
    WrongSecret,
    /// The other end has ended the link without an answer: so does one that speaks another version.
    #[error(
        "it has ended the link without an answer: its log says why. Does it run another version, or has it no room?"
    )]
    Silent,
    /// The other end is no instance, or another one.
    #[error("it does not answer as an instance does")]
    Strange,
}

impl Inquiry {
    /// An inquiry at an instance. The id must be one of nobody, and neither it nor the nonce may have
    /// been used before.
    pub fn new(from: InstanceId, to: InstanceId, nonce: [u8; 16], config: &Config) -> Self {
        Self(Hello::new(from, to, nonce, Alike::of(config)))
    }

    /// The first batch that the dialler sends.
    pub fn said(&self) -> Bytes {
        wire::encode_hello(&self.0)
    }

    /// The settings of the other end that differ from those here, where all instances should have the
    /// same.
    ///
    /// # Errors
    ///
    /// Says why there would be no link, if this is the answer.
    pub fn heard(
        &self,
        answer: &[u8],
        secret: &ClusterSecret,
    ) -> Result<Vec<Difference>, Unwelcome> {
        let ours = &self.0;
        let hello = wire::decode_hello(answer).map_err(|error| match error {
            WireError::Version { theirs, .. } => Unwelcome::Version {
                ours: wire::VERSION,
                theirs,
            },
            WireError::NotOurs | WireError::Malformed(_) => Unwelcome::Strange,
        })?;
        if hello.to != ours.from || hello.from != ours.to {
            return Err(Unwelcome::Strange);
        }
        let transcript = Transcript::of(ours, &hello);
        let verified = (hello.proof.as_ref())
            .is_some_and(|proof| transcript.verify(secret, Role::Acceptor, proof));
        match verified {
            true => Ok(ours.alike.differences(&hello.alike)),
            false => Err(Unwelcome::WrongSecret),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: InstanceId = InstanceId::new(1);
    const THERE: InstanceId = InstanceId::new(2);

    #[test]
    fn an_answer_is_judged_by_its_proof_and_its_settings() {
        let (ours, theirs) = (
            secret(b"a secret of all of us"),
            secret(b"another one's secret"),
        );
        let inquiry = Inquiry::new(HERE, THERE, [7; 16], &Config::default());
        assert_eq!(
            inquiry.heard(&answer(&inquiry, THERE, &ours), &ours),
            Ok(Vec::new())
        );
        let wrong = inquiry.heard(&answer(&inquiry, THERE, &theirs), &ours);
        assert_eq!(wrong, Err(Unwelcome::WrongSecret));
        let recycled = inquiry.heard(&answer(&inquiry, InstanceId::new(3), &ours), &ours);
        assert_eq!(recycled, Err(Unwelcome::Strange));
        assert_eq!(inquiry.heard(b"HTTP", &ours), Err(Unwelcome::Strange));

        let config = Config {
            push_bytes: 2 << 20,
            ..Config::default()
        };
        let inquiry = Inquiry::new(HERE, THERE, [7; 16], &config);
        let differences = inquiry.heard(&answer(&inquiry, THERE, &ours), &ours);
        let differences = differences.expect("it knows the secret");
        let names: Vec<_> = differences.iter().map(|other| other.setting).collect();
        assert_eq!(names, ["push_bytes"]);
    }

    #[test]
    fn another_version_is_told() {
        let inquiry = Inquiry::new(HERE, THERE, [7; 16], &Config::default());
        let hello = Hello::new(THERE, HERE, [9; 16], Alike::of(&Config::default()));
        let theirs = wire::VERSION + 1;
        let answer = wire::encode_hello(&hello.with_version(theirs));
        let ours = wire::VERSION;
        let heard = inquiry.heard(&answer, &secret(b"a secret of all of us"));
        assert_eq!(heard, Err(Unwelcome::Version { ours, theirs }));
    }

    fn answer(inquiry: &Inquiry, from: InstanceId, secret: &ClusterSecret) -> Bytes {
        let hello = Hello::new(from, HERE, [9; 16], Alike::of(&Config::default()));
        let proof = Transcript::of(&inquiry.0, &hello).prove(secret, Role::Acceptor);
        wire::encode_hello(&hello.with_proof(proof))
    }

    fn secret(bytes: &[u8]) -> ClusterSecret {
        ClusterSecret::new(bytes).expect("long enough")
    }
}
