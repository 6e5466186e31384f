//! Addresses of journals: `sqlite:PATH` and `postgres://…`.

use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use sqlx::any::AnyConnectOptions;
use url::Url;

use super::dialect::Dialect;
use crate::tenant::{is_postgres, quoted};

/// What an address names, and how to connect to it. SQLite's file is made where there is none.
pub(super) fn parse(url: &str) -> Result<(Dialect, AnyConnectOptions), String> {
    let (dialect, address) = if let Some(path) = url.strip_prefix("sqlite:") {
        (Dialect::Sqlite, sqlite_address(path)?)
    } else if is_postgres(url) {
        check_parameters(url)?;
        (Dialect::Postgres, url.to_owned())
    } else {
        return Err("write sqlite:PATH or postgres://USER@HOST/DATABASE".to_owned());
    };
    // The parser's own words may repeat the address, which may hold a password.
    let connect = address.parse().map_err(|_| "this is not a valid address".to_owned())?;
    Ok((dialect, connect))
}

/// Parameters of an address of PostgreSQL that sqlx 0.9 reads.
const PARAMETERS: [&str; 18] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];
/// What `sslmode` may be.
const SSL_MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// The driver passes over what it does not know and logs its value, which may be a password.
fn check_parameters(url: &str) -> Result<(), String> {
    let url = Url::parse(url).map_err(|_| "this is not a valid address".to_owned())?;
    for (name, value) in url.query_pairs() {
        if !PARAMETERS.contains(&&*name) && !name.starts_with("options[") {
            let name = quoted(&name);
            return Err(format!(
                "the parameter {name} is unknown; known: {}",
                PARAMETERS.join(", ")
            ));
        }
        if matches!(&*name, "sslmode" | "ssl-mode") && !SSL_MODES.contains(&&*value) {
            return Err(format!("{name} is none of {}", SSL_MODES.join(", ")));
        }
    }
    Ok(())
}

/// Makes the file where there is none, and the address by which sqlx opens exactly this path.
fn sqlite_address(path: &str) -> Result<String, String> {
    if path.is_empty() || path.contains(":memory:") {
        return Err("a journal in memory would forget what it accepted; write sqlite:PATH".to_owned());
    }
    let path = std::path::absolute(path).map_err(|error| error.to_string())?;
    protect(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let text = path.to_str().ok_or("the path is not UTF-8")?;
    Ok(format!("sqlite://{}?mode=rw", percent_encoded(text)))
}

/// The file holds names and addresses of people: nobody else reads it. SQLite gives its log the same mode.
fn protect(path: &PathBuf) -> std::io::Result<()> {
    let mut open = std::fs::OpenOptions::new();
    open.read(true).write(true).create(true).truncate(false);
    let file = open.mode(0o600).open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    }
    // A new file's name must survive a crash as its content does.
    if let Some(folder) = path.parent().filter(|folder| folder.is_dir()) {
        sync_folder(folder)?;
    }
    Ok(())
}

fn sync_folder(folder: &Path) -> std::io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}

/// Everything but what a path usually consists of, as `%XX`: `?` and `#` would end it.
fn percent_encoded(path: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// The address as it may be shown.
pub(super) fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once(':') else {
        return "of no form".to_owned();
    };
    if scheme == "sqlite" {
        return url.to_owned();
    }
    let hidden = format!("{scheme}:…");
    // What cannot be parsed may hold a password anywhere; and so may parameters, and what an unescaped `?` makes of it.
    let (address, parameters) = rest.split_once(['?', '#']).unwrap_or((rest, ""));
    let Ok(mut shown) = Url::parse(&format!("{scheme}:{address}")) else {
        return hidden;
    };
    if parameters.contains('@') || shown.path().contains('@') {
        return hidden;
    }
    match shown.set_password(None) {
        Ok(()) => shown.to_string(),
        // A socket's: there is nobody to have one.
        Err(()) if address.starts_with("///") => shown.to_string(),
        Err(()) => hidden,
    }
}

#[cfg(test)]
mod tests {
    use super::{parse, percent_encoded, without_password};

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(
            without_password("postgres://u:p@h:5/d?password=p&x=y"),
            "postgres://u@h:5/d"
        );
        assert_eq!(without_password("postgres://h/d"), "postgres://h/d");
        assert_eq!(without_password("postgres://u:p@ss@h/d"), "postgres://u@h/d");
        for damaged in [
            "postgres//u:sekrit@h/d",
            "postgres:/u:sekrit@h/d",
            "postgres:u:sekrit@h/d",
            "postgres://u:se?krit@h/d",
            "postgres://u:1#sekrit@h/d",
            "postgres://u:se/krit@h/d",
            "postgres://u:12/sekrit@h/d",
            "u:sekrit@h/d",
            "sekrit",
        ] {
            let shown = without_password(damaged);
            assert!(!shown.contains("se") && !shown.contains("krit"), "{damaged}: {shown}");
        }
        let unknown = parse("postgres://h/d?sslpassword=sekrit").unwrap_err();
        assert!(
            unknown.contains("sslpassword") && !unknown.contains("sekrit"),
            "{unknown}"
        );
        let mode = parse("postgres://h/d?sslmode=requir").unwrap_err();
        assert!(mode.contains("verify-full"), "{mode}");
        assert!(parse("postgres://h/d?sslmode=require&host=/run/postgresql").is_ok());
        assert_eq!(without_password("sqlite:a.db"), "sqlite:a.db");
    }

    #[test]
    fn a_path_keeps_its_question_marks() {
        assert_eq!(percent_encoded("/a b/c?d#e%.db"), "/a%20b/c%3Fd%23e%25.db");
    }

    #[test]
    fn other_addresses_are_refused() {
        for url in [
            "",
            "mysql://h/d",
            "sqlite:",
            "sqlite::memory:",
            "exeunt.db",
            "postgres:/d",
        ] {
            assert!(parse(url).is_err(), "{url}");
        }
    }
}
