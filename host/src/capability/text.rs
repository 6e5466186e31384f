//! Text of guests and targets, made fit for lines that people read.

/// Whether a character could forge a line, drive a terminal, or show text in another order than it has.
#[must_use]
pub fn is_odd(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text with every odd character replaced.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if is_odd(c) { '\u{fffd}' } else { c }).collect()
}

/// A guest's word in a message: short, and without what drives a terminal or begins a line.
pub(super) fn quoted(text: &str) -> String {
    text.chars().take(120).flat_map(char::escape_debug).collect()
}
