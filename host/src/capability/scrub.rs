//! Blanks out what the host injected where a target sends it back.
//!
//! A target that echoes a token (debug pages, error texts, reflected headers) would hand it to the guest, to the log
//! and to the transcript. Every response passes here first. A secret is looked for in the forms in which targets write
//! text, all without case. Looking for base64 at any position of a larger text takes three needles, one for each way
//! in which three bytes can fall into four characters.
//!
//! Long secrets are looked for in pieces, so that an echo that is cut off or wrapped into lines is found too, and the
//! whole word in which a piece was found is blanked. Looking for whole secrets only lost: half a signature is worth
//! nothing to an honest plugin and a start to a dishonest one.
//!
//! The secret is cut and not its forms: what is blanked tells a plugin whose own server sends guesses that they are
//! right, and sixteen characters of a hexadecimal form are eight of the secret, few enough to try all.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

use super::finder::{Finder, MIN_NEEDLE};

/// What stands where a secret stood.
pub const BLANK: &str = "[secret]";

/// Shortest secret that can be looked for without blanking ordinary text.
pub(super) const MIN_SECRET: usize = MIN_NEEDLE;
/// Characters of a piece: long enough that no other text has it by chance, and that nobody can try all.
const PIECE: usize = 16;
/// Secrets of this length are looked for in pieces. Then 31 characters in a row hold a whole piece.
const MIN_CUT: usize = 32;

/// Finds a set of secrets in text, in the forms in which targets echo them.
#[derive(Clone, Default)]
pub struct Scrubber {
    found: Option<Arc<Finder>>,
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
        let long_enough = secrets.into_iter().filter(|secret| secret.len() >= MIN_SECRET);
        Self::of(Finder::of(long_enough.flat_map(needles)))
    }

    /// Whether it looks for nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_none()
    }

    /// One that finds what either finds, in one pass.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        match (&self.found, &other.found) {
            (_, None) => self.clone(),
            (None, _) => other.clone(),
            (Some(one), Some(two)) => Self::of(one.and(two)),
        }
    }

    fn of(finder: Finder) -> Self {
        let found = (!finder.is_empty()).then(|| Arc::new(finder));
        Self { found }
    }

    /// The bytes with every secret blanked; untouched bytes are not copied. Gives way to others between two parts of
    /// 64 KiB, since a guest's tenant may be over its time.
    pub async fn bytes(&self, bytes: Vec<u8>) -> Vec<u8> {
        let Some(finder) = self.found.as_deref() else {
            return bytes;
        };
        let mut clean = Blanked::default();
        for start in (0..bytes.len()).step_by(PART) {
            if start > 0 {
                tokio::task::yield_now().await;
            }
            clean.blank(&bytes, finder.places(&bytes, start..start + PART));
        }
        clean.end(&bytes).unwrap_or(bytes)
    }

    /// Whether any secret stands in it. Gives way to others as [`bytes`](Self::bytes) does.
    pub async fn finds(&self, bytes: &[u8]) -> bool {
        let Some(finder) = self.found.as_deref() else {
            return false;
        };
        for start in (0..bytes.len()).step_by(PART) {
            if start > 0 {
                tokio::task::yield_now().await;
            }
            if !finder.places(bytes, start..start + PART).is_empty() {
                return true;
            }
        }
        false
    }

    /// The text with every secret blanked.
    #[must_use]
    pub fn text(&self, text: String) -> String {
        match self.blanked(text.as_bytes()) {
            Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            None => text,
        }
    }

    /// None where there is nothing to blank.
    fn blanked(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let finder = self.found.as_deref()?;
        let mut clean = Blanked::default();
        clean.blank(bytes, finder.places(bytes, 0..bytes.len()));
        clean.end(bytes)
    }
}

/// What is looked through at a time, 64 KiB: a tenth of a millisecond.
const PART: usize = 64 * 1024;

/// Bytes in which secrets are blanked, from the front.
#[derive(Default)]
struct Blanked {
    clean: Vec<u8>,
    /// Everything before is written or blanked, so no byte is looked at more than twice.
    done: usize,
}

impl Blanked {
    /// Blanks the places, which come in their order.
    fn blank(&mut self, bytes: &[u8], places: Vec<(usize, usize)>) {
        for (start, end) in places {
            if end <= self.done {
                continue;
            }
            // Otherwise it goes on from the blank before it, which took the rest of its word along.
            if self.done == 0 || start > self.done {
                let before = &bytes[self.done..start];
                let kept = before.iter().rposition(|byte| !is_word(*byte)).map_or(0, |at| at + 1);
                self.clean.extend_from_slice(&before[..kept]);
                self.clean.extend_from_slice(BLANK.as_bytes());
            }
            self.done = end + bytes[end..].iter().take_while(|byte| is_word(**byte)).count();
        }
    }

    /// The whole; none where nothing was blanked.
    fn end(mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        if self.done == 0 {
            return None;
        }
        self.clean.extend_from_slice(&bytes[self.done..]);
        Some(self.clean)
    }
}

/// Whether a byte belongs to a word of base64, hexadecimal or percent-encoding, or to a signed token.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/_-%.~".contains(&byte)
}

/// What is looked for, in lower case.
fn needles(secret: &str) -> Vec<Zeroizing<Vec<u8>>> {
    let mut needles: Vec<_> = pieces(secret)
        .into_iter()
        .flat_map(forms)
        .map(|form| Zeroizing::new(Zeroizing::new(form).to_ascii_lowercase().into_bytes()))
        .collect();
    // Most forms are the same for most secrets.
    needles.sort_unstable_by(|one, other| one.as_slice().cmp(other.as_slice()));
    needles.dedup();
    needles
}

/// The secret as a whole, or where it is long in pieces, of which the last two may overlap.
fn pieces(secret: &str) -> Vec<&str> {
    let mut starts: Vec<usize> = secret.char_indices().map(|(at, _)| at).collect();
    let count = starts.len();
    starts.push(secret.len());
    if count < MIN_CUT {
        return vec![secret];
    }
    let last = count - PIECE;
    let firsts = (0..last).step_by(PIECE).chain([last]);
    firsts
        .map(|first| &secret[starts[first]..starts[first + PIECE]])
        .collect()
}

fn forms(secret: &str) -> Vec<String> {
    let json = serde_json::Value::from(secret).to_string();
    let json = json.trim_matches('"');
    let mut forms = vec![
        secret.to_owned(),
        utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
        utf8_percent_encode(secret, RESERVED).to_string(),
        utf8_percent_encode(secret, COMPONENT).to_string(),
        utf8_percent_encode(secret, QUOTED).to_string(),
        url::form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
        secret.bytes().map(|b| format!("{b:02x}")).collect(),
        json.to_owned(),
        json.replace('/', "\\/"),
        escaped(secret, |c| match c {
            '&' => Some("&amp;".to_owned()),
            '<' => Some("&lt;".to_owned()),
            '>' => Some("&gt;".to_owned()),
            '"' => Some("&quot;".to_owned()),
            '\'' => Some("&#39;".to_owned()),
            _ => None,
        }),
    ];
    // Encoders differ in what they escape: all punctuation, what means something in a page or a URL, what .NET's do, Gson,
    // and Django's for scripts.
    let all = |c: char| !c.is_ascii_alphanumeric();
    let page = |c: char| "+/=&<>\"'`".contains(c);
    let dotnet = |c: char| "+&<>\"'`".contains(c);
    let gson = |c: char| "=&<>\"'".contains(c);
    let django = |c: char| "=&<>\"'`;-\\".contains(c);
    for which in [&all as &dyn Fn(char) -> bool, &page, &dotnet, &gson, &django] {
        let as_code = |write: fn(u32) -> String| escaped(secret, |c| which(c).then(|| write(c.into())));
        forms.push(as_code(|code| format!("\\u{code:04x}")));
        forms.push(as_code(|code| format!("&#{code};")));
        forms.push(as_code(|code| format!("&#x{code:x};")));
    }
    for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
        forms.extend((0..3).map(|offset| base64_inside(engine, secret, offset)));
    }
    forms
}

fn escaped(secret: &str, escape: impl Fn(char) -> Option<String>) -> String {
    secret
        .chars()
        .map(|c| escape(c).unwrap_or_else(|| c.to_string()))
        .collect()
}

/// Most form encoders escape these.
const RESERVED: &percent_encoding::AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'!')
    .remove(b'*');

/// JavaScript's `encodeURIComponent` escapes these.
const COMPONENT: &percent_encoding::AsciiSet = &RESERVED.remove(b'\'').remove(b'(').remove(b')');

/// Python's `quote` escapes these.
const QUOTED: &percent_encoding::AsciiSet = &RESERVED.remove(b'/').add(b'!').add(b'*');

/// The characters of the base64 form that do not depend on what stands before and after the secret.
fn base64_inside(engine: &impl Engine, secret: &str, offset: usize) -> String {
    let skip = (3 - offset) % 3;
    let rest = &secret.as_bytes()[skip..];
    engine.encode(&rest[..rest.len() / 3 * 3])
}

/// Shortest word that could be a token nobody told us of: 40 characters. Ids (a GUID has 36) and codes are shorter.
const OPAQUE: usize = 40;

/// Blanks out every word that could be a token: [`OPAQUE`] characters of those that tokens are written with.
pub(crate) fn blank_opaque(text: &str) -> String {
    let is_of_token = |c: char| c.is_ascii_alphanumeric() || "-._~+/=%".contains(c);
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_of_token) {
        let (before, from) = rest.split_at(start);
        let (word, after) = from.split_at(from.find(|c| !is_of_token(c)).unwrap_or(from.len()));
        clean.push_str(before);
        clean.push_str(if word.len() < OPAQUE { word } else { BLANK });
        rest = after;
    }
    clean + rest
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;

    const TOKEN: &str = "eyJ0eXAiOiJNVCIsImFsZyI6IlJTMjU2.AQoAAAABAAUABwCA+/=Zzz~";

    #[test]
    fn a_word_that_could_be_a_token_is_blanked_and_an_id_is_not() {
        let id = "4f2b6d1c-8a3e-4c5b-9d7f-0a1b2c3d4e5f";
        let (short, long) = ("x".repeat(OPAQUE - 1), "x".repeat(OPAQUE));
        let text = format!("{{\"error\": \"é {id} {short}\", {long}:{long}}}");
        let clean = format!("{{\"error\": \"é {id} {short}\", {BLANK}:{BLANK}}}");
        assert_eq!(blank_opaque(&text), clean);
        assert_eq!(
            (blank_opaque(""), blank_opaque(&long)),
            (String::new(), BLANK.to_owned())
        );
    }

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
            TOKEN
                .replace('+', "\\u002b")
                .replace('=', "\\u003D")
                .replace('/', "\\u002f"),
            TOKEN.replace('/', "\\/"),
            TOKEN.replace('+', "&#43;").replace('=', "&#61;").replace('/', "&#47;"),
            TOKEN
                .replace('+', "&#x2B;")
                .replace('=', "&#x3D;")
                .replace('/', "&#x2F;"),
            TOKEN[..40].to_owned(),
            TOKEN[9..].to_owned(),
            format!("{}\r\n{}", &TOKEN[..35], &TOKEN[35..]),
        ];
        for echo in echoes {
            let scrubbed = scrubber.text(format!("before {echo} after"));
            assert!(scrubbed.contains(BLANK), "{echo}");
            assert!(!scrubbed.contains(&TOKEN[8..40]), "{echo}");
        }
    }

    /// Shorter than a piece, so that only whole forms are found.
    #[test]
    fn common_encoders_forms_of_a_short_secret_are_blanked() {
        for (secret, echo) in [
            // System.Text.Json, Python's `quote`, `encodeURIComponent`, Gson, Django's `escapejs`.
            ("ab+cd/efGHijklmnop12==", "ab\\u002Bcd/efGHijklmnop12=="),
            ("pass/word+rd12", "pass/word%2Brd12"),
            ("pa(ss)wo+rd12'", "pa(ss)wo%2Brd12'"),
            ("ab+cd/ef=ghij", "ab+cd/ef\\u003dghij"),
            ("ab-cd+ef;ghij", "ab\\u002Dcd+ef\\u003Bghij"),
        ] {
            let scrubbed = Scrubber::new([secret]).text(format!("before {echo} after"));
            assert_eq!(scrubbed, format!("before {BLANK} after"));
        }
    }

    /// Every line of it is long enough to hold a piece, and the rest of the word goes with the piece.
    #[test]
    fn an_echo_that_is_wrapped_into_lines_is_blanked() {
        let secret: String = (0..40_u32)
            .map(|n| format!("{:04x}", n.wrapping_mul(48_271) & 0xffff))
            .collect();
        let scrubber = Scrubber::new([secret.as_str()]);
        for encoded in [STANDARD.encode(format!("xy{secret}")), secret.clone()] {
            let lines: Vec<&str> = encoded
                .as_bytes()
                .chunks(64)
                .map(|line| std::str::from_utf8(line).unwrap())
                .collect();
            let scrubbed = scrubber.text(lines[..2].join("\n"));
            assert_eq!(scrubbed, format!("{BLANK}\n{BLANK}"));
        }
    }

    #[test]
    fn one_echo_is_one_blank_and_what_stands_around_it_stays() {
        let scrubber = Scrubber::new([TOKEN, "eight888"]).and(&Scrubber::new(["another-secret"]));
        let text = format!("a {TOKEN}, b: \"eight888\" {TOKEN};{TOKEN} another-secret");
        let wanted = format!("a {BLANK}, b: \"{BLANK}\" {BLANK};{BLANK} {BLANK}");
        assert_eq!(scrubber.text(text), wanted);
    }

    /// Blanking looks at a byte a bounded number of times, however many echoes stand in one word.
    #[tokio::test]
    async fn a_body_full_of_echoes_is_blanked() {
        let scrubber = Scrubber::new(["eight888"]);
        let together = "eight888x".repeat(200_000);
        assert_eq!(scrubber.bytes(together.clone().into_bytes()).await, BLANK.as_bytes());
        assert_eq!(scrubber.text(together), BLANK);
        let apart = "eight888=".repeat(200_000);
        let clean = format!("{BLANK}=").repeat(200_000);
        assert_eq!(scrubber.bytes(apart.clone().into_bytes()).await, clean.as_bytes());
        assert_eq!(scrubber.text(apart), clean);
    }

    #[tokio::test]
    async fn a_long_body_is_looked_through_in_parts_and_an_echo_between_two_is_found() {
        let scrubber = Scrubber::new([TOKEN]);
        for before in PART - TOKEN.len() - 1..=PART {
            let body = format!("{}{TOKEN} {}", " ".repeat(before), "x".repeat(PART));
            let clean = format!("{}{BLANK} {}", " ".repeat(before), "x".repeat(PART));
            let mut cleaning = Box::pin(scrubber.bytes(body.into_bytes()));
            assert!(futures_util::poll!(&mut cleaning).is_pending(), "the others' turn");
            assert!(cleaning.await == clean.into_bytes(), "{before}");
        }
    }

    #[tokio::test]
    async fn other_text_is_left_alone() {
        let body = br#"{"users":[{"userId":"4711"}]}"#.to_vec();
        assert_eq!(Scrubber::new([TOKEN]).bytes(body.clone()).await, body);
        assert_eq!(Scrubber::default().bytes(body.clone()).await, body);
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
