//! Columns of text, and text to standard output.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write as _};

use anyhow::Context as _;
use jiff::Timestamp;

use super::Exit;
use crate::text::printable;

/// Longest cell in characters. Reasons are longer; `show` has them whole.
const MAX_CELL: usize = 100;

/// A head and rows, in columns that are as wide as they must be.
pub(super) fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    columns(
        head,
        rows.into_iter().map(|row| row.map(|cell| shorten(&printable(&cell)))),
    )
}

/// The same with cells of any length: where a reason says what to do, it is shown to its end.
pub(super) fn whole_table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    columns(head, rows.into_iter().map(|row| row.map(|cell| printable(&cell))))
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

/// A time as all tables show it.
pub(super) fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// What a pause or an action is of, in one word.
pub(super) fn scope(tenant: Option<&str>, connector: Option<&str>) -> String {
    let names: Vec<&str> = tenant.into_iter().chain(connector).collect();
    match names.is_empty() {
        true => "everything".to_owned(),
        false => names.join("/"),
    }
}

/// Writes a command's result.
pub(super) fn show(text: &str) -> anyhow::Result<Exit> {
    unless_unread(hand_over(text))?;
    Ok(Exit::Success)
}

/// Writes a line of a command's result as soon as it is known.
pub(super) fn say(line: impl Display) -> anyhow::Result<()> {
    unless_unread(hand_over(&format!("{line}\n")))
}

/// Writes what must not get lost: here a reader that is gone is an error, too.
pub(super) fn hand_over(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Whoever reads may have seen enough, as `head` has. The command goes on, and ends with its own exit code.
fn unless_unread(written: io::Result<()>) -> anyhow::Result<()> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
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
    fn a_reader_that_is_gone_is_no_error_and_a_full_disk_is_one() {
        unless_unread(Ok(())).unwrap();
        unless_unread(Err(ErrorKind::BrokenPipe.into())).unwrap();
        let error = unless_unread(Err(ErrorKind::StorageFull.into())).unwrap_err();
        assert!(
            format!("{error:#}").starts_with("cannot write to standard output: "),
            "{error:#}"
        );
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
