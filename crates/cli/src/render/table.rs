//! Tables without lines: columns aligned, a column only when it has content, the last one wrapped to the terminal.

use super::{Look, Tone};

/// One field.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A field with a tone.
    pub fn toned(tone: Tone, text: impl Into<String>) -> Cell {
        Cell { text: text.into(), tone }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Cell {
        Cell::toned(Tone::Plain, text)
    }
}

/// Rows under heads.
#[derive(Clone, Debug)]
pub struct Table<const N: usize> {
    heads: [&'static str; N],
    rows: Vec<[Cell; N]>,
}

impl<const N: usize> Table<N> {
    /// An empty table.
    pub fn new(heads: [&'static str; N]) -> Table<N> {
        Table { heads, rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: [Cell; N]) {
        self.rows.push(cells);
    }

    /// The table as lines, each indented by two; empty if it has no rows. Without heads there is no line for them.
    pub fn render(&self, look: &Look) -> String {
        let filled: Vec<usize> = (0..N).filter(|at| self.rows.iter().any(|row| !row[*at].text.is_empty())).collect();
        let widths: Vec<usize> = filled
            .iter()
            .map(|at| {
                self.rows.iter().map(|row| row[*at].width()).max().unwrap_or(0).max(self.heads[*at].chars().count())
            })
            .collect();
        let heads = self.heads.map(|head| Cell::toned(Tone::Dim, head));
        let mut text = String::new();
        let titled = !self.rows.is_empty() && self.heads.iter().any(|head| !head.is_empty());
        for row in titled.then_some(&heads).into_iter().chain(&self.rows) {
            text.push_str(&line(row, &filled, &widths, look));
        }
        text
    }
}

fn line(row: &[Cell], filled: &[usize], widths: &[usize], look: &Look) -> String {
    let mut text = String::from("  ");
    let mut column = 2;
    let last_with_text = filled.iter().rposition(|at| !row[*at].text.is_empty()).unwrap_or(0);
    for (position, at) in filled.iter().enumerate().take(last_with_text + 1) {
        let cell = &row[*at];
        if position + 1 == filled.len() {
            text.push_str(&look.paint(cell.tone, &look.wrap(&cell.text, column)));
        } else {
            let padding = if position == last_with_text { 0 } else { widths[position] + 2 - cell.width() };
            text.push_str(&look.paint(cell.tone, &cell.text));
            text.push_str(&" ".repeat(padding));
            column += widths[position] + 2;
        }
    }
    text.push('\n');
    text
}
