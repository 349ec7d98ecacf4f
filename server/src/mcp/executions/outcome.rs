//! How a call ended, as its record says it.

use entity::tool_execution::Status;
use serde_json::Value;

use crate::mcp::peer::Failure;

/// Longest error taken from a result's text, in characters.
const MOST_CHARS: usize = 4_000;

/// The end of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// In one word.
    pub status: Status,
    /// What came back, as it came.
    pub output: Option<Value>,
    /// What went wrong, for people.
    pub error: Option<String>,
}

impl Outcome {
    /// A `CallToolResult` (MCP specification, tools): the text of one that says `isError` is the error.
    pub(super) fn of_result(result: Value) -> Self {
        let failed = result.get("isError").and_then(Value::as_bool).unwrap_or(false);
        let error = failed.then(|| match text_of(&result) {
            text if text.is_empty() => "the tool says that it failed, and no more".to_owned(),
            text => storable(&text),
        });
        Self {
            status: if failed { Status::ToolError } else { Status::Succeeded },
            output: Some(result),
            error,
        }
    }

    pub(super) fn denied(error: String) -> Self {
        Self::without_output(Status::Denied, error)
    }

    pub(super) fn cancelled() -> Self {
        Self::without_output(
            Status::Cancelled,
            "the caller went away; the server was asked to stop".to_owned(),
        )
    }

    fn without_output(status: Status, error: String) -> Self {
        Self {
            status,
            output: None,
            error: Some(storable(&error)),
        }
    }

    pub(super) fn succeeded(&self) -> bool {
        self.status == Status::Succeeded
    }

    pub(super) fn structured_content(&self) -> Option<&Value> {
        self.output.as_ref()?.get("structuredContent")
    }

    /// The same output, which is not what the tool promises.
    pub(super) fn broken_promise(self, problem: &str) -> Self {
        Self {
            status: Status::ToolError,
            error: Some(storable(problem)),
            ..self
        }
    }
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        let status = match &failure {
            Failure::Denied { .. } => Status::Denied,
            Failure::Busy { .. } | Failure::Unreachable(_) => Status::Unreachable,
            Failure::Lost(_) => Status::OutcomeUnknown,
            Failure::TimedOut(_) => Status::TimedOut,
            Failure::LimitExceeded(_) => Status::LimitExceeded,
            Failure::Rpc { .. } | Failure::Malformed(_) => Status::ToolError,
        };
        Self::without_output(status, failure.to_string())
    }
}

/// The text blocks of a result, a line break between them.
pub(super) fn text_of(result: &Value) -> String {
    let blocks = result.get("content").and_then(Value::as_array);
    let texts = blocks.into_iter().flatten().filter_map(|block| block.get("text")?.as_str());
    texts.collect::<Vec<_>>().join("\n")
}

/// A text that both databases take and people read to the end.
fn storable(text: &str) -> String {
    let mut shortened: String = text.chars().take(MOST_CHARS).collect();
    if shortened.len() < text.len() {
        shortened.push('…');
    }
    shortened.replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_text_of_a_failed_result_is_its_error() {
        let result = json!({"content": [{"type": "text", "text": "no\u{0}pe"}, {"type": "image", "data": "", "mimeType": "image/png"},
            {"type": "text", "text": "twice"}], "isError": true});
        let outcome = Outcome::of_result(result.clone());
        assert_eq!(outcome.status, Status::ToolError);
        assert_eq!(outcome.error.as_deref(), Some("no\u{fffd}pe\ntwice"));
        assert_eq!(outcome.output, Some(result));
    }

    #[test]
    fn a_failure_without_words_still_has_an_error() {
        let outcome = Outcome::of_result(json!({"content": [], "isError": true}));
        assert!(outcome.error.is_some_and(|error| !error.is_empty()));
    }

    #[test]
    fn an_end_that_was_not_seen_is_unknown() {
        let outcome = Outcome::from(Failure::Lost("the process ended".to_owned()));
        assert_eq!(outcome.status, Status::OutcomeUnknown);
    }
}
