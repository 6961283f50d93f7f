//! Tables for people.

use crate::output::say;

/// Rows under a head, each column as wide as its widest cell.
pub(super) struct Table<const N: usize>(Vec<[String; N]>);

impl<const N: usize> Table<N> {
    pub(super) fn new(head: [&str; N]) -> Self {
        Self(vec![head.map(str::to_owned)])
    }

    pub(super) fn row(&mut self, cells: [&str; N]) {
        self.0.push(cells.map(str::to_owned));
    }

    pub(super) fn print(&self) {
        self.lines().iter().for_each(|line| say(line));
    }

    fn lines(&self) -> Vec<String> {
        /// Spaces between two columns.
        const GAP: usize = 2;
        let width = |column: usize| {
            let cells = self.0.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or_default() + GAP
        };
        let widths: [usize; N] = std::array::from_fn(width);
        let line = |row: &[String; N]| {
            let cells = row.iter().zip(widths);
            let line: String = cells
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            line.trim_end().to_owned()
        };
        self.0.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_and_lines_end_with_their_last_cell() {
        let mut table = Table::new(["NAME", "STATE", ""]);
        table.row(["a", "settling", ""]);
        table.row(["größer", "up", "(answers)"]);
        let expected = [
            "NAME    STATE",
            "a       settling",
            "größer  up        (answers)",
        ];
        assert_eq!(table.lines(), expected);
    }
}
