//! Text of guests, targets and files, made fit for lines that people read.

/// Whether a character could forge a line, drive a terminal, or show text in another order than it has.
#[must_use]
pub(crate) fn is_odd(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text with every odd character replaced.
#[must_use]
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if is_odd(c) { '\u{fffd}' } else { c }).collect()
}

/// The beginning of a text, with every odd character replaced: at most `most` characters, and a sign that there is more.
#[must_use]
pub(crate) fn excerpt(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => printable(&text[..end]) + "…",
        None => printable(text),
    }
}

/// A guest's word in a message: short, and without what drives a terminal or begins a line.
pub(crate) fn quoted(text: &str) -> String {
    text.chars().take(120).flat_map(char::escape_debug).collect()
}
