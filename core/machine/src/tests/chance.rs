//! Faults in any order, then none: everything must come right.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::config::Config;
use crate::directory::LeaseState;
use crate::event::{Event, Heard};
use crate::id::{ConnectionKey, Epoch};
use crate::testing::cluster::Server;
use crate::testing::rig::{HERE, Rig, refused};

#[derive(Clone, Copy, Debug)]
enum Chance {
    Connect(u8),
    Close(u8),
    Kick(u8),
    Push(u8),
    Say(u8),
    Answer,
    Refuse,
    RefuseRows,
    Execute,
    LoseAnswers,
    LoseTrips,
    Down,
    Up,
    Wipe,
    Pass(u16),
    Pause(u16),
    Stall,
    Write,
}

fn chance() -> impl Strategy<Value = Chance> {
    prop_oneof![
        6 => (0..4_u8).prop_map(Chance::Connect),
        3 => (0..8_u8).prop_map(Chance::Close),
        1 => (0..4_u8).prop_map(Chance::Kick),
        2 => (0..4_u8).prop_map(Chance::Push),
        1 => (0..8_u8).prop_map(Chance::Say),
        8 => Just(Chance::Answer),
        2 => Just(Chance::Refuse),
        1 => Just(Chance::RefuseRows),
        2 => Just(Chance::Execute),
        1 => Just(Chance::LoseAnswers),
        1 => Just(Chance::LoseTrips),
        1 => Just(Chance::Down),
        2 => Just(Chance::Up),
        1 => Just(Chance::Wipe),
        8 => (0..2000_u16).prop_map(Chance::Pass),
        1 => (0..40_000_u16).prop_map(Chance::Pause),
        1 => Just(Chance::Stall),
        1 => Just(Chance::Write),
    ]
}

/// An instance whose sockets end when they are told to.
struct Sockets {
    rig: Rig,
    open: Vec<ConnectionKey>,
    forgotten: usize,
    opened: usize,
}

impl Sockets {
    fn obey(&mut self, said: Vec<String>) {
        let mut said = said;
        while !said.is_empty() {
            self.forgotten += said
                .iter()
                .filter(|said| said.starts_with("forget"))
                .count();
            let ended: Vec<_> = (said.iter())
                .filter_map(|said| {
                    said.strip_prefix("close ")
                        .or_else(|| said.strip_prefix("abort "))
                })
                .filter_map(|rest| rest.split(' ').next()?.parse::<usize>().ok())
                .collect();
            said = Vec::new();
            for slot in ended {
                if let Some(at) = self.open.iter().position(|key| key.slot() == slot) {
                    let key = self.open.remove(at);
                    said.extend(self.rig.closed(key));
                }
            }
        }
    }

    fn take(&mut self, chance: Chance) {
        let rig = &mut self.rig;
        let said = match chance {
            Chance::Connect(user) => {
                let key = rig.accept(&format!("user{user}"));
                self.open.push(key);
                self.opened += 1;
                rig.opened(key)
            }
            Chance::Close(which) => match self.open.len() {
                0 => Vec::new(),
                open => {
                    let key = self.open.remove(usize::from(which) % open);
                    rig.closed(key)
                }
            },
            Chance::Kick(user) => rig.kick(&format!("user{user}")),
            Chance::Push(user) => rig.push(&format!("user{user}"), "x"),
            Chance::Say(which) => match self.open.get(usize::from(which)) {
                Some(key) => rig.heard(*key, Heard::Message),
                None => Vec::new(),
            },
            Chance::Answer => rig.answer(),
            Chance::Refuse => rig.answer_but(|_| refused()),
            Chance::RefuseRows => rig.answer_but(crate::testing::rig::out_of_memory),
            Chance::Execute => {
                rig.execute_unanswered();
                Vec::new()
            }
            Chance::LoseAnswers => {
                rig.cluster.held.clear();
                Vec::new()
            }
            Chance::LoseTrips => rig.lose_trips(),
            Chance::Down => rig.link_down(),
            Chance::Up => rig.link_up(),
            Chance::Wipe => {
                rig.cluster.directory.wipe();
                Vec::new()
            }
            Chance::Pass(millis) => rig.pass_ms(millis.into()),
            Chance::Pause(millis) => rig.pause(Duration::from_millis(millis.into())),
            Chance::Stall => {
                rig.cluster.writes = false;
                Vec::new()
            }
            Chance::Write => {
                rig.cluster.writes = true;
                let keys = self.open.clone();
                (keys.into_iter())
                    .filter(|key| self.rig.instance().terminals().is_writing(*key))
                    .collect::<Vec<_>>()
                    .into_iter()
                    .flat_map(|connection| self.rig.event(Event::Written { connection }))
                    .collect()
            }
        };
        self.obey(said);
    }

    fn heal(&mut self) {
        self.take(Chance::Write);
        self.rig.cluster.server = Server::Answers;
        self.take(Chance::Answer);
        if !self.rig.instance().membership().is_linked() {
            self.take(Chance::Up);
        }
        for _ in 0..20 {
            self.take(Chance::Pass(100));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// H11, H13, H19, H29, H38: whatever the directory and the terminals did, once they behave the
    /// live rows are those of the live connections, the lease is up, and what ended is forgotten.
    #[test]
    fn after_any_faults_rows_and_connections_agree(chances in vec(chance(), 1..120), rate in 20..2000_u32) {
        let mut rig = Rig::new(Config { settle_rate: rate, ..Config::default() });
        rig.cluster.server = Server::Waits;
        let mut sockets = Sockets { rig, open: Vec::new(), forgotten: 0, opened: 0 };
        for chance in chances {
            sockets.take(chance);
        }
        sockets.heal();
        for _ in 0..50 {
            sockets.take(Chance::Pass(100));
        }
        let Sockets { rig, open, forgotten, opened } = &mut sockets;
        let floor = Epoch::new(rig.lease().1);
        let mut live: Vec<_> = (rig.cluster.directory.rows(rig.cluster.now.mono))
            .filter(|(_, _, row)| row.instance == HERE && row.epoch >= floor)
            .map(|(_, id, _)| id)
            .collect();
        let mut here: Vec<_> = open.iter().filter_map(|key| rig.instance().connection_id(*key)).collect();
        live.sort_unstable();
        here.sort_unstable();
        prop_assert_eq!(&live, &here);
        prop_assert_eq!(*forgotten + open.len(), *opened);
        prop_assert_eq!(rig.lease().2, LeaseState::Up);
        prop_assert_eq!(rig.instance().stats().bugs, 0);
        for key in std::mem::take(open) {
            rig.closed(key);
        }
        rig.pass_ms(5000);
        prop_assert!(rig.instance().is_at_rest());
    }
}
