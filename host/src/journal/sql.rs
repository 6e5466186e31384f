//! Statements: placeholders, parameters, rows.

use std::fmt::Write as _;

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::{AnyConnection, Arguments as _, AssertSqlSafe, Row as _, SqlSafeStr};
use uuid::Uuid;

use super::error::JournalError;

/// Most parameters of one multi-row statement. More rows at a time win nothing, and texts grow long.
const MAX_PARAMETERS: usize = 512;

/// The parameters of one statement, in the order of `$1`, `$2`, …
///
/// Encoding for `Any` cannot fail. Were it to, a parameter would be missing and the database would refuse the statement.
#[derive(Default)]
pub(super) struct Bind(AnyArguments);

impl Bind {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn int(mut self, value: i64) -> Self {
        let _ = self.0.add(value);
        self
    }

    pub(super) fn maybe_int(mut self, value: Option<i64>) -> Self {
        let _ = self.0.add(value);
        self
    }

    pub(super) fn text(mut self, value: &str) -> Self {
        let _ = self.0.add(storable(value));
        self
    }

    pub(super) fn maybe_text(mut self, value: Option<&str>) -> Self {
        let _ = self.0.add(value.map(storable));
        self
    }

    pub(super) fn bytes(mut self, value: &[u8]) -> Self {
        let _ = self.0.add(value);
        self
    }

    pub(super) fn maybe_bytes(mut self, value: Option<&[u8]>) -> Self {
        let _ = self.0.add(value.map(<[u8]>::to_vec));
        self
    }

    pub(super) fn id(self, value: Uuid) -> Self {
        self.bytes(value.as_bytes())
    }
}

/// PostgreSQL stores no NUL in text. It can only come from outside (a target's message), so it is replaced and not
/// refused: a finish must not fail over it.
fn storable(text: &str) -> String {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}")
    } else {
        text.to_owned()
    }
}

/// Runs a statement for its rows.
pub(super) async fn fetch(
    tx: &mut AnyConnection,
    sql: impl SqlSafeStr,
    bind: Bind,
) -> Result<Vec<AnyRow>, JournalError> {
    Ok(sqlx::query_with(sql, bind.0).fetch_all(tx).await?)
}

/// Runs a statement for the number of rows that it changed.
pub(super) async fn execute(tx: &mut AnyConnection, sql: impl SqlSafeStr, bind: Bind) -> Result<u64, JournalError> {
    Ok(sqlx::query_with(sql, bind.0).execute(tx).await?.rows_affected())
}

/// Runs one statement over many rows: `before (…),(…) after`, in pieces whose sizes are powers of two, so that few
/// texts fill the statement caches. Returns how many rows that changed.
pub(super) async fn bulk<T>(
    tx: &mut AnyConnection,
    around: (&str, &str),
    columns: usize,
    rows: &[T],
    mut bind_row: impl FnMut(Bind, &T) -> Bind,
) -> Result<u64, JournalError> {
    let mut changed = 0;
    for piece in pieces(rows, columns) {
        let (sql, bind) = statement(Marks::of(tx), around, columns, piece, &mut bind_row);
        changed += execute(tx, sql, bind).await?;
    }
    Ok(changed)
}

/// [`bulk`] for a query: what the pieces return.
pub(super) async fn bulk_select<T>(
    tx: &mut AnyConnection,
    around: (&str, &str),
    columns: usize,
    rows: &[T],
    mut bind_row: impl FnMut(Bind, &T) -> Bind,
) -> Result<Vec<AnyRow>, JournalError> {
    let mut found = Vec::new();
    for piece in pieces(rows, columns) {
        let (sql, bind) = statement(Marks::of(tx), around, columns, piece, &mut bind_row);
        found.append(&mut fetch(tx, sql, bind).await?);
    }
    Ok(found)
}

/// The statement over one piece of rows.
fn statement<T>(
    marks: Marks,
    (before, after): (&str, &str),
    columns: usize,
    piece: &[T],
    bind_row: impl FnMut(Bind, &T) -> Bind,
) -> (AssertSqlSafe<String>, Bind) {
    let sql = format!("{before} {} {after}", marks.tuples(piece.len(), columns));
    (AssertSqlSafe(sql), piece.iter().fold(Bind::new(), bind_row))
}

/// Rows of a `SELECT … IN (…) …` over many keys, in one statement: pieces, each locking rows in its order, would not be
/// in order together. The most keys are the lanes of a batch of events, 16,384; SQLite takes twice as many.
pub(super) async fn select_in<T>(
    tx: &mut AnyConnection,
    (before, after): (&str, &str),
    keys: &[T],
    bind_key: impl FnMut(Bind, &T) -> Bind,
) -> Result<Vec<AnyRow>, JournalError> {
    let Some(last) = keys.last() else { return Ok(Vec::new()) };
    // Filled up with the last key to a power of two, so that few texts fill the statement cache.
    let size = keys.len().next_power_of_two();
    let sql = format!("{before} {} {after}", Marks::of(tx).tuple(1, size));
    let filled = keys.iter().chain(std::iter::repeat(last)).take(size);
    fetch(tx, AssertSqlSafe(sql), filled.fold(Bind::new(), bind_key)).await
}

/// Cuts rows into pieces whose sizes are powers of two.
fn pieces<T>(mut rows: &[T], columns: usize) -> impl Iterator<Item = &[T]> {
    let most = 1 << (MAX_PARAMETERS / columns).max(1).ilog2();
    std::iter::from_fn(move || {
        let size = most.min(1 << rows.len().checked_ilog2()?);
        let (piece, rest) = rows.split_at(size);
        rows = rest;
        Some(piece)
    })
}

/// How a statement marks its parameters.
///
/// sqlx asks SQLite for the name of each, which SQLite looks up in a list: with numbers the cost grows with the square,
/// and at 768 parameters it was a tenth of an accept. A mark without a number has no name, and PostgreSQL knows none.
#[derive(Clone, Copy)]
enum Marks {
    /// `$1`
    Numbered,
    /// `?`
    Plain,
}

impl Marks {
    fn of(connection: &AnyConnection) -> Self {
        match connection.backend_name() {
            "SQLite" => Self::Plain,
            _ => Self::Numbered,
        }
    }

    /// `($1,$2),($3,$4)`
    fn tuples(self, rows: usize, columns: usize) -> String {
        let mut text = String::with_capacity(rows * columns * 5);
        for row in 0..rows {
            text.push_str(if row == 0 { "" } else { "," });
            self.write(&mut text, row * columns + 1, columns);
        }
        text
    }

    /// `($5,$6,$7)`
    fn tuple(self, first: usize, columns: usize) -> String {
        let mut text = String::with_capacity(columns * 5);
        self.write(&mut text, first, columns);
        text
    }

    fn write(self, text: &mut String, first: usize, columns: usize) {
        for number in first..first + columns {
            text.push(if number == first { '(' } else { ',' });
            match self {
                // A string takes what is written to it.
                Self::Numbered => drop(write!(text, "${number}")),
                Self::Plain => text.push('?'),
            }
        }
        text.push(')');
    }
}

/// Reads the columns of a row from left to right.
pub(super) struct Cells<'r> {
    row: &'r AnyRow,
    next: usize,
}

impl<'r> Cells<'r> {
    pub(super) fn of(row: &'r AnyRow) -> Self {
        Self { row, next: 0 }
    }

    fn advance(&mut self) -> usize {
        self.next += 1;
        self.next - 1
    }

    pub(super) fn int(&mut self) -> Result<i64, JournalError> {
        let column = self.advance();
        Ok(self.row.try_get(column)?)
    }

    pub(super) fn maybe_int(&mut self) -> Result<Option<i64>, JournalError> {
        let column = self.advance();
        Ok(self.row.try_get(column)?)
    }

    pub(super) fn text(&mut self) -> Result<String, JournalError> {
        let column = self.advance();
        Ok(self.row.try_get(column)?)
    }

    pub(super) fn maybe_text(&mut self) -> Result<Option<String>, JournalError> {
        let column = self.advance();
        Ok(self.row.try_get(column)?)
    }

    pub(super) fn bytes(&mut self) -> Result<Vec<u8>, JournalError> {
        let column = self.advance();
        Ok(self.row.try_get(column)?)
    }

    pub(super) fn maybe_bytes(&mut self) -> Result<Option<Vec<u8>>, JournalError> {
        let column = self.advance();
        Ok(self.row.try_get(column)?)
    }

    pub(super) fn id(&mut self) -> Result<Uuid, JournalError> {
        uuid(&self.bytes()?)
    }

    pub(super) fn maybe_id(&mut self) -> Result<Option<Uuid>, JournalError> {
        self.maybe_bytes()?.map(|bytes| uuid(&bytes)).transpose()
    }
}

fn uuid(bytes: &[u8]) -> Result<Uuid, JournalError> {
    Uuid::from_slice(bytes).map_err(|error| JournalError::Database {
        message: format!("an id is damaged: {error}"),
        code: None,
    })
}

#[cfg(test)]
mod tests {
    use super::{Marks, pieces};

    #[test]
    fn rows_are_cut_into_powers_of_two() {
        let sizes = |count: usize| -> Vec<usize> { pieces(&vec![0_u8; count], 4).map(<[u8]>::len).collect() };
        assert_eq!(sizes(0), Vec::<usize>::new());
        assert_eq!(sizes(1), [1]);
        assert_eq!(sizes(128), [128]);
        assert_eq!(sizes(129), [128, 1]);
        assert_eq!(sizes(267), [128, 128, 8, 2, 1]);
        assert_eq!(pieces(&[0; 40], 19).map(<[i32]>::len).collect::<Vec<_>>(), [16, 16, 8]);
        assert_eq!(pieces(&[0; 3], 1000).map(<[i32]>::len).collect::<Vec<_>>(), [1, 1, 1]);
    }

    #[test]
    fn placeholders_count_on_through_the_rows() {
        assert_eq!(Marks::Numbered.tuples(2, 3), "($1,$2,$3),($4,$5,$6)");
        assert_eq!(Marks::Numbered.tuple(7, 1), "($7)");
        assert_eq!(Marks::Plain.tuples(2, 3), "(?,?,?),(?,?,?)");
    }
}
