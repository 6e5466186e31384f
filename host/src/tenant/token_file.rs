//! The file of API tokens.
//!
//! `exeunt token` rewrites the whole file. Editing the text in place, to keep an operator's comments, lost: a token
//! that was to be revoked and is still there because a text edit went wrong is the worse bug.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use jiff::civil::Date;

use super::error::{ConfigError, Location};
use super::host::folder_of;
use super::names::{is_name, quoted};
use super::reader::{Item, Table};
use super::replace::replace;
use super::tokens::{Role, Standing, Token, TokenHash};

const HEAD: &str =
    "# Written by `exeunt token`, which drops comments. Holds hashes; a token is shown once, when it is made.\n";

/// Writes the file whole or not at all: the server re-reads it at any moment.
pub(super) fn write(path: &Path, tokens: &[&Token]) -> Result<(), ConfigError> {
    let text: String = std::iter::once(HEAD.to_owned())
        .chain(tokens.iter().map(|token| entry(token)))
        .collect();
    replace(path, &text).map_err(|error| Location::file_only(path).error(format!("cannot be written: {error}")))
}

fn entry(token: &Token) -> String {
    let roles: Vec<String> = token.roles.iter().map(|role| format!("\"{role}\"")).collect();
    let tenant = token.tenant.as_ref().map(|tenant| format!("tenant = \"{tenant}\"\n"));
    let standing = match token.standing {
        Standing::Live(hash) => format!("hash = \"{hash}\""),
        Standing::Revoked(day) => format!("revoked = \"{day}\""),
    };
    format!(
        "\n[{}]\n{standing}\n{}roles = [{}]\ncreated = \"{}\"\n",
        token.name,
        tenant.unwrap_or_default(),
        roles.join(", "),
        token.created
    )
}

/// Reads one table of the file; what is wrong with it is noted there.
pub(super) fn read_token(name: &str, item: &Item<'_>) -> Option<Token> {
    if !is_name(name) {
        item.note("is not a name; write [a-z][a-z0-9-]*, at most 63 characters");
    }
    let mut table = item.table()?;
    let standing = read_standing(&mut table);
    let tenant = table.get("tenant").map(|item| read_tenant(&item));
    let roles = read_roles(&mut table);
    let created = table.require("created", "created = \"2026-01-31\"");
    let created = created.and_then(|item| item.accept(parse_date(item.string()?)));
    table.finish();
    let tenant = match tenant {
        // A tenant that cannot be read must not turn into the host.
        Some(None) => return None,
        Some(tenant) => tenant,
        None => None,
    };
    Some(Token {
        name: name.to_owned(),
        tenant,
        roles,
        created: created?,
        standing: standing?,
    })
}

/// Revoked, whatever stands beside that: whoever writes it by hand may leave the hash.
fn read_standing(table: &mut Table<'_>) -> Option<Standing> {
    let Some(revoked) = table.get("revoked") else {
        let hash = table.require("hash", "hash = \"sha256:…\", or use: exeunt token new")?;
        return hash.accept(TokenHash::parse(hash.string()?)).map(Standing::Live);
    };
    table.get("hash");
    revoked.accept(parse_date(revoked.string()?)).map(Standing::Revoked)
}

fn read_tenant(item: &Item<'_>) -> Option<String> {
    let name = item.string()?;
    if !is_name(name) {
        item.note("is not a tenant's name; write [a-z][a-z0-9-]*, at most 63 characters");
        return None;
    }
    Some(name.to_owned())
}

fn read_roles(table: &mut Table<'_>) -> BTreeSet<Role> {
    let Some(item) = table.require("roles", "roles = [\"operate\"]") else {
        return BTreeSet::new();
    };
    let words = item.strings();
    if item.list().is_some_and(|list| list.is_empty()) {
        item.note("is empty, so the token may do nothing; write [\"operate\"], or revoke the token");
    }
    words
        .iter()
        .filter_map(|(word, item)| item.accept(word.parse()))
        .collect()
}

fn parse_date(text: &str) -> Result<Date, String> {
    text.parse()
        .map_err(|_| format!("{} is not a day; write it as \"2026-01-31\"", quoted(text)))
}

/// Keeps other `exeunt token` commands out until it is dropped: two that read the same file would each write back what
/// the other one has just revoked. The folder is locked because the file is replaced.
pub(super) fn lock(path: &Path) -> Result<File, ConfigError> {
    let folder = folder_of(path);
    File::open(&folder)
        .and_then(|file| file.lock().map(|()| file))
        .map_err(|error| Location::file_only(path).error(format!("its folder cannot be locked: {error}")))
}

/// Who may write the file can make himself a token. Reading it gives nobody anything.
pub(super) fn check_writers(path: &Path) -> Result<(), ConfigError> {
    use std::os::unix::fs::PermissionsExt as _;
    let at = Location::file_only(path);
    let metadata = path
        .metadata()
        .map_err(|error| at.error(format!("cannot be read: {error}")))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o022 == 0 {
        return Ok(());
    }
    Err(at.error(format!(
        "can be written by others than its owner (mode {mode:o}); run: chmod 600 {}",
        path.display()
    )))
}
