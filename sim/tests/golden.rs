//! The kept traces: what happens in a few schedules has not changed unnoticed.

use std::path::Path;

use switchboard_sim::golden::Golden;
use switchboard_sim::schedule::Schedule;

#[test]
fn kept_schedules_have_the_traces_that_were_kept() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let mut compared = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        let schedule = Schedule::parse(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let kept = std::fs::read_to_string(file.with_extension("trace")).unwrap();
        let difference = Golden::parse(&kept)
            .unwrap()
            .difference(&Golden::of(&schedule));
        if let Some(difference) = difference {
            panic!(
                "{}: {difference}\nif that is meant: cargo run --release -p switchboard-sim -- golden --write",
                file.display()
            );
        }
        compared += 1;
    }
    assert!(compared >= 10, "{compared} schedules were compared");
}
