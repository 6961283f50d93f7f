//! Puts mutants into sources of Rust, each behind a switch of its own, so that one build serves all.
//!
//! Standard input: an [`Order`] as JSON. Standard output: [`Made`] as JSON. `.ci/mutants` says what is done with it.
//!
//! The mutants are those of cargo-mutants: a function returns at once, with a value of its type; a binary operator is
//! another one; a negation is gone; the guard of an arm always holds, or never; an arm before a wildcard is not there.
//! What stands in macros, in tests and in constants is left alone.
//!
//! Where something is replaced, `match crate::mutants(n, count)` chooses: 0 is what stands there. As only one switch is
//! on, what takes its place has no mutants within, and the text grows no faster than its nesting.

mod edits;
mod find;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use edits::Placed;

/// What is to be made.
#[derive(Deserialize)]
pub(crate) struct Order {
    /// The folder of the sources.
    root: String,
    /// Files in it.
    files: Vec<String>,
    /// Names of mutants that are to be left out.
    pub(crate) without: BTreeSet<String>,
    /// Traits whose implementations are left alone.
    pub(crate) not_of: BTreeSet<String>,
    /// Functions that are left alone.
    pub(crate) not_functions: BTreeSet<String>,
}

/// What was made.
#[derive(Serialize)]
struct Made {
    mutants: Vec<Mutant>,
    /// The text of each file, with its mutants.
    texts: BTreeMap<String, String>,
}

/// One of them.
#[derive(Serialize)]
struct Mutant {
    /// Its file, its function and what is done to it: the same as long as its function is as it is.
    name: String,
    file: String,
    /// Where it is in the file.
    line: usize,
    /// Its switch, from 1.
    number: usize,
    /// Where its text is in the new text of the file.
    own: (usize, usize),
    /// Where the whole choice is of which it is one.
    choice: (usize, usize),
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut said = String::new();
    io::stdin().read_to_string(&mut said)?;
    let order: Order = serde_json::from_str(&said)?;
    let (mut mutants, mut texts, mut next) = (Vec::new(), BTreeMap::new(), 1);
    for file in &order.files {
        let source = std::fs::read_to_string(Path::new(&order.root).join(file))?;
        let parsed = syn::parse_file(&source).map_err(|error| format!("{file}: {error}"))?;
        let wanted = find::find(file, &source, &parsed, &order);
        let (text, placed) = edits::put_in(&source, wanted, next);
        next += placed.len();
        texts.insert(file.clone(), text);
        mutants.extend(placed.into_iter().map(|placed| {
            let Placed {
                name,
                begin,
                number,
                own,
                choice,
            } = placed;
            Mutant {
                name,
                file: file.clone(),
                line: source[..begin].matches('\n').count() + 1,
                number,
                own,
                choice,
            }
        }));
    }
    serde_json::to_writer(io::stdout().lock(), &Made { mutants, texts })?;
    Ok(())
}
