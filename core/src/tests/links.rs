//! Links between instances: opened once, by both, by strangers; broken and opened again.

use std::time::Duration;

use super::{outcomes, pair};
use crate::cluster::{frame, user};
use crate::message::Outcome;

/// H43: both sides dial, and one link serves both; nothing that was sent is lost.
#[test]
fn when_both_dial_the_link_of_the_lower_id_stays_and_everything_arrives() {
    for shuffle in [None].into_iter().chain((0..300).map(Some)) {
        let mut cluster = pair();
        cluster.shuffle = shuffle;
        let (_, ann) = cluster.connect(0, "ann");
        let (_, bob) = cluster.connect(1, "bob");
        let to_bob = cluster.hand_in(0, frame(user("bob"), "for bob", 1));
        let to_ann = cluster.hand_in(1, frame(user("ann"), "for ann", 2));
        cluster.settle_down();
        cluster.pass(Duration::from_secs(1));
        assert_eq!(outcomes(&cluster, to_bob), [(bob, Outcome::Written)], "{shuffle:?}");
        assert_eq!(outcomes(&cluster, to_ann), [(ann, Outcome::Written)], "{shuffle:?}");
        assert!(cluster.link_ends() <= 2, "more than one link: {shuffle:?}");
        assert_eq!(cluster.texts(ann), ["for ann"]);
        assert_eq!(cluster.texts(bob), ["for bob"]);
    }
}
