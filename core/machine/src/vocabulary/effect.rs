//! Effects: what a call of one wing means for another that it may not touch.

use std::time::Duration;

use crate::delivery::{Delivered, Delivery};
use crate::directory::SeenLease;
use crate::event::Follow;
use crate::id::{ConnectionKey, InstanceId, LinkKey, TopicId};
use crate::position::Position;
use crate::time::Instant;
use crate::vocabulary::missed::MissedLogs;
use crate::vocabulary::missing::Missing;
use crate::vocabulary::terminal::TerminalChange;

/// What a call of one wing means for another. It waits in the [`Context`](crate::context::Context) until
/// the call has ended; [`wings`](crate::wings) says who carries it, when, and how many can wait.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    /// A terminal has changed: for the membership.
    Terminal(TerminalChange),
    /// A terminal has become a member of a topic, and waits until the directory knows that this instance has some:
    /// for the membership.
    TopicJoined(TopicId),
    /// The last member of a topic has left: for the membership.
    TopicEmpty(TopicId),
    /// A member of a topic was told so, and wants to be told who the others are: for those who read them.
    Watching(TopicId, ConnectionKey),
    /// There is room in the queue of a follower: for the followers.
    HasRoom(ConnectionKey),
    /// The row of a terminal is asked to be written: for the followers, whose logs are read behind that.
    RowAsked(ConnectionKey),
    /// A member of a topic asks for the topic's log: for the followers.
    TopicFollowed(TopicId, ConnectionKey, Box<Follow>),
    /// A member of a topic that has asked for its log leaves: for the followers, and for the deliveries that wait for its
    /// confirmations.
    TopicUnfollowed(TopicId, ConnectionKey),
    /// The row of a topic is asked to be written: for the followers, whose positions are compared behind that.
    TopicRowAsked(TopicId),
    /// A terminal confirms a record of its user's log, or of that of a topic: for the followers, and for the deliveries
    /// that wait for that.
    Acked(ConnectionKey, Option<TopicId>, Position),
    /// Deliveries may have missed followers of these logs: for the followers.
    Missed(MissedLogs),
    /// A delivery that came over this link is answered: for the peers.
    Answered { link: LinkKey, delivered: Delivered },
    /// Terminals of this instance are to be served, and the answer leaves over the link, on which what is
    /// said takes so long to be answered: for those who serve deliveries.
    Deliver {
        link: LinkKey,
        round_trip: Duration,
        delivery: Box<Delivery>,
    },
    /// An instance says what became of a delivery: for the publisher.
    Delivered {
        link: LinkKey,
        by: InstanceId,
        delivered: Delivered,
    },
    /// The directory works for a peer: for the drain, which may be cut off alone.
    DirectoryWorks,
    /// The lease was claimed, and this may be missing from the directory. An isolation is over, which is
    /// for the drain; unless the lease is to be given back, the membership settles.
    Claimed { missing: Missing },
    /// The leases of all instances have come, which were asked for at this moment. The peers know what
    /// instances say on their links, and look for those that say nothing; the publisher has waited for it.
    Leases {
        asked: Instant,
        leases: Vec<SeenLease>,
    },
    /// They cannot be read: the publisher has waited in vain.
    ViewFailed,
}
