//! `{{variable}}` in a text.
//!
//! A name is letters, digits, `_`, `-` and `.`, with white space around it or not. Whatever else stands in braces is plain text.

use std::collections::{BTreeMap, HashSet};

use crate::error::{Error, Result, Violation};

/// Longest text after filling, in bytes: a value may stand in many places.
const MAX_FILLED_BYTES: usize = 10 << 20;

/// A stretch of a text.
enum Piece<'a> {
    Plain(&'a str),
    Placeholder(&'a str),
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut plain = 0;
    let mut at = 0;
    while let Some(open) = text[at..].find("{{").map(|found| at + found) {
        match placeholder(&text[open + 2..]) {
            Some((name, length)) => {
                pieces.push(Piece::Plain(&text[plain..open]));
                pieces.push(Piece::Placeholder(name));
                at = open + 2 + length;
                plain = at;
            }
            None => at = open + 1,
        }
    }
    pieces.push(Piece::Plain(&text[plain..]));
    pieces
}

/// The name at the start of `text`, and how much of it the placeholder takes with its closing braces.
fn placeholder(text: &str) -> Option<(&str, usize)> {
    let end = text.find(['}', '{'])?;
    let name = text[..end].trim();
    let is_name = !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
    (is_name && text[end..].starts_with("}}")).then_some((name, end + 2))
}

/// The names of the placeholders in `text`, each once, in the order in which they come first.
pub fn placeholders(text: &str) -> Vec<&str> {
    let mut seen = HashSet::new();
    pieces(text)
        .into_iter()
        .filter_map(|piece| match piece {
            Piece::Plain(_) => None,
            Piece::Placeholder(name) => seen.insert(name).then_some(name),
        })
        .collect()
}

/// The text with values in place of its placeholders. What looks like a placeholder in a value stays as it is.
pub(super) fn fill(text: &str, values: &BTreeMap<String, String>) -> Result<String> {
    let missing: Vec<Violation> = placeholders(text)
        .into_iter()
        .filter(|name| !values.contains_key(*name))
        .map(|name| Violation::body(&["variables", name], "is required"))
        .collect();
    if !missing.is_empty() {
        return Err(Error::Invalid(missing));
    }
    let filled: Vec<&str> = pieces(text)
        .into_iter()
        .map(|piece| match piece {
            Piece::Plain(plain) => plain,
            Piece::Placeholder(name) => values.get(name).map_or("", String::as_str),
        })
        .collect();
    if filled.iter().map(|piece| piece.len()).sum::<usize>() > MAX_FILLED_BYTES {
        let message = format!("would make a system prompt larger than {MAX_FILLED_BYTES} bytes");
        return Err(Violation::body(&["variables"], message).into());
    }
    Ok(filled.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn names_are_listed_once_in_order() {
        assert_eq!(
            placeholders("{{b}} {{ a }} {{b}} {{first.name}} {{x-1}} {{größe}}"),
            ["b", "a", "first.name", "x-1", "größe"]
        );
    }

    #[test]
    fn what_is_no_placeholder_is_plain_text() {
        for text in [
            "{a}", "{{}}", "{{ }}", "{{a b}}", "{{a}", "{{a", "}}{{", "{{#if}}", "{{{",
        ] {
            assert!(placeholders(text).is_empty(), "{text}");
            assert_eq!(fill(text, &values(&[])).expect("nothing missing"), text);
        }
    }

    #[test]
    fn braces_around_a_placeholder_stay() {
        let filled = fill("{{{a}}} {{{{a}}}}", &values(&[("a", "1")])).expect("nothing missing");
        assert_eq!(filled, "{1} {{1}}");
    }

    #[test]
    fn values_are_not_filled_again() {
        let filled = fill("{{a}}", &values(&[("a", "{{b}}"), ("b", "2")])).expect("nothing missing");
        assert_eq!(filled, "{{b}}");
    }

    #[test]
    fn each_missing_value_is_named() {
        let error = fill("{{a}} {{b}} {{c}}", &values(&[("b", "2")])).expect_err("two are missing");
        assert_eq!(
            error.to_string(),
            "body.variables.a is required; body.variables.c is required"
        );
    }

    #[test]
    fn a_value_in_many_places_cannot_fill_the_memory() {
        let text = "{{a}}".repeat(100_000);
        let long = "x".repeat(100_000);
        assert!(fill(&text, &values(&[("a", &long)])).is_err());
    }
}
