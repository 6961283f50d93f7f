//! What became of a push on its path to a session.

use std::time::Duration;

use switchboard_core::message::{Audience, Outcome, Receipt};
use switchboard_core::time::Instant;

use super::chain::{Chain, Place};
use super::history::{Found, Happened, History, HistoryStep, RowState};
use super::row;
use super::words::{instance, moment, process, row_state, session as session_in_words};
use crate::ledger::{Part, Scope};
use crate::observed::{Life, LinkStep};

/// A push and one session to which it was due, where each is.
#[derive(Clone, Copy, Debug)]
struct PushPath {
    push: usize,
    session: usize,
    publisher: Life,
    holder: Option<Life>,
    /// When the publisher took it.
    taken: Instant,
}

/// Where a push stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The directory did not read the rows of the user for the publisher.
    Lookup,
    /// It did, and the session's row was not among them.
    RowMissing,
    /// It was, and it was dead.
    RowDead(RowState),
    /// It was live, and no delivery left.
    Delivery,
    /// The delivery did not arrive.
    Link,
    /// It arrived, and no frame was sent to the socket.
    Holder,
    /// The frame was sent, and did not leave.
    Socket,
}

/// Why a push has not reached a session.
pub(super) fn lost(history: &History, push: usize, session: usize) -> Chain {
    let facts = &history.pushes[push];
    let whom = session_in_words(history, session);
    let mut chain = Chain::new(format!(
        "push {} has not reached {whom} (session {session})",
        facts.name
    ));
    let Some(path) = path(history, push, session) else {
        return chain;
    };
    row::story(
        history,
        session,
        Some(answered_at(history, path)),
        &mut chain,
    );
    steps(history, path, &mut chain);
    let stage = stage(history, path);
    let (what, place) = stops(history, path, stage);
    chain.stops(history, what, place);
    chain
}

/// All that became of a push.
pub(super) fn all(history: &History, push: usize) -> Chain {
    let facts = &history.pushes[push];
    let mut chain = Chain::new(format!("push {}, to {}", facts.name, audience(&facts.to)));
    for session in 0..history.sessions.len() {
        if let Some(path) = path(history, push, session).filter(|path| concerns(history, *path)) {
            steps(history, path, &mut chain);
        }
    }
    chain
}

fn concerns(history: &History, path: PushPath) -> bool {
    let user = &history.sessions[path.session].user;
    match &history.pushes[path.push].to {
        Audience::User(of) | Audience::Connections { user: of, .. } => of == user,
        Audience::Users(users) => users.contains(user),
        Audience::Everyone => true,
        // Who is a member is not recorded.
        Audience::Topics { .. } => false,
    }
}

fn path(history: &History, push: usize, session: usize) -> Option<PushPath> {
    let taken = history.steps.iter().find_map(|step| match &step.what {
        Happened::HandedIn { hand_in, life, .. } if hand_in.push == push => Some((*life, step.at)),
        _ => None,
    });
    let (publisher, taken) = taken?;
    Some(PushPath {
        push,
        session,
        publisher,
        holder: history.sessions[session].life,
        taken,
    })
}

/// The steps of a push that have to do with one session.
fn steps(history: &History, path: PushPath, chain: &mut Chain) {
    for HistoryStep { at, what } in &history.steps {
        if let Some(words) = in_words(history, path, what, *at) {
            chain.step_once(*at, words);
        }
    }
}

fn in_words(history: &History, path: PushPath, what: &Happened, at: Instant) -> Option<String> {
    let name = &history.pushes[path.push].name;
    let of = |push: usize, session: usize| push == path.push && session == path.session;
    let whom = || session_in_words(history, path.session);
    Some(match what {
        Happened::HandedIn { hand_in, life, .. } if hand_in.push == path.push => {
            let again = if hand_in.time == 0 { "" } else { " once more" };
            format!("{} takes push {name}{again}", instance(*life))
        }
        Happened::Refused { hand_in, refused } if hand_in.push == path.push => {
            format!("push {name} is refused: {refused}")
        }
        Happened::LookedUp { life, user, found }
            if *life == path.publisher
                && *user == history.sessions[path.session].user
                && at >= path.taken
                && at <= answered_at(history, path) =>
        {
            format!(
                "the directory reads the rows of {user} for {}: {}",
                instance(*life),
                found_in_words(history, found)
            )
        }
        Happened::OnLink {
            push,
            from,
            to,
            step,
        } if *push == path.push => {
            let (from, to) = (process(*from), process(*to));
            match step {
                LinkStep::Written => format!("{from} writes push {name} on its link to {to}"),
                LinkStep::Stuck => format!("push {name} is stuck on the link from {from} to {to}"),
                LinkStep::Held => format!("push {name} does not pass from {from} to {to}"),
                LinkStep::Arrived => format!("push {name} from {from} arrives at {to}"),
                LinkStep::Lost => format!("push {name} is lost on the link from {from} to {to}"),
            }
        }
        Happened::Given { push, session } if of(*push, *session) => {
            format!("push {name} is sent to the socket of {}", whom())
        }
        Happened::Written { push, session } if of(*push, *session) => {
            format!("push {name} for {} is with the operating system", whom())
        }
        Happened::Seen { push, session } if of(*push, *session) => {
            format!("{} has push {name}", whom())
        }
        Happened::Answered { hand_in, receipt } if hand_in.push == path.push => {
            format!(
                "the receipt of push {name}: {}",
                receipt_in_words(history, receipt, path.session)
            )
        }
        _ => return None,
    })
}

/// When a push was answered, or the end of all.
fn answered_at(history: &History, path: PushPath) -> Instant {
    let answered = history.steps.iter().find_map(|step| match &step.what {
        Happened::Answered { hand_in, .. } if hand_in.push == path.push => Some(step.at),
        _ => None,
    });
    answered.or(history.end).unwrap_or(path.taken)
}

fn stage(history: &History, path: PushPath) -> Stage {
    let holder = path.holder.map(|life| life.host);
    let is_local = path.holder == Some(path.publisher);
    let after = || history.steps.iter().filter(|step| step.at >= path.taken);
    let on_link = |wanted: LinkStep| {
        after().any(|step| {
            matches!(step.what, Happened::OnLink { push, to, step, .. }
                if push == path.push && Some(to) == holder && step == wanted)
        })
    };
    let given = after().any(|step| {
        matches!(step.what, Happened::Given { push, session } if (push, session) == (path.push, path.session))
    });
    if given {
        return Stage::Socket;
    }
    // A delivery that was for others names those alone.
    let is_named = is_local || receipt_names(history, path);
    match looked_up(history, path) {
        stage @ (Stage::RowMissing | Stage::RowDead(_)) if !is_named => return stage,
        _ if is_local || on_link(LinkStep::Arrived) => return Stage::Holder,
        _ => {}
    }
    if on_link(LinkStep::Written) || on_link(LinkStep::Stuck) {
        return Stage::Link;
    }
    looked_up(history, path)
}

/// Whether the receipt says anything of the session.
fn receipt_names(history: &History, path: PushPath) -> bool {
    let connection = history.sessions[path.session].connection;
    history.steps.iter().any(|step| match &step.what {
        Happened::Answered { hand_in, receipt } if hand_in.push == path.push => {
            (receipt.terminals.iter()).any(|terminal| Some(terminal.connection) == connection)
        }
        _ => false,
    })
}

/// What the publisher was told when it asked for the rows.
fn looked_up(history: &History, path: PushPath) -> Stage {
    let until = answered_at(history, path);
    let facts = &history.sessions[path.session];
    let mut stage = Stage::Lookup;
    for step in history
        .steps
        .iter()
        .filter(|step| (path.taken..=until).contains(&step.at))
    {
        let Happened::LookedUp {
            life,
            user,
            found: Ok(found),
        } = &step.what
        else {
            continue;
        };
        if (*life, user) != (path.publisher, &facts.user) {
            continue;
        }
        let row = found
            .iter()
            .find(|found| Some(found.connection) == facts.connection);
        stage = match row.map(|row| row.state) {
            None => Stage::RowMissing,
            Some(RowState::Live) => return Stage::Delivery,
            Some(state) => Stage::RowDead(state),
        };
    }
    stage
}

/// What is missing, and where a fault would explain that.
fn stops(history: &History, path: PushPath, stage: Stage) -> (String, Place) {
    let publisher = instance(path.publisher);
    let holder = path.holder.map_or_else(|| "nobody".to_owned(), instance);
    let whom = session_in_words(history, path.session);
    let until = answered_at(history, path);
    let this = Scope::Instance(path.publisher.host);
    let that = path.holder.map(|life| Scope::Instance(life.host));
    let both: Vec<Scope> = [this].into_iter().chain(that).collect();
    let from = |since: Option<Instant>| since.unwrap_or(path.taken);
    let place = |what: String, parts: &[Part], scopes: Vec<Scope>, from: Instant| Place {
        what,
        parts: parts.to_vec(),
        scopes,
        from,
        until,
    };
    match stage {
        Stage::Lookup => (
            format!("the directory has not read the rows of this user for {publisher}"),
            place(
                format!("the directory, or of {publisher}, meanwhile"),
                &[Part::Directory, Part::Process, Part::Life],
                vec![Scope::All, this],
                path.taken,
            ),
        ),
        Stage::RowMissing | Stage::RowDead(_) => {
            let story = row::last_change(history, path.session, until);
            let why = match stage {
                Stage::RowDead(state) => format!("the row of {whom} is {}", row_state(state)),
                _ => format!(
                    "the row of {whom} is not there: {}",
                    row::why_missing(history, path.session, until)
                ),
            };
            let all = [Scope::All].into_iter().chain(both.clone()).collect();
            let since = from(story.or_else(|| row::accepted_at(history, path.session)));
            (
                why,
                place(
                    format!("the directory, or of {holder}, since that row was touched last"),
                    &[Part::Directory, Part::Process],
                    all,
                    since,
                ),
            )
        }
        Stage::Delivery => (
            format!(
                "{publisher} knows the row, and writes nothing to {holder}, of whom it was told {}",
                told_of_holder(history, path)
            ),
            place(
                format!("the links between {publisher} and {holder}, nor of either"),
                &[Part::Links, Part::Process, Part::Life],
                path.links().chain(both.clone()).collect(),
                path.taken.before(LATELY),
            ),
        ),
        Stage::Link => (
            format!("what {publisher} has written does not arrive at {holder}"),
            place(
                format!("the links between {publisher} and {holder}, nor of either"),
                &[Part::Links, Part::Process, Part::Life],
                path.links().chain(both.clone()).collect(),
                path.taken,
            ),
        ),
        Stage::Holder => (
            format!("{holder} has it and sends no frame to {whom}"),
            place(
                format!("{whom}, or of {holder}"),
                &[Part::Terminal, Part::Process, Part::Life],
                that.into_iter()
                    .chain([Scope::Session(path.session)])
                    .collect(),
                path.taken,
            ),
        ),
        Stage::Socket => (
            format!("the frame is at the socket of {whom} and does not leave"),
            place(
                format!("{whom}, or of {holder}"),
                &[Part::Terminal, Part::Process, Part::Life],
                that.into_iter()
                    .chain([Scope::Session(path.session)])
                    .collect(),
                path.taken,
            ),
        ),
    }
}

/// When the publisher was told last, before the push, of the holder.
fn told_of_holder(history: &History, path: PushPath) -> String {
    let before = history
        .steps
        .iter()
        .take_while(|step| step.at <= path.taken);
    let told = before.filter(|step| match &step.what {
        Happened::Told { life, of } => {
            *life == path.publisher && history.instances.get(of).copied() == path.holder
        }
        _ => false,
    });
    let last = told.last();
    last.map_or_else(
        || "never".to_owned(),
        |step| format!("at {}", moment(step.at)),
    )
}

/// A link that broke so long before a push may not have been opened again.
const LATELY: Duration = Duration::from_secs(2);

impl PushPath {
    /// What is between publisher and holder.
    fn links(self) -> impl Iterator<Item = Scope> {
        let holder = self.holder.map(|life| life.host);
        let publisher = self.publisher.host;
        let pairs = holder.into_iter().flat_map(move |holder| {
            [
                Scope::Between(publisher, holder),
                Scope::Between(holder, publisher),
            ]
        });
        pairs.chain([Scope::All])
    }
}

fn audience(to: &Audience) -> String {
    match to {
        Audience::User(user) | Audience::Connections { user, .. } => user.to_string(),
        Audience::Users(users) => {
            let names: Vec<_> = users.iter().map(ToString::to_string).collect();
            names.join(", ")
        }
        Audience::Everyone => "everyone".to_owned(),
        Audience::Topics { .. } => "members of topics".to_owned(),
    }
}

fn found_in_words(history: &History, found: &Result<Vec<Found>, String>) -> String {
    let found = match found {
        Ok(found) if found.is_empty() => return "there is none".to_owned(),
        Ok(found) => found,
        Err(error) => return format!("it does not, {error}"),
    };
    let one = |found: &Found| {
        let whose = match history.session_of(found.connection) {
            Some(session) => session_in_words(history, session),
            None => "somebody unknown".to_owned(),
        };
        let life = history.instances.get(&found.instance);
        let at = life.map_or_else(|| "an unknown instance".to_owned(), |life| instance(*life));
        format!("{whose} at {at}, {}", row_state(found.state))
    };
    found.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn receipt_in_words(history: &History, receipt: &Receipt, session: usize) -> String {
    let degraded = if receipt.degraded { "degraded, " } else { "" };
    let connection = history.sessions[session].connection;
    let of = (receipt.terminals.iter()).find(|terminal| Some(terminal.connection) == connection);
    let said = match of.map(|terminal| terminal.outcome) {
        Some(outcome) => outcome.name(),
        None => "nothing",
    };
    let whom = session_in_words(history, session);
    let all: u64 = receipt.terminals.len() as u64;
    let written = receipt
        .terminals
        .iter()
        .filter(|terminal| terminal.outcome == Outcome::Written);
    let written = written.count();
    format!("{degraded}{written} of {all} terminals written; it says {said} of {whom}")
}
