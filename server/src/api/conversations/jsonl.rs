//! A conversation as JSON Lines: the conversation itself on the first line, then its messages, oldest first.

use bytes::Bytes;
use entity::conversation;
use entity::usd::Usd;
use futures_util::{Stream, StreamExt};
use poem::error::ReadBodyError;
use poem::http::{StatusCode, header};
use poem::{Body as HttpBody, IntoResponse, Request, RequestBody, Response};
use poem_openapi::payload::{Payload, PlainText};
use poem_openapi::registry::{
    MetaMediaType, MetaRequest, MetaResponse, MetaResponses, MetaSchemaRef, Registry,
};
use poem_openapi::{ApiExtractor, ApiExtractorType, ApiResponse, ExtractParamOptions};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::streamed::{json, written_while_read};
use super::wire::{Conversation, ConversationRequest, Message, MessageRequest};
use crate::api::body;
use crate::api::problem::Problem;
use crate::api::scalar::{Dollars, Timestamp};
use crate::app::App;
use crate::conversations::{ImportedConversation, ImportedMessage, NewMessage};
use crate::error::{Error, Violation};

const CONTENT_TYPE: &str = "application/jsonl";
/// JSON Lines has no registered media type, so that programs make up their own.
const ACCEPTED: [&str; 8] = [
    CONTENT_TYPE,
    "application/x-jsonlines",
    "application/jsonlines",
    "application/x-ndjson",
    "application/ndjson",
    "application/json",
    "application/octet-stream",
    "text/plain",
];
/// Characters of a SHA-256 in hexadecimal.
const HASH_CHARS: usize = 64;

/// One line of the file.
#[derive(Serialize)]
struct Line<T> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    value: T,
}

fn line<T: Serialize>(kind: &'static str, value: T) -> Result<Vec<u8>, Error> {
    let mut line = json(&Line { kind, value })?;
    line.push(b'\n');
    Ok(line)
}

/// A conversation as a file.
pub(super) struct Export {
    id: Uuid,
    body: HttpBody,
}

impl Export {
    pub(super) fn of(
        conversation: conversation::Model,
        messages: impl Stream<Item = Result<Vec<entity::message::Model>, Error>> + Send + 'static,
    ) -> Result<Self, Error> {
        let id = conversation.id;
        let first = line("conversation", Conversation::from(conversation))?;
        let rest = messages.map(|chunk| {
            let mut lines = Vec::new();
            for message in chunk? {
                lines.extend(line("message", Message::try_from(message)?)?);
            }
            Ok(lines)
        });
        let lines = futures_util::stream::once(async { Ok(first) }).chain(rest);
        Ok(Self {
            id,
            body: written_while_read(lines),
        })
    }
}

impl IntoResponse for Export {
    fn into_response(self) -> Response {
        let disposition = format!("attachment; filename=\"conversation-{}.jsonl\"", self.id);
        Response::builder()
            .content_type(CONTENT_TYPE)
            .header(header::CONTENT_DISPOSITION, disposition)
            .body(self.body)
    }
}

impl ApiResponse for Export {
    fn meta() -> MetaResponses {
        MetaResponses {
            responses: vec![MetaResponse {
                description: "One JSON object a line: the conversation, then its messages.",
                status: Some(200),
                status_range: None,
                content: vec![MetaMediaType {
                    content_type: CONTENT_TYPE,
                    schema: PlainText::<String>::schema_ref(),
                }],
                headers: vec![],
            }],
        }
    }

    fn register(_: &mut Registry) {}
}

/// The first line of a file that is put back. What is not in it has its default.
#[derive(Deserialize)]
struct ConversationLine {
    #[serde(rename = "type")]
    kind: Option<String>,
    id: Option<Uuid>,
    total_input_tokens: Option<i64>,
    total_output_tokens: Option<i64>,
    total_cost: Option<Dollars>,
    created_at: Option<Timestamp>,
    updated_at: Option<Timestamp>,
}

/// Any other line.
#[derive(Deserialize)]
struct MessageLine {
    #[serde(rename = "type")]
    kind: Option<String>,
    id: Option<Uuid>,
    content_hash: Option<String>,
    timestamp: Option<Timestamp>,
}

/// A file that is put back. Its messages are read when they are asked for.
#[derive(Debug)]
pub(super) struct Import {
    pub(super) conversation: ImportedConversation,
    pub(super) messages: Messages,
}

/// The lines of a file after the first.
#[derive(Clone, Debug)]
pub(super) struct Messages {
    file: Bytes,
    /// Where the next line begins.
    at: usize,
    /// Its number, from 1.
    number: usize,
}

impl Messages {
    /// The next line that is not empty, with its number.
    fn line(&mut self) -> Option<(usize, Bytes)> {
        while self.at < self.file.len() {
            let rest = &self.file[self.at..];
            let length = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            let line = self.file.slice(self.at..self.at + length);
            let number = self.number;
            self.at += length + 1;
            self.number += 1;
            if !line.trim_ascii().is_empty() {
                return Some((number, line));
            }
        }
        None
    }
}

impl Iterator for Messages {
    type Item = Result<ImportedMessage, Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        let (number, line) = self.line()?;
        Some(message(&line).map_err(|problem| problem.on_line(number)))
    }
}

impl Import {
    fn read(file: Bytes) -> Result<Self, Problem> {
        let mut messages = Messages {
            file,
            at: 0,
            number: 1,
        };
        let Some((number, first)) = messages.line() else {
            return Err(Problem::malformed("the body has no lines"));
        };
        let conversation = conversation(&first).map_err(|problem| problem.on_line(number))?;
        Ok(Self {
            conversation,
            messages,
        })
    }
}

fn conversation(line: &[u8]) -> Result<ImportedConversation, Problem> {
    let ConversationLine {
        kind,
        id,
        total_input_tokens,
        total_output_tokens,
        total_cost,
        created_at,
        updated_at,
    } = body::read(line)?;
    must_be("conversation", kind)?;
    let total = |member, tokens: Option<i64>| match tokens.unwrap_or(0) {
        tokens if tokens >= 0 => Ok(tokens),
        _ => Err(Violation::body(&[member], "must not be negative")),
    };
    let fields: ConversationRequest = body::read(line)?;
    Ok(ImportedConversation {
        id,
        fields: fields.into(),
        input_tokens: total("total_input_tokens", total_input_tokens)?,
        output_tokens: total("total_output_tokens", total_output_tokens)?,
        cost: total_cost.map_or(Usd::ZERO, |cost| cost.0),
        created_at: created_at.map(|time| time.0),
        updated_at: updated_at.map(|time| time.0),
    })
}

fn message(line: &[u8]) -> Result<ImportedMessage, Problem> {
    let MessageLine {
        kind,
        id,
        content_hash,
        timestamp,
    } = body::read(line)?;
    must_be("message", kind)?;
    let is_hash = |hash: &String| {
        hash.len() == HASH_CHARS
            && hash
                .bytes()
                .all(|c| c.is_ascii_digit() || matches!(c, b'a'..=b'f'))
    };
    if content_hash.as_ref().is_some_and(|hash| !is_hash(hash)) {
        return Err(Violation::body(&["content_hash"], "must be a SHA-256 in lower-case hexadecimal").into());
    }
    let message: MessageRequest = body::read(line)?;
    Ok(ImportedMessage {
        id,
        timestamp: timestamp.map(|time| time.0),
        message: NewMessage {
            content_hash,
            ..message.into()
        },
    })
}

/// The first line is the conversation, the others are messages. A line need not say so.
fn must_be(kind: &str, said: Option<String>) -> Result<(), Violation> {
    match said {
        Some(said) if said != kind => Err(Violation::body(
            &["type"],
            format!(
                "must be \"{kind}\" here: the first line is the conversation, the others are its messages"
            ),
        )),
        _ => Ok(()),
    }
}

impl Payload for Import {
    const CONTENT_TYPE: &'static str = CONTENT_TYPE;

    fn schema_ref() -> MetaSchemaRef {
        PlainText::<String>::schema_ref()
    }
}

impl<'a> ApiExtractor<'a> for Import {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn request_meta() -> Option<MetaRequest> {
        Some(MetaRequest {
            description: Some("What an export answered: one JSON object a line."),
            content: [CONTENT_TYPE, "text/plain"]
                .map(|content_type| MetaMediaType {
                    content_type,
                    schema: Self::schema_ref(),
                })
                .into(),
            required: true,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let kind = request.content_type().map(|kind| {
            let kind = kind.split(';').next().unwrap_or_default();
            kind.trim().to_ascii_lowercase()
        });
        if let Some(kind) = kind
            && !ACCEPTED.contains(&kind.as_str())
        {
            let detail = format!("the body must be sent as Content-Type: {CONTENT_TYPE}");
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail).into());
        }
        let limit = App::of(request).config().http.max_import_bytes;
        let file = body.take()?.into_bytes_limit(limit).await;
        let file = file.map_err(|error| match error {
            ReadBodyError::PayloadTooLarge => Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the file is larger than the server accepts (LLMRING_MAX_IMPORT_BYTES)",
            )
            .into(),
            error => poem::Error::from(error),
        })?;
        Ok(Self::read(file)?)
    }
}

#[cfg(test)]
mod tests {
    use poem::IntoResponse;

    use super::*;

    fn status(text: &str) -> u16 {
        let file = Import::read(Bytes::copy_from_slice(text.as_bytes()));
        let read = file.and_then(|mut file| file.messages.try_for_each(|message| message.map(drop)));
        match read {
            Ok(()) => 200,
            Err(problem) => problem.into_response().status().as_u16(),
        }
    }

    #[test]
    fn lines_are_read_in_order() {
        let file = "{\"type\":\"conversation\",\"title\":\"t\"}\r\n\n{\"type\":\"message\",\"role\":\"user\",\"content\":\"a\"}\n{\"role\":\"assistant\"}";
        let import = Import::read(Bytes::from_static(file.as_bytes())).expect("a conversation");
        assert_eq!(import.conversation.fields.title.as_deref(), Some("t"));
        assert_eq!(import.messages.count(), 2);
    }

    #[test]
    fn what_is_no_conversation_is_refused() {
        assert_eq!(status(""), 400);
        assert_eq!(status("{\n}"), 400);
        assert_eq!(status("{}\n{\"role\":\"user\",\"role\":\"user\"}"), 400);
        assert_eq!(status("{\"type\":\"message\",\"role\":\"user\"}"), 422);
        assert_eq!(status("{}\n{\"type\":\"conversation\"}"), 422);
        assert_eq!(status("{}\n{\"role\":\"narrator\"}"), 422);
        assert_eq!(status("{}\n{\"role\":\"user\",\"content_hash\":\"x\"}"), 422);
        assert_eq!(status("{}\n{\"role\":\"user\",\"content\":\"a\\u0000\"}"), 422);
        assert_eq!(status("{\"total_input_tokens\":-1}"), 422);
    }
}
