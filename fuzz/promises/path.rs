//! A base URL, a guest's path and a descriptor's template, one a line: what was checked is what is sent.

use exeunt::capability::{PathTemplate, RequestPath};
use exeunt::tenant::{BaseUrl, NetworkGrants};
use url::Url;

pub(crate) fn holds(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.splitn(3, '\n');
    let base = BaseUrl::parse(lines.next().unwrap_or_default(), &NetworkGrants::default());
    let path = RequestPath::parse(lines.next().unwrap_or_default());
    let template = PathTemplate::parse(lines.next().unwrap_or_default());
    if let Ok(base) = &base {
        assert!(base.is_https() && base.address().is_none(), "{base:?}");
    }
    let Ok(path) = path else { return };
    let encoded = path.encoded();
    assert_eq!(RequestPath::parse(&encoded).as_ref(), Ok(&path), "one spelling");
    if let Ok(base) = &base {
        stays_below(base, &encoded);
    }
    if let Ok(template) = template {
        let _ = template.matches(&path, Some("account"));
        let _ = template.matches(&path, None);
    }
}

/// Whoever reads the URL anew comes to the same place, below the base.
fn stays_below(base: &BaseUrl, path: &str) {
    let mut url = base.url().clone();
    let whole = format!("{}{path}", base.prefix());
    url.set_path(&whole);
    let read = Url::parse(url.as_str()).expect("a URL that was written can be read");
    assert_eq!(read.path(), whole);
    assert!(read.path().starts_with(&format!("{}/", base.prefix())));
    assert_eq!((read.scheme(), read.host_str()), ("https", Some(base.host())));
    assert_eq!(read.port_or_known_default(), Some(base.port()));
    assert!(read.query().is_none() && read.fragment().is_none() && read.username().is_empty());
    assert!(
        !whole.split('/').skip(1).any(|part| matches!(part, "" | "." | "..")),
        "{whole}"
    );
}
