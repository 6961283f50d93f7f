//! The bugs of the simulator that documents name.

use std::collections::BTreeSet;
use std::fs;

use crate::{read, root};

/// What happens without a rule is shown by a bug, and each such bug has a schedule that is kept.
#[test]
fn the_bugs_that_the_architecture_names_have_schedules() {
    let folder = root().join("sim/schedules/flaws");
    let kept: BTreeSet<String> = (fs::read_dir(&folder).expect("schedules are kept"))
        .map(|entry| entry.expect("a file").file_name())
        .filter_map(|name| Some(name.to_str()?.split_once('.')?.0.to_owned()))
        .collect();
    let text = read(&root().join("ARCHITECTURE.md"));
    let named: Vec<&str> = text.lines().filter_map(bug).collect();
    assert!(named.len() > 30, "the tables are read otherwise: {named:?}");
    let unknown: Vec<_> = named.iter().filter(|bug| !kept.contains(**bug)).collect();
    assert!(unknown.is_empty(), "no schedule shows {unknown:?}");
}

/// The bug in the last cell of a row, if it has nothing else.
fn bug(row: &str) -> Option<&str> {
    let last = row.strip_suffix(" |")?.rsplit(" | ").next()?;
    let name = last.strip_prefix('`')?.strip_suffix('`')?;
    let is_one = name.contains('-') && name.bytes().all(|c| c == b'-' || c.is_ascii_lowercase());
    is_one.then_some(name)
}
