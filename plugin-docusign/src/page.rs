//! Listing all users, for reconciliation.

use crate::users::Users;
use crate::{Accounts, Failure, Host};

/// Lists one page of all users, closed ones too. The cursor is the position where the page begins.
///
/// # Errors
///
/// Any failure to look, and `unexpected` for a cursor that this connector did not give.
pub fn page<H: Host>(host: &H, cursor: Option<&str>, token: &H::Token) -> Result<Accounts, Failure> {
    let users = Users::new(host, token)?;
    let start = match cursor {
        None => 0,
        Some(text) => text
            .parse()
            .map_err(|_| Failure::Unexpected("the cursor is not a position in the list".into()))?,
    };
    let listing = users.all(start)?;
    Ok(Accounts {
        items: listing.accounts,
        next: listing.next.map(|position| position.to_string()),
    })
}
