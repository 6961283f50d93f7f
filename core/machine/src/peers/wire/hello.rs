//! How two instances recognise each other.

use bytes::{BufMut, Bytes, BytesMut};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{VERSION, WireError};
use crate::config::ClusterSecret;
use crate::id::InstanceId;
use crate::peers::alike::Alike;

/// The first message in each direction.
///
/// Its layout is fixed, and the part up to `from` is the same in all versions, so that unequal
/// versions recognise each other: `SWB`, the version (2 bytes), `from` (8), `to` (8), the nonce
/// (16), the settings that should be alike (8 each), and in an acceptor's the proof (32). Numbers
/// are big endian.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    /// The sender's [`VERSION`].
    pub(in crate::peers) version: u16,
    /// The instance that sends it.
    pub(in crate::peers) from: InstanceId,
    /// The instance that is expected at the other end. An address can be reused by somebody else.
    pub(in crate::peers) to: InstanceId,
    /// Random, never used twice.
    pub(in crate::peers) nonce: [u8; 16],
    /// The sender's settings that should be those of all.
    pub(in crate::peers) alike: Alike,
    /// The acceptor's proof. The dialler's follows as a message, once it knows both nonces.
    pub(in crate::peers) proof: Option<[u8; 32]>,
}

impl Hello {
    /// Of this version, without a proof.
    pub(crate) const fn new(
        from: InstanceId,
        to: InstanceId,
        nonce: [u8; 16],
        alike: Alike,
    ) -> Self {
        Self {
            version: VERSION,
            from,
            to,
            nonce,
            alike,
            proof: None,
        }
    }

    /// With the acceptor's proof.
    pub(crate) const fn with_proof(self, proof: [u8; 32]) -> Self {
        Self {
            proof: Some(proof),
            ..self
        }
    }

    #[cfg(test)]
    pub(crate) const fn with_version(self, version: u16) -> Self {
        Self { version, ..self }
    }

    #[cfg(test)]
    pub(crate) const fn to(&self) -> InstanceId {
        self.to
    }

    #[cfg(test)]
    pub(crate) const fn proof(&self) -> Option<[u8; 32]> {
        self.proof
    }
}

const MAGIC: &[u8; 3] = b"SWB";
const LENGTH: usize = 37 + size_of::<Alike>();
const LENGTH_WITH_PROOF: usize = LENGTH + 32;

/// Encodes the first message.
pub(crate) fn encode_hello(hello: &Hello) -> Bytes {
    let mut bytes = BytesMut::with_capacity(LENGTH_WITH_PROOF);
    bytes.put_slice(MAGIC);
    bytes.put_u16(hello.version);
    bytes.put_u64(hello.from.get());
    bytes.put_u64(hello.to.get());
    bytes.put_slice(&hello.nonce);
    for setting in hello.alike.0 {
        bytes.put_u64(setting);
    }
    if let Some(proof) = &hello.proof {
        bytes.put_slice(proof);
    }
    bytes.freeze()
}

/// Decodes the first message. What it says of its sender is not proven yet.
///
/// # Errors
///
/// If the peer is something else, speaks another version, or sent a Hello of another length.
pub(crate) fn decode_hello(bytes: &[u8]) -> Result<Hello, WireError> {
    let Some((version, rest)) = bytes.strip_prefix(MAGIC).and_then(number::<2>) else {
        return Err(WireError::NotOurs);
    };
    let version = u16::from_be_bytes(version);
    let from =
        number::<8>(rest).map(|(from, rest)| (InstanceId::new(u64::from_be_bytes(from)), rest));
    if version != VERSION {
        return Err(WireError::Version {
            theirs: version,
            from: from.map(|(from, _)| from),
        });
    }
    let body = || {
        let (from, rest) = from?;
        let (to, rest) = number::<8>(rest)?;
        let (nonce, mut rest) = number::<16>(rest)?;
        let mut settings = [0; size_of::<Alike>() / 8];
        for setting in &mut settings {
            let (value, tail) = number::<8>(rest)?;
            (*setting, rest) = (u64::from_be_bytes(value), tail);
        }
        let proof = if rest.is_empty() {
            None
        } else {
            Some(rest.try_into().ok()?)
        };
        Some(Hello {
            version,
            from,
            to: InstanceId::new(u64::from_be_bytes(to)),
            nonce,
            alike: Alike(settings),
            proof,
        })
    };
    body().ok_or(WireError::Malformed("a Hello of a wrong length"))
}

fn number<const N: usize>(bytes: &[u8]) -> Option<([u8; N], &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    Some((*head, rest))
}

/// Which end of a link proves itself. It is part of the proof, so that nobody can answer with the
/// proof that was sent to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    /// The one that opened the link.
    Dialler,
    /// The one at which it was opened.
    Acceptor,
}

/// What both ends of a link know once both Hellos are exchanged: what a proof is about.
#[derive(Hash, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transcript {
    /// The instance that opened the link.
    pub(in crate::peers) dialler: InstanceId,
    /// The instance at which it was opened.
    acceptor: InstanceId,
    /// From the dialler's Hello.
    dialler_nonce: [u8; 16],
    /// From the acceptor's Hello.
    acceptor_nonce: [u8; 16],
    /// From the dialler's Hello.
    pub(in crate::peers) dialler_alike: Alike,
    /// From the acceptor's Hello.
    acceptor_alike: Alike,
    /// The version of the protocol that both speak.
    version: u16,
}

impl Transcript {
    /// Of the two Hellos, whose version is this one.
    pub(crate) const fn of(dialler: &Hello, acceptor: &Hello) -> Self {
        Self {
            dialler: dialler.from,
            acceptor: acceptor.from,
            dialler_nonce: dialler.nonce,
            acceptor_nonce: acceptor.nonce,
            dialler_alike: dialler.alike,
            acceptor_alike: acceptor.alike,
            version: VERSION,
        }
    }

    /// Proves that the secret is known at this end.
    pub(crate) fn prove(&self, secret: &ClusterSecret, role: Role) -> [u8; 32] {
        self.mac(secret, role).finalize().into_bytes().into()
    }

    /// Whether this is the proof of the other end, in a time that does not depend on where a wrong
    /// one differs.
    pub(crate) fn verify(&self, secret: &ClusterSecret, role: Role, proof: &[u8; 32]) -> bool {
        self.mac(secret, role).verify(&(*proof).into()).is_ok()
    }

    /// HMAC-SHA256. Every part has a fixed length, so no two transcripts have the same encoding.
    fn mac(&self, secret: &ClusterSecret, role: Role) -> Hmac<Sha256> {
        const LABEL: &[u8] = b"switchboard link proof";
        let role = match role {
            Role::Dialler => b'D',
            Role::Acceptor => b'A',
        };
        let mut mac =
            Hmac::<Sha256>::new_from_slice(secret.bytes()).expect("HMAC takes keys of any length");
        mac.update(LABEL);
        mac.update(&[role]);
        mac.update(&self.version.to_be_bytes());
        mac.update(&self.dialler.get().to_be_bytes());
        mac.update(&self.acceptor.get().to_be_bytes());
        mac.update(&self.dialler_nonce);
        mac.update(&self.acceptor_nonce);
        for alike in [&self.dialler_alike, &self.acceptor_alike] {
            for setting in alike.0 {
                mac.update(&setting.to_be_bytes());
            }
        }
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_hello_survives_the_wire_with_and_without_a_proof() {
        for proof in [None, Some([9; 32])] {
            let hello = Hello {
                proof,
                ..hello(VERSION)
            };
            assert_eq!(decode_hello(&encode_hello(&hello)), Ok(hello));
        }
    }

    #[test]
    fn a_hello_of_another_version_is_recognised_with_its_sender_however_it_goes_on() {
        let theirs = VERSION + 1;
        let bytes = encode_hello(&hello(theirs));
        let from = Some(InstanceId::new(1));
        let expected = Err(WireError::Version { theirs, from });
        assert_eq!(decode_hello(&bytes), expected);
        assert_eq!(decode_hello(&bytes[..13]), expected);
        assert_eq!(decode_hello(&[&bytes[..], b"more"].concat()), expected);
        assert_eq!(
            decode_hello(&bytes[..5]),
            Err(WireError::Version { theirs, from: None })
        );
    }

    #[test]
    fn a_hello_of_a_wrong_length_or_from_a_stranger_is_refused() {
        let bytes = encode_hello(&hello(VERSION));
        for end in 5..bytes.len() {
            assert!(
                matches!(decode_hello(&bytes[..end]), Err(WireError::Malformed(_))),
                "{end}"
            );
        }
        let longer = [&bytes[..], &[0; 31]].concat();
        assert!(matches!(
            decode_hello(&longer),
            Err(WireError::Malformed(_))
        ));
        for stranger in [&b""[..], b"SWB", b"SWB\0", b"GET / HTTP/1.1"] {
            assert_eq!(decode_hello(stranger), Err(WireError::NotOurs));
        }
    }

    /// H34: a stranger at a reused address cannot pass for the instance that was expected.
    /// H03: without the secret nothing can be proven.
    #[test]
    fn a_proof_verifies_for_nothing_but_what_it_was_made_for() {
        let secret = secret(b"sixteen bytes at least");
        let made_for = transcript();
        let proof = made_for.prove(&secret, Role::Dialler);
        assert!(made_for.verify(&secret, Role::Dialler, &proof));

        let id = InstanceId::new(77);
        let others = [
            Transcript {
                dialler: id,
                ..made_for.clone()
            },
            Transcript {
                acceptor: id,
                ..made_for.clone()
            },
            Transcript {
                dialler: made_for.acceptor,
                acceptor: made_for.dialler,
                ..made_for.clone()
            },
            Transcript {
                dialler_nonce: [7; 16],
                ..made_for.clone()
            },
            Transcript {
                acceptor_nonce: [7; 16],
                ..made_for.clone()
            },
            Transcript {
                dialler_alike: Alike([7; 8]),
                ..made_for.clone()
            },
            Transcript {
                acceptor_alike: Alike([7; 8]),
                ..made_for.clone()
            },
            Transcript {
                version: VERSION + 1,
                ..made_for.clone()
            },
        ];
        for other in others {
            assert!(!other.verify(&secret, Role::Dialler, &proof), "{other:?}");
        }
        assert!(
            !made_for.verify(&secret, Role::Acceptor, &proof),
            "a reflected proof"
        );
        let wrong = self::secret(b"sixteen other bytes");
        assert!(!made_for.verify(&wrong, Role::Dialler, &proof));
        for bit in 0..256 {
            let mut flipped = proof;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(
                !made_for.verify(&secret, Role::Dialler, &flipped),
                "bit {bit}"
            );
        }
    }

    proptest! {
        /// H36: no bytes panic the reader.
        #[test]
        fn arbitrary_bytes_are_a_hello_or_an_error(tail: Vec<u8>, ours: bool) {
            let head: &[u8] = if ours { b"SWB\0\x02" } else { b"" };
            let bytes = [head, &tail].concat();
            if let Ok(hello) = decode_hello(&bytes) {
                prop_assert_eq!(&encode_hello(&hello)[..], &bytes[..]);
            }
        }
    }

    fn hello(version: u16) -> Hello {
        Hello {
            version,
            from: InstanceId::new(1),
            to: InstanceId::new(2),
            nonce: [3; 16],
            alike: Alike([5; 8]),
            proof: None,
        }
    }

    fn transcript() -> Transcript {
        Transcript {
            dialler: InstanceId::new(1),
            acceptor: InstanceId::new(2),
            dialler_nonce: [3; 16],
            acceptor_nonce: [4; 16],
            dialler_alike: Alike([5; 8]),
            acceptor_alike: Alike([6; 8]),
            version: VERSION,
        }
    }

    fn secret(bytes: &[u8]) -> ClusterSecret {
        ClusterSecret::new(bytes).expect("long enough")
    }
}
