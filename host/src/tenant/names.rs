//! Names that an operator writes, and the one that was meant.

/// Longest name of a tenant, source, connector, key or endpoint: 63 bytes, a DNS label, so that it fits everywhere a
/// name may end up (host names, metric labels, file names).
pub const MAX_NAME_BYTES: usize = 63;

/// Longest name of a key or an endpoint: 64 bytes, as the contract says (`descriptor.endpoint.name`).
const MAX_CONTRACT_NAME_BYTES: usize = 64;

/// Whether `name` can name a tenant, source or connector: `[a-z][a-z0-9-]{0,62}`.
pub(crate) fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME_BYTES && has_name_shape(name)
}

/// Whether `name` can name a key or an endpoint in the contract: `[a-z][a-z0-9-]*`, at most 64 bytes.
pub(crate) fn is_contract_name(name: &str) -> bool {
    name.len() <= MAX_CONTRACT_NAME_BYTES && has_name_shape(name)
}

fn has_name_shape(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Longest word that is compared with known ones: 128 bytes. No known one is as long.
const LONGEST_MISTYPED: usize = 128;

/// The known word that `word` was probably meant to be.
///
/// Case and the choice between `-` and `_` do not count. Near means: at most a third of the letters are different,
/// at least two are allowed, and never all of them.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Comparing takes as many steps as one has letters for each of the other.
    if word.len() > LONGEST_MISTYPED {
        return None;
    }
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    let word = plain(word);
    let letters = word.chars().count();
    let allowed = (letters / 3).max(2).min(letters.saturating_sub(1));
    known
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&word, &plain(candidate)), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The end of an error about an unknown word: ``did you mean `mode`?``, or the list of known words.
#[must_use]
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(word, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if known.is_empty() => "there is none".to_owned(),
        None => format!("known: {}", known.join(", ")),
    }
}

/// Text from a file or an event for an error message: quoted, escaped, at most 80 characters.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN: usize = 80;
    let mut short: String = text.chars().take(SHOWN).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_word_is_named_and_a_far_one_gets_the_list() {
        let known = ["mode", "plugin", "close_all"];
        assert_eq!(did_you_mean("mod", known), "did you mean `mode`?");
        assert_eq!(did_you_mean("Close-All", known), "did you mean `close_all`?");
        assert_eq!(did_you_mean("plugni", known), "did you mean `plugin`?");
        assert_eq!(did_you_mean("xyz", known), "known: mode, plugin, close_all");
        assert_eq!(did_you_mean("x", []), "there is none");
    }

    #[test]
    fn short_words_are_not_near_to_everything() {
        assert_eq!(nearest("ca", ["id", "to"]), None);
        assert_eq!(nearest("", ["id"]), None);
    }

    #[test]
    fn a_word_that_nobody_mistyped_is_compared_with_nothing() {
        let unread = || std::iter::once_with(|| panic!("it is looked at"));
        assert_eq!(nearest(&"y".repeat(LONGEST_MISTYPED + 1), unread()), None);
        let known = "y".repeat(LONGEST_MISTYPED);
        assert_eq!(nearest(&known, [known.as_str()]), Some(known.as_str()));
    }

    #[test]
    fn names_end_at_their_limit() {
        assert!(is_name(&format!("a{}", "b".repeat(62))));
        assert!(!is_name(&format!("a{}", "b".repeat(63))));
        assert!(is_contract_name(&"a".repeat(64)));
        assert!(!is_contract_name(&"a".repeat(65)));
        for wrong in ["", "1a", "-a", "A", "a_b", "a.b", "ä", "a/b", "a\0"] {
            assert!(!is_name(wrong), "{wrong:?}");
        }
    }
}
