//! Sequences of commands, right and wrong, and what Centrifugo has told its clients when the same was done there: the same
//! kinds of replies and pushes, the same codes.

use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::Value;
use switchboard_tests::api::push;
use switchboard_tests::behaviour::{Behaviour, ONE};
use switchboard_tests::behaviours;
use switchboard_tests::centrifuge::Encoding;
use switchboard_tests::centrifuge::difference::expected;
use switchboard_tests::centrifuge::player::{Application, SECRET, Stage, differs};
use switchboard_tests::centrifuge::transcript::{Recorded, TRANSCRIPT, read};
use switchboard_tests::http::Request;
use switchboard_tests::matrix::Cell;
use switchboard_tests::server::Server;
use switchboard_tests::suite;

pub(crate) const LIST: &[Behaviour] =
    behaviours![(ONE, clients_are_told_what_centrifugo_tells_them)];

/// What clients may do is the same as there.
const NAMESPACES: [&str; 4] = [
    "chat:=subscribe+publish+presence",
    "room:=subscribe+publish+history",
    "news:=subscribe",
    "hall:=subscribe+join_leave",
];

/// How often a sequence is played that differs.
const TRIES: usize = 3;
/// Of so many sequences one is played, unless the whole matrix is tried. It is odd, so that both encodings come.
const PLAYED: usize = 7;
/// Sequences that are played at a time.
const AT_ONCE: usize = 8;

fn clients_are_told_what_centrifugo_tells_them(cell: Cell) {
    let namespaces: Vec<_> = NAMESPACES.map(str::to_owned).to_vec();
    let cluster = cell.start_with(1, |settings| {
        settings
            .with("auth", "jwt")
            .with_file("jwt_secret_file", SECRET)
            .with("jwt_allow_unexpiring", true)
            .with("namespaces", namespaces)
            .with("presence_grace", "1ms")
            .with("topic_publications", 1000)
    });
    let application = Switchboard(&cluster[0]);
    let transcript = fs::read_to_string(TRANSCRIPT).expect("it is in the repository");
    let mut all = read(&transcript);
    if !suite::is_whole() {
        all = all.into_iter().step_by(PLAYED).collect();
    }
    let next = AtomicUsize::new(0);
    let compared = AtomicUsize::new(0);
    let different = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(recorded) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Some(difference) = difference(&application, &compared, recorded) {
                        different
                            .lock()
                            .expect("nobody panics with it")
                            .push(difference);
                    }
                }
            });
        }
    });
    let different = different.into_inner().expect("nobody panics with it");
    assert!(
        different.is_empty(),
        "{} of {} sequences:\n{}",
        different.len(),
        all.len(),
        different.join("\n")
    );
    let steps: usize = all.iter().map(|recorded| recorded.steps.len()).sum();
    let compared = compared.into_inner();
    assert!(
        compared * 3 > steps * 2,
        "{compared} of {steps} steps are compared"
    );
}

fn difference(
    application: &Switchboard<'_>,
    compared: &AtomicUsize,
    Recorded { sequence, steps }: &Recorded,
) -> Option<String> {
    let encoding = Encoding::ALL[sequence.seed as usize % 2];
    let stage = Stage {
        terminals: application.0.terminals(),
        encoding,
        application,
    };
    let expected = expected(&sequence.steps, steps);
    let known = expected.iter().flatten().count();
    compared.fetch_add(known, Ordering::Relaxed);
    let mut sequence = sequence.clone();
    // A server that is short of processors says now and then that it does not know, and tells it later.
    for _ in 1..TRIES {
        differs(&stage, &sequence, &expected)?;
        sequence = sequence.again();
    }
    let (at, told) = differs(&stage, &sequence, &expected)?;
    let before: Vec<_> = sequence
        .steps
        .iter()
        .zip(steps)
        .take(at)
        .map(|(step, noted)| format!("    {step:?} -> {noted:?}\n"))
        .collect();
    Some(format!(
        "  sequence {} in {encoding:?}:\n{}    {:?}\n      Centrifugo: {:?}\n      expected: {:?}\n      told: {told:?}",
        sequence.seed,
        before.concat(),
        sequence.steps[at],
        steps[at],
        expected[at],
    ))
}

struct Switchboard<'a>(&'a Server);

impl Application for Switchboard<'_> {
    fn push(&self, channel: &str, data: &Value) {
        let text = data.to_string();
        match channel.strip_prefix('#') {
            Some(user) => drop(
                self.0
                    .api()
                    .receipt(push(user, text).query("durable", "true")),
            ),
            None => {
                let durable = channel.starts_with("room:").to_string();
                let request = Request::new("POST", format!("/v1/topics/{channel}/push")).body(text);
                self.0.api().receipt(request.query("durable", &durable));
            }
        }
    }

    fn kick(&self, user: &str) {
        self.0.api().kick(user);
    }

    fn remove(&self, channel: &str, user: &str) {
        self.0.api().leave(channel, user);
    }
}
