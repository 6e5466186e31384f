//! Digests as an operator writes them.

/// What stands before the digits.
const PREFIX: &str = "sha256:";

/// A SHA-256 digest as an operator writes it.
pub(crate) fn digest_text(hash: &[u8]) -> String {
    let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{PREFIX}{digits}")
}

/// Takes a digest over: `sha256:` and 64 digits.
///
/// # Errors
/// What to write instead.
pub(crate) fn parse_digest(text: &str) -> Result<String, String> {
    let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let digits = text.strip_prefix(PREFIX).unwrap_or_default();
    if digits.len() == 64 && digits.bytes().all(is_digit) {
        return Ok(text.to_owned());
    }
    Err(
        "is not a digest; write \"sha256:\" and its 64 digits (0-9, a-f), as `exeunt plugin inspect FILE` prints them"
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_has_its_prefix_and_exactly_64_lower_digits() {
        let digits = "0123456789abcdef".repeat(4);
        assert!(parse_digest(&format!("sha256:{digits}")).is_ok());
        let wrong = [
            digits.clone(),
            format!("sha512:{digits}"),
            format!("sha256:{}", &digits[1..]),
            format!("sha256:{digits}0"),
            format!("sha256:{}", digits.to_uppercase()),
            format!("sha256:{}/", &digits[1..]),
            String::new(),
        ];
        for text in wrong {
            assert!(parse_digest(&text).is_err(), "{text}");
        }
    }
}
