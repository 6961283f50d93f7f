//! Every hazard has a test that names it.

use std::collections::{BTreeMap, BTreeSet};

use crate::{files, read, root};

/// How many hazards there are: H01 to H64.
const HAZARDS: u32 = 64;

/// H56: the list in the documentation is whole, and each entry of it is named by the doc comment of
/// some test.
#[test]
fn every_hazard_is_named_by_a_test() {
    let mut named: BTreeMap<u32, usize> = BTreeMap::new();
    for file in files("rs") {
        for number in numbers_in_doc_comments_of_tests(&read(&file)) {
            *named.entry(number).or_default() += 1;
        }
    }
    let missing: Vec<_> = (1..=HAZARDS)
        .filter(|n| !named.contains_key(n))
        .map(|n| format!("H{n:02}"))
        .collect();
    assert!(missing.is_empty(), "no test names {missing:?}");
    let unknown: Vec<_> = named
        .keys()
        .filter(|n| !(1..=HAZARDS).contains(*n))
        .collect();
    assert!(
        unknown.is_empty(),
        "tests name hazards that do not exist: {unknown:?}"
    );
}

/// The documentation lists exactly the hazards that there are.
#[test]
fn the_documentation_lists_every_hazard_once() {
    let text = read(&root().join("docs/hazards.md"));
    let listed: BTreeSet<u32> = text.lines().flat_map(numbers).collect();
    assert_eq!(listed, (1..=HAZARDS).collect());
}

/// The hazards in doc comments that stand right above a `#[test]` or a behaviour.
fn numbers_in_doc_comments_of_tests(source: &str) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let mut pending = BTreeSet::new();
    for line in source.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix("///") {
            pending.extend(numbers(comment));
        } else if line.starts_with("#[test]") || line.ends_with("(cell: Cell) {") {
            found.append(&mut pending);
        } else if !line.starts_with("#[") {
            pending.clear();
        }
    }
    found
}

/// The numbers in `H07, H11: ...`.
fn numbers(text: &str) -> Vec<u32> {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .filter_map(|word| word.strip_prefix('H'))
        .filter(|digits| digits.len() == 2)
        .filter_map(|digits| digits.parse().ok())
        .collect()
}
