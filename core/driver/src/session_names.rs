//! What terminals name themselves by where what they say comes on other connections than their own, at any instance of
//! the cluster. Each can tell a name that another one has given: nobody makes it ask others by inventing some.

use switchboard_core::config::ClusterSecret;
use switchboard_core::id::{InstanceId, SessionName};
use switchboard_protocol::centrifuge::Names;

use crate::hex;

/// Makes names, and recognises those that any instance with the same secret has made.
#[derive(Clone)]
pub(crate) struct SessionNames(ClusterSecret);

impl SessionNames {
    pub(crate) const fn new(secret: ClusterSecret) -> Self {
        Self(secret)
    }

    /// What a terminal of an instance is told.
    pub(crate) fn names(&self, instance: InstanceId, name: SessionName) -> Names {
        let signature = self.0.sign(&said(instance, name));
        Names {
            session: hex(name.bytes()) + &hex(&signature),
            node: instance.to_string(),
        }
    }

    /// The name of a terminal of an instance, if an instance of the cluster has given it.
    pub(crate) fn name(&self, instance: InstanceId, session: &str) -> Option<SessionName> {
        let (name, signature) = session.split_at_checked(2 * SessionName::LEN)?;
        let name = SessionName::new(bytes(name)?);
        let is_ours = self.0.has_signed(&said(instance, name), &bytes(signature)?);
        is_ours.then_some(name)
    }
}

fn said(instance: InstanceId, name: SessionName) -> Vec<u8> {
    [&instance.get().to_be_bytes()[..], name.bytes()].concat()
}

/// What hexadecimal digits stand for.
fn bytes<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let is_hex = digits.len() == 2 * N && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    if !is_hex {
        return None;
    }
    let mut bytes = [0; N];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_of(secret: &[u8]) -> SessionNames {
        SessionNames::new(ClusterSecret::new(secret).expect("long enough"))
    }

    #[test]
    fn a_name_is_known_in_the_cluster_that_gave_it_and_for_its_instance() {
        let [one, other] = [1, 2].map(InstanceId::new);
        let (name, ours) = (
            SessionName::new([7; 16]),
            names_of(b"a secret of the cluster"),
        );
        let Names { session, node } = ours.names(one, name);
        assert_eq!(node, one.to_string());
        assert_eq!(ours.name(one, &session), Some(name));
        assert_eq!(ours.name(other, &session), None);
        let theirs = names_of(b"a secret of another one");
        assert_eq!(theirs.name(one, &session), None);
        let mut forged = session.clone();
        forged.replace_range(..1, "1");
        for wrong in [
            forged,
            session[1..].to_owned(),
            String::new(),
            "ä".repeat(48),
        ] {
            assert_eq!(ours.name(one, &wrong), None, "{wrong}");
        }
    }
}
