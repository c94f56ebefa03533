//! Tables: columns as wide as what stands in them, numbers to the right, no line wider than the terminal's need.

use super::display::{self, Role, Style};

/// Widest cell; longer text is cut.
const CELL_COLUMNS_MAX: usize = 48;

/// What stands in a cell: text from events is made safe here, so it may be given as it is.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    right: bool,
    role: Option<Role>,
}

impl Cell {
    /// Words.
    pub fn words(text: impl Into<String>) -> Cell {
        Cell { text: text.into(), right: false, role: None }
    }

    /// A number, or what stands in its place.
    pub fn number(text: impl Into<String>) -> Cell {
        Cell { text: text.into(), right: true, role: None }
    }

    /// A count.
    pub fn count(n: u64) -> Cell {
        Cell::number(display::count(n))
    }

    /// A count of something bad: marked where there is any.
    pub fn bad(n: u64) -> Cell {
        Cell { role: (n > 0).then_some(Role::Bad), ..Cell::count(n) }
    }

    /// In the colour of a role.
    #[must_use]
    pub fn role(mut self, role: Role) -> Cell {
        self.role = Some(role);
        self
    }
}

/// A head and rows of as many cells.
#[derive(Debug, Clone)]
pub struct Table {
    heads: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// Without rows yet.
    pub fn new(heads: impl IntoIterator<Item = &'static str>) -> Table {
        Table { heads: heads.into_iter().collect(), rows: Vec::new() }
    }

    /// Adds a row; cells beyond the heads are not shown.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Whether it has no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines, head first, without space at their ends.
    pub fn lines(&self, style: Style) -> Vec<String> {
        let columns: Vec<Column<'_>> =
            self.heads.iter().enumerate().map(|(at, head)| self.column(at, head)).collect();
        let head: Vec<String> = columns.iter().map(|column| column.fill(column.head)).collect();
        let rows = self.rows.iter().map(|row| {
            let cells = columns.iter().zip(row).map(|(column, cell)| {
                let text = column.fill(&cell.text);
                cell.role.map_or(text.clone(), |role| style.paint(role, &text))
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        });
        std::iter::once(style.paint(Role::Dim, head.join("  ").trim_end())).chain(rows).collect()
    }

    fn column<'a>(&self, at: usize, head: &'a str) -> Column<'a> {
        let cells = || self.rows.iter().filter_map(|row| row.get(at));
        let width = |text: &str| display::columns_of(&display::fit(text, CELL_COLUMNS_MAX));
        let widest = cells().map(|cell| width(&cell.text)).max().unwrap_or(0);
        Column { head, width: widest.max(width(head)), right: cells().any(|cell| cell.right) }
    }
}

struct Column<'a> {
    head: &'a str,
    width: usize,
    right: bool,
}

impl Column<'_> {
    fn fill(&self, text: &str) -> String {
        if self.right { display::cell_right(text, self.width) } else { display::cell(text, self.width) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_numbers_stand_right() {
        let mut table = Table::new(["NAME", "RUNS"]);
        table.row([Cell::words("import"), Cell::count(1_234)]);
        table.row([Cell::words("日本"), Cell::bad(7)]);
        assert_eq!(table.lines(Style::PLAIN), ["NAME     RUNS", "import  1,234", "日本        7"]);
        let color = Style { color: true, ..Style::PLAIN };
        assert!(table.lines(color)[2].ends_with("\u{1b}[31m    7\u{1b}[0m"), "{:?}", table.lines(color));
    }

    #[test]
    fn nothing_from_outside_passes_as_it_is() {
        let mut table = Table::new(["NAME"]);
        table.row([Cell::words("\u{1b}[2J\u{202e}x".repeat(40))]);
        let lines = table.lines(Style::PLAIN);
        assert!(lines.iter().all(|line| !line.contains(['\u{1b}', '\u{202e}'])), "{lines:?}");
        assert!(lines.iter().all(|line| display::columns_of(line) <= CELL_COLUMNS_MAX));
    }
}
