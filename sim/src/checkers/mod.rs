//! Our invariants, each a [`Checker`].

mod ack_true;
mod addressee;
mod all_terminals;
mod allowance;
mod append_times;
mod connect_ends;
mod convergence;
mod counters;
mod dead_rows;
mod directory_rate;
mod doubt;
mod drain;
mod empty_at_rest;
mod ends;
mod explained_errors;
mod fencing;
mod figures;
mod followed;
mod ghost_debt;
mod given_up;
mod head_checks;
mod hello_means_reachable;
mod hygiene;
mod joins_end;
mod kept_true;
mod knowledge;
mod lateness;
mod lease_times;
mod left_unwritten;
mod limits;
mod link_times;
mod lists_true;
mod log_complete;
mod log_durable;
mod log_read;
mod looked_up_again;
mod missing_rows;
mod no_creation;
mod no_duplicate;
mod no_false_gap;
mod no_resurrection;
mod one_payload;
mod order;
mod orphan_debt;
mod own_lease;
mod presence;
mod push_times;
mod receipt_complete;
mod receipt_numbers;
mod receipt_true;
mod recycled_address;
mod remembered;
mod replicated_true;
mod resumes_end;
mod strangers;
mod suspicion_ends;
mod terminal_times;
mod terminal_told;
mod topic_members;
mod topic_rows;

pub use ack_true::AckTrue;
pub use addressee::Addressee;
pub use all_terminals::AllTerminals;
pub use append_times::AppendTimes;
pub use connect_ends::ConnectEnds;
pub use convergence::Convergence;
pub use dead_rows::DeadRows;
pub use directory_rate::DirectoryRate;
pub use doubt::Doubt;
pub use drain::DrainPace;
pub use empty_at_rest::EmptyAtRest;
pub use ends::Ends;
pub use explained_errors::ExplainedErrors;
pub use fencing::Fencing;
pub use figures::Figures;
pub use ghost_debt::GhostDebt;
pub use given_up::GivenUp;
pub use hello_means_reachable::MeansReachable;
pub use hygiene::Hygiene;
pub use joins_end::JoinsEnd;
pub use kept_true::KeptTrue;
pub use lease_times::LeaseTimes;
pub use limits::Limits;
pub use link_times::LinkTimes;
pub use lists_true::ListsTrue;
pub use log_complete::LogComplete;
pub use log_durable::LogDurable;
pub use log_read::LogReadTrue;
pub use looked_up_again::LookedUpAgain;
pub use no_creation::NoCreation;
pub use no_duplicate::NoDuplicate;
pub use no_false_gap::NoFalseGap;
pub use no_resurrection::NoResurrection;
pub use one_payload::OnePayload;
pub use order::Order;
pub use orphan_debt::OrphanDebt;
pub use presence::{NoDoubleLeave, PresenceTrue};
pub use push_times::PushTimes;
pub use receipt_complete::ReceiptComplete;
pub use receipt_true::ReceiptTrue;
pub use recycled_address::RecycledAddress;
pub use remembered::Remembered;
pub use replicated_true::ReplicatedTrue;
pub use resumes_end::ResumesEnd;
pub use strangers::Strangers;
pub use suspicion_ends::SuspicionEnds;
pub use terminal_times::TerminalTimes;
pub use terminal_told::TerminalTold;
pub use topic_members::TopicMembers;
pub use topic_rows::TopicRows;

use crate::checker::Checker;

/// All of them.
pub fn all() -> Vec<Box<dyn Checker>> {
    let mut all = cheap();
    all.extend([
        Box::new(Limits::default()) as Box<dyn Checker>,
        Box::new(OrphanDebt),
        Box::new(GhostDebt::default()),
        Box::new(MeansReachable::hello()),
        Box::new(MeansReachable::joined()),
        Box::new(AllTerminals::default()),
        Box::new(ReceiptComplete::default()),
        Box::new(ListsTrue::default()),
        Box::new(DeadRows::default()),
        Box::new(LookedUpAgain::default()),
        Box::new(Remembered::default()),
        Box::new(Figures::default()),
    ]);
    all
}

/// Those that look only at what has just happened, and at the whole world only at rest or when a receipt,
/// or a floor that rises, calls for it.
pub fn cheap() -> Vec<Box<dyn Checker>> {
    vec![
        Box::new(Addressee),
        Box::new(NoCreation),
        Box::new(NoDuplicate::default()),
        Box::new(Order::default()),
        Box::new(ReceiptTrue),
        Box::new(Hygiene),
        Box::new(ExplainedErrors),
        Box::new(Fencing::default()),
        Box::new(NoResurrection),
        Box::new(RecycledAddress::default()),
        Box::new(ConnectEnds),
        Box::new(Convergence),
        Box::new(EmptyAtRest::default()),
        Box::new(Ends::default()),
        Box::new(TerminalTimes::default()),
        Box::new(LinkTimes::default()),
        Box::new(Strangers::default()),
        Box::new(LeaseTimes::default()),
        Box::new(AppendTimes::default()),
        Box::new(PushTimes::default()),
        Box::new(GivenUp::default()),
        Box::new(DrainPace::default()),
        Box::new(SuspicionEnds::default()),
        Box::new(Doubt::default()),
        Box::new(DirectoryRate::default()),
        Box::new(TerminalTold::default()),
        Box::new(LogComplete::default()),
        Box::new(NoFalseGap::default()),
        Box::new(ResumesEnd::default()),
        Box::new(LogDurable::default()),
        Box::new(OnePayload::default()),
        Box::new(AckTrue::default()),
        Box::new(LogReadTrue::default()),
        Box::new(ReplicatedTrue::default()),
        Box::new(KeptTrue::default()),
        Box::new(TopicMembers::default()),
        Box::new(JoinsEnd::default()),
        Box::<TopicRows>::default(),
        Box::new(PresenceTrue::default()),
        Box::new(NoDoubleLeave::default()),
    ]
}

/// The one of this name.
pub fn named(name: &str) -> Option<Box<dyn Checker>> {
    all().into_iter().find(|checker| checker.name() == name)
}
