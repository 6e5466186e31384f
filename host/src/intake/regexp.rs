//! Turns a Java regular expression into an I-Regexp (RFC 9485), which `match` and `search` of RFC 9535 take.
//!
//! I-Regexp has no flags, no anchors, no look-around and no `\d`. What cannot be said in it gives `None`: then the
//! operator writes the variants out.

/// Largest compiled pattern: 256 KiB, such as `.{1,200}` has. Patterns are compiled again for every value compared, so they
/// must be small.
const MAX_COMPILED_BYTES: usize = 256 * 1024;

/// Checks a pattern of `match` or `search`, which would otherwise never match, without a word.
pub(crate) fn check(pattern: &str) -> Result<(), String> {
    regex::RegexBuilder::new(&format!("(?R)^({pattern})$"))
        .size_limit(MAX_COMPILED_BYTES)
        .build()
        .map(|_| ())
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "it is too large once compiled; shorten `{…}` or `\\p{…}`".to_owned(),
            // The library draws the pattern over several lines; its last line says what is wrong.
            other => other
                .to_string()
                .lines()
                .last()
                .unwrap_or_default()
                .trim_start_matches("error: ")
                .to_owned(),
        })
}

/// The I-Regexp that matches a whole text where Jayway's `=~ /pattern/flags` does.
pub(crate) fn from_java(pattern: &str, flags: &str) -> Option<String> {
    if !flags.chars().all(|flag| flag == 'i') || pattern.contains("(?") {
        return None;
    }
    let ignore_case = !flags.is_empty();
    let pattern = pattern.strip_prefix('^').unwrap_or(pattern);
    let pattern = match pattern.strip_suffix('$') {
        Some(shorter) if !shorter.ends_with('\\') => shorter,
        _ => pattern,
    };
    let mut out = String::new();
    let mut characters = pattern.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => out.push_str(&escaped(characters.next()?)?),
            '^' | '$' => return None,
            '[' => out.push_str(&class(&mut characters, ignore_case)?),
            c if ignore_case => push_both_cases(&mut out, c),
            c => out.push(c),
        }
    }
    check(&out).is_ok().then_some(out)
}

/// The I-Regexp for exactly this text. Classes instead of backslashes, which TOML and JSONPath would both want doubled.
pub(crate) fn literal(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '.' | '*' | '+' | '?' | '(' | ')' | '{' | '}' | '|' | '$' => out.extend(['[', c, ']']),
            '\\' | '[' | ']' | '^' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

fn escaped(c: char) -> Option<String> {
    match c {
        'd' => Some("[0-9]".to_owned()),
        'w' => Some("[A-Za-z0-9_]".to_owned()),
        's' => Some("[ \\t\\n\\r]".to_owned()),
        c if c.is_ascii_punctuation() => Some(literal(&c.to_string())),
        _ => None,
    }
}

// Copied as it is; with a flag for case it would have to be doubled letter by letter, ranges too.
fn class(characters: &mut std::str::Chars<'_>, ignore_case: bool) -> Option<String> {
    let mut out = String::from("[");
    loop {
        match characters.next()? {
            ']' if out.len() > 1 => break,
            '[' | '&' => return None,
            '\\' => match characters.next()? {
                c if c.is_ascii_punctuation() => out.extend(['\\', c]),
                _ => return None,
            },
            c if ignore_case && c.is_alphabetic() => return None,
            c => out.push(c),
        }
    }
    out.push(']');
    Some(out)
}

// Java's flag covers ASCII only; so does this.
fn push_both_cases(out: &mut String, c: char) {
    if c.is_ascii_alphabetic() {
        out.extend(['[', c.to_ascii_lowercase(), c.to_ascii_uppercase(), ']']);
    } else {
        out.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        regex::Regex::new(&format!("^({pattern})$")).unwrap().is_match(text)
    }

    #[test]
    fn case_is_written_out_letter_by_letter() {
        let pattern = from_java("inactive", "i").unwrap();
        assert_eq!(pattern, "[iI][nN][aA][cC][tT][iI][vV][eE]");
        assert!(matches(&pattern, "InActive") && !matches(&pattern, "inactive "));
    }

    #[test]
    fn anchors_fall_away_since_the_whole_text_is_matched_anyway() {
        assert_eq!(from_java("^left.*$", "").unwrap(), "left.*");
        assert_eq!(from_java(r"a\$", "").unwrap(), "a[$]");
        assert_eq!(from_java(r"\d+ days", "").unwrap(), "[0-9]+ days");
        assert_eq!(from_java("[a-z]+", "").unwrap(), "[a-z]+");
    }

    #[test]
    fn what_has_no_such_form_is_not_made_up() {
        for (pattern, flags) in [
            ("a", "s"),
            ("(?i)a", ""),
            ("(?=a)", ""),
            ("[a-z]", "i"),
            (r"\bx", ""),
            ("a^b", ""),
        ] {
            assert_eq!(from_java(pattern, flags), None, "/{pattern}/{flags}");
        }
    }

    #[test]
    fn a_literal_matches_itself_only() {
        for text in ["a.b*c", "x[1]\\y^$", "(a|b)?{2}+", "plain"] {
            assert!(matches(&literal(text), text), "{text}");
        }
        assert!(!matches(&literal("a.b"), "axb"));
    }

    #[test]
    fn a_pattern_that_could_never_match_is_an_error() {
        assert!(check("a(").is_err());
        assert!(check("((a{1000}){1000}){1000}").is_err());
        assert!(check("[iI]nactive").is_ok());
    }
}
