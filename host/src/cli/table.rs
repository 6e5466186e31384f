//! Columns of text, and text to standard output.

use std::io::Write as _;

use super::Exit;
use super::timeline::clean;

/// Longest cell in characters. Reasons are longer; `show` has them whole.
const MAX_CELL: usize = 100;

/// A head and rows, in columns that are as wide as they must be.
pub(super) fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    columns(head, rows.into_iter().map(|row| row.map(|cell| shorten(&clean(&cell)))))
}

/// The same with cells of any length: where a reason says what to do, it is shown to its end.
pub(super) fn whole_table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    columns(head, rows.into_iter().map(|row| row.map(|cell| clean(&cell))))
}

fn columns<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut all = vec![head.map(str::to_owned)];
    all.extend(rows);
    let widths: [usize; N] = std::array::from_fn(|column| {
        let width = |row: &[String; N]| row[column].chars().count();
        all.iter().map(width).max().unwrap_or(0)
    });
    let mut text = String::new();
    for row in &all {
        let line: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Writes a command's result.
pub(super) fn show(text: &str) -> anyhow::Result<Exit> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(Exit::Success),
    }
}

fn shorten(cell: &str) -> String {
    if cell.chars().count() <= MAX_CELL {
        return cell.to_owned();
    }
    cell.chars().take(MAX_CELL - 1).chain(['…']).collect()
}

/// What is there, or a dash.
pub(super) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_hostile_text_cannot_move_the_cursor() {
        let rows = [
            ["ä".to_owned(), "x\u{1b}[2J\ny".to_owned()],
            ["long".to_owned(), String::new()],
        ];
        let shown = "A     B\nä     x\u{fffd}[2J\u{fffd}y\nlong\n";
        assert_eq!(table(["A", "B"], rows.clone()), shown);
        assert_eq!(whole_table(["A", "B"], rows), shown);
    }

    #[test]
    fn a_long_cell_is_cut_at_its_limit() {
        assert_eq!(shorten(&"x".repeat(MAX_CELL)).chars().count(), MAX_CELL);
        let cut = shorten(&"x".repeat(MAX_CELL + 1));
        assert!(cut.ends_with('…') && cut.chars().count() == MAX_CELL);
        let long = "x".repeat(MAX_CELL + 1);
        assert_eq!(whole_table(["A"], [[long.clone()]]), format!("A\n{long}\n"));
    }
}
