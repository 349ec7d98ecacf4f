//! Parts of texts, and how much there is of them.

use llmring_plugin_sdk::{Error, Result};
use schemars::JsonSchema;
use serde::Serialize;

use crate::pattern::compile;

/// The parts of a text, in their order.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Parts {
    pub(crate) parts: Vec<String>,
}

/// How much there is of a text.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Counts {
    /// Bytes of its UTF-8 form.
    pub(crate) bytes: usize,
    /// Unicode scalar values.
    pub(crate) characters: usize,
    /// Runs of anything but white space.
    pub(crate) words: usize,
    /// A last line counts whether it is ended or not.
    pub(crate) lines: usize,
}

pub(crate) fn at(text: &str, separator: &str, limit: Option<usize>) -> Result<Parts> {
    let separator = compile("separator", separator)?;
    let parts = match limit {
        Some(limit) => separator.splitn(text, limit).map(str::to_owned).collect(),
        None => separator.split(text).map(str::to_owned).collect(),
    };
    Ok(Parts { parts })
}

/// Where a text is best cut, the best first. The cut comes after what is named.
const CUTS: [&[&str]; 4] = [&["\n\n"], &["\n"], &[". ", "! ", "? ", "。"], &[" "]];

pub(crate) fn chunks(mut text: &str, max_characters: usize) -> Result<Parts> {
    if max_characters == 0 {
        return Err(Error::invalid("max_characters", "it has to be 1 or more"));
    }
    let mut parts = Vec::new();
    while let Some((end, _)) = text.char_indices().nth(max_characters) {
        let head = &text[..end];
        let cut = CUTS.iter().find_map(|cuts| {
            cuts.iter()
                .filter_map(|cut| Some(head.rfind(cut)? + cut.len()))
                .max()
        });
        let (part, rest) = text.split_at(cut.unwrap_or(end));
        parts.push(part.to_owned());
        text = rest;
    }
    if !text.is_empty() {
        parts.push(text.to_owned());
    }
    Ok(Parts { parts })
}

pub(crate) fn count(text: &str) -> Counts {
    Counts {
        bytes: text.len(),
        characters: text.chars().count(),
        words: text.split_whitespace().count(),
        lines: text.lines().count(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn texts_are_split() {
        assert_eq!(at("a, b,c", r",\s*", None).unwrap().parts, ["a", "b", "c"]);
        assert_eq!(at("a, b,c", ",", Some(2)).unwrap().parts, ["a", " b,c"]);
        assert!(at("", "(", None).is_err());
    }

    #[test]
    fn chunks_end_where_something_ends_and_lose_nothing() {
        let text =
            "Första meningen. Andra meningen är längre.\n\nEtt stycke till, utanpunktellermellanslagalls";
        let parts = chunks(text, 20).unwrap().parts;
        assert_eq!(parts[..2], ["Första meningen. ", "Andra meningen är "]);
        assert_eq!(parts.concat(), text);
        assert!(parts.iter().all(|part| part.chars().count() <= 20), "{parts:?}");
        assert_eq!(chunks("", 5).unwrap().parts, [""; 0]);
        assert_eq!(chunks("åäö", 1).unwrap().parts, ["å", "ä", "ö"]);
        assert!(chunks("a", 0).is_err());
    }

    #[test]
    fn texts_are_counted() {
        let counts = Counts {
            bytes: 13,
            characters: 11,
            words: 3,
            lines: 2,
        };
        assert_eq!(count("två ord\näls"), counts);
        assert_eq!(
            count(""),
            Counts {
                bytes: 0,
                characters: 0,
                words: 0,
                lines: 0
            }
        );
    }
}
