//! Blanks out what the host injected where a target sends it back.
//!
//! A target that echoes a token (debug pages, error texts, reflected headers) would hand it to the guest, to the log
//! and to the transcript. Every response passes here first. A secret is looked for as it is, percent-encoded, in
//! base64 and hexadecimal, all without case. Looking for base64 at any position of a larger text takes three
//! needles, one for each way in which three bytes can fall into four characters.

use std::fmt;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// What stands where a secret stood.
pub const BLANK: &str = "[secret]";

/// Shortest secret that can be looked for without blanking ordinary text.
pub(super) const MIN_SECRET: usize = 8;

/// Finds a set of secrets in text, in the forms in which targets echo them.
#[derive(Clone, Default)]
pub struct Scrubber {
    finder: Option<Arc<AhoCorasick>>,
}

impl fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrubber").finish_non_exhaustive()
    }
}

impl Scrubber {
    /// A scrubber for `secrets`. Those shorter than [`MIN_SECRET`] are passed over.
    #[must_use]
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let needles: Vec<String> = secrets
            .into_iter()
            .filter(|secret| secret.len() >= MIN_SECRET)
            .flat_map(forms)
            .collect();
        if needles.is_empty() {
            return Self::default();
        }
        let finder = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::LeftmostLongest)
            .build(&needles)
            .map(Arc::new);
        // Building fails only past 2^31 states; limits on secrets keep us at a few thousand.
        Self { finder: finder.ok() }
    }

    /// The bytes with every secret blanked; untouched bytes are not copied.
    #[must_use]
    pub fn bytes(&self, bytes: Vec<u8>) -> Vec<u8> {
        match &self.finder {
            Some(finder) if finder.is_match(&bytes) => {
                let blanks = vec![BLANK; finder.patterns_len()];
                finder.replace_all_bytes(&bytes, &blanks)
            }
            _ => bytes,
        }
    }

    /// The text with every secret blanked.
    #[must_use]
    pub fn text(&self, text: String) -> String {
        match &self.finder {
            Some(finder) if finder.is_match(&text) => {
                let blanks = vec![BLANK; finder.patterns_len()];
                finder.replace_all(&text, &blanks)
            }
            _ => text,
        }
    }
}

fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![
        secret.to_owned(),
        utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
        percent_encoding::percent_encode(secret.as_bytes(), RESERVED).to_string(),
        secret.bytes().map(|b| format!("{b:02x}")).collect(),
        serde_json::Value::from(secret).to_string().trim_matches('"').to_owned(),
    ];
    for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
        forms.extend((0..3).map(|offset| base64_inside(engine, secret, offset)));
    }
    forms.retain(|form| form.len() >= MIN_SECRET);
    forms.sort();
    forms.dedup();
    forms
}

/// What `encodeURIComponent` and most form encoders leave alone is everything but these.
const RESERVED: &percent_encoding::AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'!')
    .remove(b'*');

/// The characters of the base64 form that do not depend on what stands before and after the secret.
fn base64_inside(engine: &impl Engine, secret: &str, offset: usize) -> String {
    let skip = (3 - offset) % 3;
    let rest = &secret.as_bytes()[skip..];
    engine.encode(&rest[..rest.len() / 3 * 3])
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;

    const TOKEN: &str = "eyJ0eXAiOiJNVCIsImFsZyI6IlJTMjU2.AQoAAAABAAUABwCA+/=Zzz~";

    #[test]
    fn every_form_of_an_echo_is_blanked() {
        let scrubber = Scrubber::new([TOKEN]);
        let echoes = [
            TOKEN.to_owned(),
            format!("Authorization: Bearer {TOKEN}"),
            TOKEN.to_uppercase(),
            STANDARD.encode(TOKEN),
            STANDARD.encode(format!("x{TOKEN}")),
            STANDARD.encode(format!("xy{TOKEN}yx")),
            URL_SAFE_NO_PAD.encode(format!("Bearer {TOKEN}")),
            utf8_percent_encode(TOKEN, NON_ALPHANUMERIC).to_string(),
            TOKEN.bytes().map(|b| format!("{b:02X}")).collect(),
        ];
        for echo in echoes {
            let scrubbed = scrubber.text(format!("before {echo} after"));
            assert!(scrubbed.contains(BLANK), "{echo}");
            assert!(!scrubbed.contains(&TOKEN[8..40]), "{echo}");
        }
    }

    #[test]
    fn other_text_is_left_alone() {
        let body = br#"{"users":[{"userId":"4711"}]}"#.to_vec();
        assert_eq!(Scrubber::new([TOKEN]).bytes(body.clone()), body);
        assert_eq!(Scrubber::default().bytes(body.clone()), body);
    }

    #[test]
    fn a_secret_too_short_to_tell_from_text_is_passed_over() {
        assert_eq!(Scrubber::new(["seven77"]).text("seven77".to_owned()), "seven77");
        assert_eq!(Scrubber::new(["eight888"]).text("eight888".to_owned()), BLANK);
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Scrubber::new([TOKEN])), "Scrubber { .. }");
    }

    proptest! {
        #[test]
        fn no_position_hides_a_base64_echo(before in "[ -~]{0,9}", after in "[ -~]{0,9}") {
            let echo = STANDARD.encode(format!("{before}{TOKEN}{after}"));
            prop_assert!(Scrubber::new([TOKEN]).text(echo).contains(BLANK));
        }
    }
}
