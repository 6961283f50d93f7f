//! Links between the documents lead somewhere.

use std::path::Path;

use crate::{files, read};

/// A file that is linked is there, and so is the heading that a link names.
#[test]
fn every_link_leads_to_a_file_and_to_a_heading() {
    let mut broken = Vec::new();
    for document in files("md") {
        let folder = document.parent().expect("a file is in a folder");
        for link in links(&read(&document)) {
            let (path, heading) = link.split_once('#').unwrap_or((&link, ""));
            let target = match path {
                "" => document.clone(),
                path => folder.join(path),
            };
            if !target.exists() || !has_heading(&target, heading) {
                broken.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "broken links: {broken:#?}");
}

fn has_heading(document: &Path, heading: &str) -> bool {
    let is_document = document.extension().is_some_and(|found| found == "md");
    if heading.is_empty() || !is_document {
        return true;
    }
    let text = read(document);
    let headings = prose(&text).filter(|line| line.starts_with('#'));
    headings
        .map(|line| anchor(line.trim_start_matches('#')))
        .any(|anchor| anchor == heading)
}

/// What a heading is called in links.
fn anchor(heading: &str) -> String {
    heading
        .trim()
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// The links to files of the workspace, and to headings.
fn links(text: &str) -> Vec<String> {
    let links = prose(text).flat_map(|line| {
        line.split("](")
            .skip(1)
            .filter_map(|rest| rest.split([')', ' ']).next())
    });
    links
        .filter(|link| !link.contains("://"))
        .map(str::to_owned)
        .collect()
}

/// The lines outside of examples.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut example = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        example ^= fence;
        !example && !fence
    })
}
