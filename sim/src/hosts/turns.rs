//! The turns of instances: what comes waits for the next one, and so do timers.

use std::time::Duration;

use switchboard_core::Instance;
use switchboard_core::command::Outbox;
use switchboard_core::directory::{OperationError, OperationResult, Reply, SeenLease};
use switchboard_core::event::{Closure, Event, Handshake, Refused};
use switchboard_core::id::{ConnectionId, ConnectionKey, LinkKey};
use switchboard_core::time::{Instant, Now};

use super::Hosts;
use crate::boundary::{Intake, Met};
use crate::context::Context;
use crate::noise::Purpose;
use crate::observed::{Account, Life, Observed, Topic};
use crate::vocabulary::happening::{Happening, Input};

/// The slots of time in each of which a process has one turn: an input waits for half as long on
/// average, or for twice as long at most.
const TURN: Duration = Duration::from_micros(100);
/// A turn ends after so many calls, or it never will.
const CALLS_PER_TURN: usize = 10_000;

impl Hosts {
    /// An event waits for the next turn of an instance, if it lives.
    pub(crate) fn event(&mut self, cx: &mut Context, life: Life, event: Event) {
        self.input(cx, life, Input::Event(Box::new(event)));
    }

    /// Something waits for the next turn of an instance, if it lives.
    pub(crate) fn input(&mut self, cx: &mut Context, life: Life, input: Input) {
        if self.lives(life) {
            self.processes[life.host].inbox.push(input);
            self.wake(cx, life);
        }
    }

    /// A timer of an instance may be due.
    pub(crate) fn timer(&mut self, cx: &mut Context, life: Life) {
        if self.lives(life) && self.processes[life.host].timer == Some(cx.now) {
            self.processes[life.host].timer = None;
            self.wake(cx, life);
        }
    }

    fn wake(&mut self, cx: &mut Context, life: Life) {
        let process = &mut self.processes[life.host];
        if process.turn.is_some() {
            return;
        }
        let ids = [life.host as u64, life.number.into()];
        let at = cx.noise.slot(cx.now, TURN, Purpose::Turn, &ids);
        let at = at.max(process.paused_until);
        process.turn = Some(at);
        cx.put(at, Happening::Turn(life));
    }

    /// An instance takes its turn, unless it stands still. Returns what it takes in.
    pub(crate) fn begin_turn(&mut self, cx: &mut Context, life: Life) -> Option<Vec<Input>> {
        let process = &mut self.processes[life.host];
        if process.life != life.number || process.turn != Some(cx.now) {
            return None;
        }
        if process.paused_until > cx.now {
            let at = process.paused_until;
            process.turn = Some(at);
            cx.put(at, Happening::Turn(life));
            return None;
        }
        process.turn = None;
        Some(std::mem::take(&mut process.inbox))
    }

    /// The list of inputs keeps its memory for the next turn.
    pub(crate) fn reuse(&mut self, host: usize, inputs: Vec<Input>) {
        let inbox = &mut self.processes[host].inbox;
        if inbox.is_empty() {
            *inbox = inputs;
        }
    }

    /// An instance takes an event in.
    pub(crate) fn handle(&mut self, cx: &mut Context, life: Life, event: Event, out: &mut Outbox) {
        let now = self.clock_of(cx, life.host);
        // Whether the instance takes the answer in, or has given the round trip up.
        let leases = leases_in(&event);
        let watched = cx.watches(Topic::Boundary);
        let states = cx.watches(Topic::States);
        let Some(instance) = self.instance_mut(life) else {
            return;
        };
        let met = match states {
            true => Met::of(instance, &event),
            false => Vec::new(),
        };
        let late = instance.stats().late_answers;
        let of_the_world = Now {
            mono: cx.now,
            wall: now.wall,
        };
        let mut intake = watched.then(|| Intake::of(&event, of_the_world, true));
        instance.handle(now, event, out);
        let in_time = instance.stats().late_answers == late;
        if let Some(Intake::TripAnswered { in_time: told, .. }) = &mut intake {
            *told = in_time;
        }
        for met in met {
            cx.observe(Observed::Met { life, met });
        }
        if let Some(intake) = intake {
            cx.observe(Observed::Took { life, intake });
        }
        if let Some(leases) = leases.filter(|_| in_time) {
            cx.observe(Observed::Viewed { life, leases });
        }
    }

    /// Whether an instance knows who a terminal is.
    pub(crate) fn knows(&self, cx: &Context, life: Life, connection: ConnectionKey) -> bool {
        let now = self.clock_of(cx, life.host);
        let instance = self.processes[life.host].instance.as_ref();
        let ended = instance.and_then(|instance| instance.ended(now, connection, Closure::Clean));
        ended.is_some_and(|ended| ended.user.is_some())
    }

    /// What an instance says of a connection whose end it is about to take in.
    pub(crate) fn account(
        &self,
        cx: &Context,
        life: Life,
        connection: ConnectionKey,
        closure: Closure,
    ) -> Option<Account> {
        let now = self.clock_of(cx, life.host);
        let instance = self.processes[life.host].instance.as_ref()?;
        let ended = instance.ended(now, connection, closure)?;
        Some(Account {
            ending: ended.ending,
            lived: ended.lived,
            messages: ended.messages,
            frames: ended.frames,
            bytes: ended.bytes,
        })
    }

    /// An instance takes the handshake of a terminal, or refuses it. It may not say who the terminal is.
    pub(crate) fn accept(
        &mut self,
        cx: &Context,
        life: Life,
        handshake: Handshake,
        is_known: bool,
    ) -> Option<Result<(ConnectionKey, ConnectionId), Refused>> {
        let now = self.clock_of(cx, life.host);
        let instance = self.instance_mut(life)?;
        let outcome = match is_known {
            true => instance.accept(now, handshake),
            false => instance.accept_stranger(now, handshake.size),
        };
        Some(outcome.map(|key| {
            let id = instance.connection_id(key).expect("it was accepted");
            (key, id)
        }))
    }

    /// An instance takes the socket of a link, or refuses it.
    pub(crate) fn accept_link(&mut self, cx: &Context, life: Life) -> Option<Option<LinkKey>> {
        let now = self.clock_of(cx, life.host);
        let instance = self.instance_mut(life)?;
        Some(instance.accept_link(now))
    }

    /// An instance serves the timers that are due. `false` if it does not run.
    pub(crate) fn serve_timers(&mut self, cx: &mut Context, life: Life, out: &mut Outbox) -> bool {
        let now = self.clock_of(cx, life.host);
        let Some(instance) = self.instance_mut(life) else {
            return false;
        };
        let is_due =
            |instance: &Instance| (instance.next_timeout()).is_some_and(|(at, _)| at <= now.mono);
        let mut calls = 0;
        while is_due(instance) && calls < CALLS_PER_TURN {
            instance.handle_timeout(now, out);
            calls += 1;
        }
        if calls == CALLS_PER_TURN {
            cx.observe(Observed::Livelocked(life));
        }
        true
    }

    /// When the next timer of an instance is due.
    pub(crate) fn next_timeout(&self, life: Life) -> Option<Instant> {
        let instance = self.processes[life.host].instance.as_ref()?;
        Some(instance.next_timeout()?.0)
    }

    /// An instance that lives is called when its next timer is due.
    pub(crate) fn arm(&mut self, cx: &mut Context, life: Life, at: Instant) {
        if !self.lives(life) {
            return;
        }
        let at = at.max(cx.now + Duration::from_nanos(1));
        let timer = &mut self.processes[life.host].timer;
        if timer.is_none_or(|armed| at < armed) {
            *timer = Some(at);
            cx.put(at, Happening::Timer(life));
        }
    }

    fn instance_mut(&mut self, life: Life) -> Option<&mut Instance> {
        let process = &mut self.processes[life.host];
        let lives = process.life == life.number;
        process.instance.as_deref_mut().filter(|_| lives)
    }
}

/// The leases that an answer of the directory tells.
fn leases_in(event: &Event) -> Option<Vec<SeenLease>> {
    let Event::Directory {
        outcomes: Ok(outcomes),
        ..
    } = event
    else {
        return None;
    };
    // A server that does not serve as a primary is not believed.
    let elsewhere =
        |outcome: &OperationResult| matches!(outcome, Err(OperationError::NotPrimary(_)));
    if outcomes.iter().any(elsewhere) {
        return None;
    }
    outcomes.iter().find_map(|outcome| match outcome {
        Ok(Reply::Leases { leases, .. }) => Some(leases.clone()),
        _ => None,
    })
}
