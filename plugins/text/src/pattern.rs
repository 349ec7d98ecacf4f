//! Regular expressions.

use std::collections::BTreeMap;

use llmring_plugin_sdk::{Error, Result};
use regex::Regex;
use schemars::JsonSchema;
use serde::Serialize;

/// Where a regular expression is found.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Found {
    pub(crate) matches: Vec<Match>,
    /// How many there are, those included that are not listed.
    pub(crate) total: usize,
}

/// One match.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Match {
    /// The line that it begins in, from 1.
    pub(crate) line: usize,
    /// The character of that line that it begins with, from 1.
    pub(crate) column: usize,
    pub(crate) text: String,
    /// What the groups matched, by name or else by number; those are absent that took no part.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) groups: BTreeMap<String, String>,
}

/// A text after replacing.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Replaced {
    pub(crate) text: String,
    pub(crate) replacements: usize,
}

pub(crate) fn find(text: &str, pattern: &str, limit: usize) -> Result<Found> {
    let regex = compile("pattern", pattern)?;
    let mut found = Found {
        matches: Vec::new(),
        total: 0,
    };
    let mut line = 1;
    let mut line_start = 0;
    let mut counted = 0;
    for captures in regex.captures_iter(text) {
        found.total += 1;
        if found.matches.len() == limit {
            continue;
        }
        let whole = captures.get_match();
        // Matches come in order, so that every line feed is counted once.
        for (offset, _) in text[counted..whole.start()].match_indices('\n') {
            line += 1;
            line_start = counted + offset + 1;
        }
        counted = whole.start();
        let groups = regex
            .capture_names()
            .enumerate()
            .skip(1)
            .filter_map(|(index, name)| {
                let name = name.map_or_else(|| index.to_string(), str::to_owned);
                Some((name, captures.get(index)?.as_str().to_owned()))
            });
        found.matches.push(Match {
            line,
            column: text[line_start..whole.start()].chars().count() + 1,
            text: whole.as_str().to_owned(),
            groups: groups.collect(),
        });
    }
    Ok(found)
}

pub(crate) fn replace(text: &str, pattern: &str, replacement: &str) -> Result<Replaced> {
    let regex = compile("pattern", pattern)?;
    let mut replacements = 0;
    let text = regex.replace_all(text, |captures: &regex::Captures<'_>| {
        replacements += 1;
        let mut expanded = String::new();
        captures.expand(replacement, &mut expanded);
        expanded
    });
    Ok(Replaced {
        text: text.into_owned(),
        replacements,
    })
}

/// The regular expression that the argument of that name holds.
pub(crate) fn compile(argument: &str, pattern: &str) -> Result<Regex> {
    Regex::new(pattern).map_err(|error| Error::invalid(argument, error))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn matches_are_found_with_their_places_and_groups() {
        let found = find("äb=1\nc=2 d=3\n", r"(?<key>\w)=(\d)", 2).unwrap();
        let places: Vec<_> = found
            .matches
            .iter()
            .map(|found| (found.line, found.column, found.text.as_str()))
            .collect();
        assert_eq!((found.total, places), (3, vec![(1, 2, "b=1"), (2, 1, "c=2")]));
        let groups = BTreeMap::from([
            ("key".to_owned(), "b".to_owned()),
            ("2".to_owned(), "1".to_owned()),
        ]);
        assert_eq!(found.matches[0].groups, groups);
        assert_eq!(find("abc", "(?i)B", 10).unwrap().total, 1);
        assert_eq!(
            find("", "x*", 10).unwrap().matches[0],
            Match {
                line: 1,
                column: 1,
                text: String::new(),
                groups: BTreeMap::new()
            }
        );
    }

    #[test]
    fn replacements_know_the_groups() {
        let replaced = replace("Ada Lovelace, Alan Turing", r"(\w+) (\w+)", "${2} $1").unwrap();
        assert_eq!(
            (replaced.text.as_str(), replaced.replacements),
            ("Lovelace Ada, Turing Alan", 2)
        );
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for pattern in ["(", r"\p{Nowhere}", r"(a)\1", "(?:a{1000}){1000}"] {
            assert!(
                matches!(find("", pattern, 1).unwrap_err(), Error::InvalidArgument { path, .. } if path == "/pattern"),
                "{pattern}"
            );
        }
    }
}
