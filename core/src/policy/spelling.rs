//! What an author may have meant by a word that does not exist.

use std::fmt;

/// Words that differ in more places are different words.
const DISTANCE_MAX: usize = 3;

/// A word that is not known where it stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unknown<'a> {
    word: &'a str,
    known: Vec<&'a str>,
}

/// Reads what serde says of a key that does not exist.
pub(super) fn unknown_key(message: &str) -> Option<Unknown<'_>> {
    unknown(message.strip_prefix("unknown field `")?)
}

/// Reads what serde says of a key or of a value that does not exist.
pub(super) fn unknown_word(message: &str) -> Option<Unknown<'_>> {
    unknown_key(message).or_else(|| unknown(message.strip_prefix("unknown variant `")?))
}

/// Reads what comes after the first quote in "unknown field `a`, expected one of `b`, `c`".
fn unknown(rest: &str) -> Option<Unknown<'_>> {
    let (word, expected) = rest.rsplit_once("`, expected ")?;
    Some(Unknown {
        word,
        known: expected.split('`').skip(1).step_by(2).collect(),
    })
}

impl<'a> Unknown<'a> {
    /// Returns the known word that is nearest, if one is near.
    pub(super) fn meant(&self) -> Option<&'a str> {
        let word: Vec<char> = self.word.chars().collect();
        let most = word.len().div_ceil(3).min(DISTANCE_MAX);
        let mut nearest = None;
        let mut least = most + 1;
        for known in &self.known {
            let other: Vec<char> = known.chars().collect();
            // Spares long words the work.
            if word.len().abs_diff(other.len()) > most {
                continue;
            }
            let distance = distance(&word, &other);
            if distance < least {
                (nearest, least) = (Some(*known), distance);
            }
        }
        nearest
    }
}

impl fmt::Display for Unknown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not known here; ", self.word)?;
        if let Some(meant) = self.meant() {
            write!(f, "did you mean `{meant}`? ")?;
        }
        write!(f, "Known are: {}", self.known.join(", "))
    }
}

/// Counts the letters that must be inserted, left out, replaced, or exchanged with their
/// neighbours.
fn distance(from: &[char], to: &[char]) -> usize {
    let mut before_last = vec![0; to.len() + 1];
    let mut last: Vec<usize> = (0..=to.len()).collect();
    let mut previous = None;
    for (row, letter) in from.iter().enumerate() {
        let mut this = vec![row + 1];
        let mut previous_other = None;
        for (column, other) in to.iter().enumerate() {
            let at =
                |line: &[usize], column: usize| line.get(column).copied().unwrap_or(usize::MAX - 1);
            let replaced = at(&last, column) + usize::from(letter != other);
            let mut fewest = replaced
                .min(at(&last, column + 1) + 1)
                .min(at(&this, column) + 1);
            if previous == Some(other) && previous_other == Some(letter) {
                fewest = fewest.min(at(&before_last, column.saturating_sub(1)) + 1);
            }
            this.push(fewest);
            previous_other = Some(other);
        }
        previous = Some(letter);
        before_last = std::mem::replace(&mut last, this);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn letters_left_out_put_in_replaced_or_exchanged_count_once() {
        for (from, to, expected) in [
            ("", "", 0),
            ("", "ttl", 3),
            ("ttl", "", 3),
            ("cache", "cache", 0),
            ("cahce", "cache", 1),
            ("cach", "cache", 1),
            ("cacche", "cache", 1),
            ("cacha", "cache", 1),
            ("ehcac", "cache", 4),
            ("path-prefxi", "path_prefix", 2),
        ] {
            let letters = |word: &str| word.chars().collect::<Vec<char>>();
            assert_eq!(
                distance(&letters(from), &letters(to)),
                expected,
                "{from} {to}"
            );
        }
    }

    #[test]
    fn the_nearest_word_is_meant_if_it_is_near() {
        let message = |word: &str| {
            format!("unknown field `{word}`, expected one of `host`, `path`, `path_prefix`")
        };
        for (word, meant) in [
            ("hots", Some("host")),
            ("paths", Some("path")),
            ("path-prefxi", Some("path_prefix")),
            ("prefix", None),
            ("x", None),
            ("", None),
            ("a`, expected `b", None),
        ] {
            assert_eq!(
                unknown_key(&message(word)).unwrap().meant(),
                meant,
                "{word}"
            );
        }
        let one = unknown_word("unknown variant `nver`, expected `respect` or `never`").unwrap();
        assert_eq!(
            one.to_string(),
            "`nver` is not known here; did you mean `never`? Known are: respect, never"
        );
        assert_eq!(
            unknown_word("invalid type: integer `7`, expected a string"),
            None
        );
    }
}
