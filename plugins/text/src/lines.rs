//! Differences of texts.

use schemars::JsonSchema;
use serde::Serialize;
use similar::{ChangeTag, TextDiff};

/// How one text differs from another.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Difference {
    /// As `diff -u` has it; empty when the texts are equal.
    pub(crate) unified: String,
    /// Lines that only the second text has.
    pub(crate) added: usize,
    /// Lines that only the first text has.
    pub(crate) removed: usize,
}

pub(crate) fn compare(before: &str, after: &str, context: usize) -> Difference {
    let diff = TextDiff::from_lines(before, after);
    let count = |tag| {
        diff.iter_all_changes()
            .filter(|change| change.tag() == tag)
            .count()
    };
    let unified = if before == after {
        String::new()
    } else {
        diff.unified_diff()
            .context_radius(context)
            .header("before", "after")
            .to_string()
    };
    Difference {
        unified,
        added: count(ChangeTag::Insert),
        removed: count(ChangeTag::Delete),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_lines_are_shown() {
        let difference = compare("a\nb\nc\nd\n", "a\nB\nc\nd", 1);
        let unified =
            "--- before\n+++ after\n@@ -1,4 +1,4 @@\n a\n-b\n+B\n c\n-d\n+d\n\\ No newline at end of file\n";
        assert_eq!(
            difference,
            Difference {
                unified: unified.to_owned(),
                added: 2,
                removed: 2
            }
        );
        assert_eq!(compare("a\n", "a\n", 3).unified, "");
    }
}
