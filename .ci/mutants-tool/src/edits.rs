//! What is replaced in a text, and how a switch chooses.

use std::ops::Range;

/// A place in a text at which something else may stand.
pub(crate) struct Edit {
    pub(crate) at: Range<usize>,
    pub(crate) form: Form,
    /// What else may stand there: none only where the text itself is to be changed.
    pub(crate) others: Vec<Other>,
}

/// How the choice is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The text is an expression.
    Expression,
    /// Nothing stands at the place, which is the beginning of a function's body: others are values to return.
    Return,
    /// The text is the body of a function that returns some iterator: the only other is one of nothing.
    Iterator,
    /// Nothing stands at the place, which is behind the pattern of an arm: the only other is that it does not match.
    Arm,
    /// The text is taken away, and there is no choice.
    Gone,
}

/// What may stand somewhere instead.
pub(crate) struct Other {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// A mutant that has its place in the new text.
pub(crate) struct Placed {
    pub(crate) name: String,
    /// Where it was in the old one.
    pub(crate) begin: usize,
    pub(crate) number: usize,
    pub(crate) own: (usize, usize),
    pub(crate) choice: (usize, usize),
}

/// The text with all choices in it. Switches are numbered from `next` on.
///
/// Of two edits one is within the other, or they have nothing in common. Of two with the same place the first is
/// the outer one.
pub(crate) fn put_in(text: &str, mut edits: Vec<Edit>, next: usize) -> (String, Vec<Placed>) {
    edits.sort_by_key(|edit| (edit.at.start, std::cmp::Reverse(edit.at.end)));
    let mut writer = Writer {
        text,
        out: String::new(),
        placed: Vec::new(),
        next,
    };
    writer.write(0..text.len(), &edits);
    (writer.out, writer.placed)
}

struct Writer<'a> {
    text: &'a str,
    out: String,
    placed: Vec<Placed>,
    next: usize,
}

impl Writer<'_> {
    /// Writes a part of the text, with the edits in it.
    fn write(&mut self, part: Range<usize>, edits: &[Edit]) {
        let (mut at, mut rest) = (part.start, edits);
        while let Some((edit, others)) = rest.split_first() {
            let within = others
                .iter()
                .take_while(|other| other.at.start < edit.at.end)
                .count();
            self.out.push_str(&self.text[at..edit.at.start]);
            self.choice(edit, &others[..within]);
            at = edit.at.end;
            rest = &others[within..];
        }
        self.out.push_str(&self.text[at..part.end]);
    }

    fn choice(&mut self, edit: &Edit, within: &[Edit]) {
        let first = self.placed.len();
        let (number, count) = (self.next, edit.others.len());
        self.next += count;
        let begin = self.out.len();
        match edit.form {
            Form::Gone => {}
            Form::Expression => {
                self.out.push_str(&format!(
                    "(match crate::mutants({number}, {count}) {{ 0 => {{"
                ));
                self.write(edit.at.clone(), within);
                self.out.push_str("} ");
                self.arms(edit, number, "");
                self.out.push_str("})");
            }
            Form::Return => {
                self.out.push_str(&format!(
                    "match crate::mutants({number}, {count}) {{ 0 => {{}} "
                ));
                self.arms(edit, number, "return ");
                self.out.push('}');
            }
            Form::Iterator => {
                self.out.push_str(&format!(
                    "{{ (if crate::mutants({number}, {count}) == 0 {{ Some("
                ));
                self.write(edit.at.clone(), within);
                self.out.push_str(") } else { ");
                self.own(&edit.others[0], edit.at.start, number, "None");
                self.out.push_str(" }).into_iter().flatten() }");
            }
            Form::Arm => {
                let text = format!(" if crate::mutants({number}, {count}) == 0 ");
                self.own(&edit.others[0], edit.at.start, number, &text);
            }
        }
        let end = self.out.len();
        // Those within have theirs already.
        let own = self.placed[first..]
            .iter_mut()
            .filter(|placed| placed.choice == (0, 0));
        own.for_each(|placed| placed.choice = (begin, end));
    }

    fn arms(&mut self, edit: &Edit, first: usize, before: &str) {
        for (nth, other) in edit.others.iter().enumerate() {
            let is_last = nth + 1 == edit.others.len();
            let pattern = if is_last {
                "_".to_owned()
            } else {
                (nth + 1).to_string()
            };
            self.out.push_str(&format!("{pattern} => {{ {before}"));
            self.own(other, edit.at.start, first + nth, &other.text);
            self.out.push_str(" } ");
        }
    }

    fn own(&mut self, other: &Other, begin: usize, number: usize, text: &str) {
        let from = self.out.len();
        self.out.push_str(text);
        self.placed.push(Placed {
            name: other.name.clone(),
            begin,
            number,
            own: (from, self.out.len()),
            choice: (0, 0),
        });
    }
}
