//! Request paths: parsed once, matched against templates, sent in one spelling.
//!
//! A path is taken apart into decoded segments before anything looks at it, and written anew from them afterwards, so
//! what was checked is what is sent. Anything that servers or proxies are known to read in two ways is refused.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Longest path that a guest may ask for, in bytes; longer ones are refused by common servers anyway.
pub const MAX_PATH_BYTES: usize = 2048;

/// Everything but RFC 3986 unreserved is encoded, so no character of a segment can be taken for syntax.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Characters that some servers fold into `.`, `/`, `\` or `%`, alone (`／`) or with neighbours (`℀` into `a/c`).
const LOOK_ALIKES: [char; 16] = [
    '\u{2024}', '\u{2025}', '\u{2044}', '\u{2100}', '\u{2101}', '\u{2105}', '\u{2106}', '\u{2215}', '\u{29f8}',
    '\u{fe52}', '\u{fe68}', '\u{fe6a}', '\u{ff05}', '\u{ff0e}', '\u{ff0f}', '\u{ff3c}',
];

/// A path that has one meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestPath {
    segments: Vec<String>,
}

impl RequestPath {
    /// Takes a path apart.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words for the connector's author.
    pub fn parse(path: &str) -> Result<Self, String> {
        if path.len() > MAX_PATH_BYTES {
            return Err(format!(
                "the path has {} bytes, at most {MAX_PATH_BYTES} are allowed",
                path.len()
            ));
        }
        let Some(rest) = path.strip_prefix('/') else {
            return Err("the path does not begin with `/`".to_owned());
        };
        if let Some(bad) = rest.chars().find(|&c| !is_path_character(c)) {
            return Err(format!(
                "the path contains {bad:?}; percent-encode data, and pass a query as `query`"
            ));
        }
        let segments = rest.split('/').map(decode_segment).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { segments })
    }

    /// The path as it is sent, beginning with `/`.
    #[must_use]
    pub fn encoded(&self) -> String {
        let mut path = String::new();
        for segment in &self.segments {
            path.push('/');
            path.extend(utf8_percent_encode(segment, SEGMENT));
        }
        path
    }
}

fn is_path_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@/%".contains(c)
}

fn decode_segment(segment: &str) -> Result<String, String> {
    let mut rest = segment;
    while let Some(at) = rest.find('%') {
        let digits = rest.get(at + 1..at + 3).unwrap_or_default();
        if digits.len() != 2 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(format!(
                "the path segment `{segment}` has a `%` that is not followed by two hexadecimal digits"
            ));
        }
        rest = &rest[at + 3..];
    }
    let decoded = percent_decode_str(segment)
        .decode_utf8()
        .map_err(|_| format!("the path segment `{segment}` is not UTF-8 when decoded"))?;
    refuse_ambiguous(segment, &decoded)?;
    Ok(decoded.into_owned())
}

fn refuse_ambiguous(segment: &str, decoded: &str) -> Result<(), String> {
    let name = decoded.split(';').next().unwrap_or_default();
    if decoded.is_empty() {
        return Err("the path has an empty segment".to_owned());
    }
    if matches!(name, "." | "..") {
        return Err(format!("the path segment `{segment}` is a dot segment"));
    }
    if decoded.contains(['/', '\\']) || decoded.contains(LOOK_ALIKES) {
        return Err(format!(
            "the path segment `{segment}` contains a separator when decoded"
        ));
    }
    if decoded.chars().any(char::is_control) {
        return Err(format!(
            "the path segment `{segment}` contains a control character when decoded"
        ));
    }
    let twice = percent_decode_str(decoded).decode_utf8_lossy();
    if twice != decoded {
        return Err(format!("the path segment `{segment}` is encoded twice"));
    }
    Ok(())
}

/// One segment of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
enum TemplateSegment {
    /// Exactly this text.
    Literal(String),
    /// The account id that the verb was called with.
    Account,
    /// The string at this JSON pointer in the settings.
    Setting(String),
    /// Any one segment.
    Any,
}

/// A path template of a descriptor: `/v2/accounts/{settings:/account_id}/users/{account}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTemplate {
    segments: Vec<TemplateSegment>,
}

impl PathTemplate {
    /// Reads a template.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words for the connector's author.
    pub fn parse(template: &str) -> Result<Self, String> {
        if template.len() > MAX_PATH_BYTES {
            return Err(format!(
                "the path template has {} bytes, at most {MAX_PATH_BYTES} are allowed",
                template.len()
            ));
        }
        // A pointer contains slashes, so braces are read before the template is cut into segments.
        let Some(mut rest) = template.strip_prefix('/') else {
            return Err(format!("the path template `{template}` does not begin with `/`"));
        };
        let mut segments = Vec::new();
        loop {
            let (segment, tail) = next_template_segment(template, rest)?;
            segments.push(segment);
            match tail {
                Some(tail) => rest = tail,
                None => return Ok(Self { segments }),
            }
        }
    }

    /// Puts the settings' values in.
    ///
    /// # Errors
    ///
    /// The pointer whose value is not a string that can be one path segment.
    pub fn with_settings(&self, settings: &serde_json::Value) -> Result<Self, String> {
        let resolve = |segment: &TemplateSegment| match segment {
            TemplateSegment::Setting(pointer) => match settings.pointer(pointer).and_then(|value| value.as_str()) {
                Some(text) if refuse_ambiguous(text, text).is_ok() => Ok(TemplateSegment::Literal(text.to_owned())),
                _ => Err(pointer.clone()),
            },
            other => Ok(other.clone()),
        };
        Ok(Self {
            segments: self.segments.iter().map(resolve).collect::<Result<_, _>>()?,
        })
    }

    /// Whether `path` fits. `account` is the id that the verb was called with.
    #[must_use]
    pub fn matches(&self, path: &RequestPath, account: Option<&str>) -> bool {
        self.segments.len() == path.segments.len()
            && self
                .segments
                .iter()
                .zip(&path.segments)
                .all(|(template, segment)| match template {
                    TemplateSegment::Literal(text) => text == segment,
                    TemplateSegment::Account => account == Some(segment.as_str()),
                    TemplateSegment::Setting(_) => false,
                    TemplateSegment::Any => true,
                })
    }

    /// Whether a placeholder `{account}` is in it.
    #[must_use]
    pub fn names_account(&self) -> bool {
        self.segments.contains(&TemplateSegment::Account)
    }

    /// Whether a placeholder `{any}` is in it.
    #[must_use]
    pub fn has_any(&self) -> bool {
        self.segments.contains(&TemplateSegment::Any)
    }

    /// The pointers into the settings that it needs.
    pub fn pointers(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            TemplateSegment::Setting(pointer) => Some(pointer.as_str()),
            _ => None,
        })
    }
}

fn next_template_segment<'a>(template: &str, rest: &'a str) -> Result<(TemplateSegment, Option<&'a str>), String> {
    let wrong = |what: &str| format!("the path template `{template}` {what}");
    let Some(braced) = rest.strip_prefix('{') else {
        let (text, tail) = rest
            .split_once('/')
            .map_or((rest, None), |(text, tail)| (text, Some(tail)));
        if text.contains(['{', '}']) || !text.chars().all(is_path_character) {
            return Err(wrong(
                "has a placeholder that is not a whole segment, or a character that a path cannot have",
            ));
        }
        return Ok((TemplateSegment::Literal(decode_segment(text)?), tail));
    };
    let (name, tail) = braced.split_once('}').ok_or_else(|| wrong("has `{` without `}`"))?;
    let segment = match name.strip_prefix("settings:") {
        Some(pointer) if pointer.starts_with('/') => TemplateSegment::Setting(pointer.to_owned()),
        Some(_) => return Err(wrong("has a JSON pointer that does not begin with `/`")),
        None if name == "account" => TemplateSegment::Account,
        None if name == "any" => TemplateSegment::Any,
        None => {
            return Err(wrong(
                "has a placeholder other than `{account}`, `{any}` and `{settings:/…}`",
            ));
        }
    };
    match tail.strip_prefix('/') {
        Some(tail) => Ok((segment, Some(tail))),
        None if tail.is_empty() => Ok((segment, None)),
        None => Err(wrong("has a placeholder that is not a whole segment")),
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            match segment {
                TemplateSegment::Literal(text) => write!(f, "/{}", utf8_percent_encode(text, SEGMENT))?,
                TemplateSegment::Account => f.write_str("/{account}")?,
                TemplateSegment::Setting(pointer) => write!(f, "/{{settings:{pointer}}}")?,
                TemplateSegment::Any => f.write_str("/{any}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "path_tests.rs"]
mod tests;
