//! The shapes of conversations and messages on the wire, and their conversion field by field.

use std::borrow::Cow;

use entity::conversation;
use entity::message::{self, Role};
use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::{ParseError, ParseFromJSON, ParseResult, ToJSON, Type};
use poem_openapi::{Enum, Object};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::api::scalar::{AnyJson, Count, Dollars, JsonObject, JsonObjects, Timestamp};
use crate::config::LoggingLevel;
use crate::conversations::{AddedMessage, Content, ConversationFields, NewMessage};
use crate::error::Error;

/// What a conversation is like. When one is begun, what is absent has its default; when one is changed, it stays.
#[derive(Clone, Debug, Serialize, Deserialize, Object)]
pub(in crate::api) struct ConversationRequest {
    /// At most 500 characters.
    #[oai(nullable, validator(max_length = 500))]
    title: Option<String>,
    /// What the model is told first.
    #[oai(nullable)]
    system_prompt: Option<String>,
    /// Which model answers, at most 255 characters; `default` when absent.
    #[oai(nullable, validator(max_length = 255))]
    model_alias: Option<String>,
    /// 0 to 2; 0.7 when absent.
    #[oai(nullable, validator(minimum(value = "0"), maximum(value = "2")))]
    temperature: Option<f64>,
    /// Most tokens in one answer, above 0.
    #[oai(nullable, validator(minimum(value = "1")))]
    max_tokens: Option<i64>,
    /// Whatever the caller likes, at most 255 characters; it has no meaning here.
    #[oai(nullable, validator(max_length = 255))]
    project_id: Option<String>,
}

impl From<ConversationRequest> for ConversationFields {
    fn from(request: ConversationRequest) -> Self {
        let ConversationRequest {
            title,
            system_prompt,
            model_alias,
            temperature,
            max_tokens,
            project_id,
        } = request;
        Self {
            title,
            system_prompt,
            model_alias,
            temperature,
            max_tokens,
            project_id,
        }
    }
}

/// One conversation.
#[derive(Debug, Serialize, Deserialize, Object)]
pub(in crate::api) struct Conversation {
    /// UUIDv7, or the id it was imported with.
    pub(super) id: Uuid,
    /// The project.
    api_key_id: Uuid,
    /// What people call it.
    #[oai(nullable)]
    title: Option<String>,
    /// What the model is told first.
    #[oai(nullable)]
    system_prompt: Option<String>,
    /// Which model answers.
    model_alias: String,
    /// 0 to 2.
    temperature: f64,
    /// Most tokens in one answer.
    #[oai(nullable)]
    max_tokens: Option<i64>,
    /// As the caller sent it.
    #[oai(nullable)]
    project_id: Option<String>,
    /// Messages stored.
    message_count: i64,
    /// Input tokens of its calls: as logged, or as its messages report them where that is more.
    total_input_tokens: i64,
    /// Output tokens of its calls, counted in the same way.
    total_output_tokens: i64,
    /// Exact cost of the usage logs that belong to it.
    total_cost: Dollars,
    /// When it was begun.
    created_at: Timestamp,
    /// When anything about it changed last.
    updated_at: Timestamp,
    /// When its newest message was stored.
    #[oai(nullable)]
    last_message_at: Option<Timestamp>,
    /// Its newest messages, oldest of them first; only where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    messages: Option<Vec<Message>>,
}

impl From<conversation::Model> for Conversation {
    fn from(row: conversation::Model) -> Self {
        let total_input_tokens = row.total_input_tokens();
        let total_output_tokens = row.total_output_tokens();
        let total_cost = Dollars(row.total_cost());
        let conversation::Model {
            id,
            project_id,
            title,
            system_prompt,
            model_alias,
            temperature,
            max_tokens,
            caller_project_id,
            last_position: _,
            message_count,
            message_input_tokens: _,
            message_output_tokens: _,
            usage_input_tokens: _,
            usage_output_tokens: _,
            total_cost_micros: _,
            total_cost_picos: _,
            created_at,
            updated_at,
            last_message_at,
        } = row;
        Self {
            id,
            api_key_id: project_id.0,
            title,
            system_prompt,
            model_alias,
            temperature,
            max_tokens,
            project_id: caller_project_id,
            message_count,
            total_input_tokens,
            total_output_tokens,
            total_cost,
            created_at: Timestamp(created_at),
            updated_at: Timestamp(updated_at),
            last_message_at: last_message_at.map(Timestamp),
            messages: None,
        }
    }
}

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Enum)]
#[oai(rename = "Role", rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub(super) enum WireRole {
    /// Instructions.
    System,
    /// The person or program that asks.
    User,
    /// The model.
    Assistant,
    /// The result of a tool call.
    Tool,
}

impl From<WireRole> for Role {
    fn from(role: WireRole) -> Self {
        match role {
            WireRole::System => Self::System,
            WireRole::User => Self::User,
            WireRole::Assistant => Self::Assistant,
            WireRole::Tool => Self::Tool,
        }
    }
}

impl From<Role> for WireRole {
    fn from(role: Role) -> Self {
        match role {
            Role::System => Self::System,
            Role::User => Self::User,
            Role::Assistant => Self::Assistant,
            Role::Tool => Self::Tool,
        }
    }
}

/// Text, or an array of parts as providers shape them, kept as the JSON that it came as.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub(super) struct WireContent(Box<RawValue>);

impl<'de> Deserialize<'de> for WireContent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        if raw.get().starts_with(['"', '[']) {
            Ok(Self(raw))
        } else {
            Err(D::Error::custom("must be text, an array of parts, or null"))
        }
    }
}

impl WireContent {
    fn into_content(self) -> Option<Content> {
        Content::from_json(Box::<str>::from(self.0).into_string())
    }
}

impl Type for WireContent {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "Content".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        let inline = |schema| MetaSchemaRef::Inline(Box::new(schema));
        let parts = MetaSchema {
            items: Some(Box::new(inline(MetaSchema::ANY))),
            ..MetaSchema::new("array")
        };
        inline(MetaSchema {
            description: Some("Text, or an array of parts as providers shape them."),
            one_of: vec![inline(MetaSchema::new("string")), inline(parts)],
            ..MetaSchema::ANY
        })
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ParseFromJSON for WireContent {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        serde_json::from_value(value.unwrap_or_default()).map_err(ParseError::custom)
    }
}

impl ToJSON for WireContent {
    fn to_json(&self) -> Option<Value> {
        serde_json::to_value(self).ok()
    }
}

/// A message to be stored.
#[derive(Clone, Debug, Serialize, Deserialize, Object)]
pub(super) struct MessageRequest {
    /// Who says it.
    role: WireRole,
    /// What is said: text, an array of parts, or null.
    #[oai(nullable)]
    content: Option<WireContent>,
    /// The tool calls that the model makes.
    #[oai(nullable)]
    tool_calls: Option<JsonObjects>,
    /// The tool call that this answers, at most 255 characters.
    #[oai(nullable, validator(max_length = 255))]
    tool_call_id: Option<String>,
    /// What tools answered.
    #[oai(nullable)]
    tool_results: Option<AnyJson>,
    /// Input tokens of the call that it came from.
    #[oai(nullable)]
    input_tokens: Option<Count>,
    /// Output tokens of the call that it came from.
    #[oai(nullable)]
    output_tokens: Option<Count>,
    /// The receipt of the call that it came from, at most 255 characters.
    #[oai(nullable, validator(max_length = 255))]
    receipt_id: Option<String>,
    /// Anything else, as an object.
    #[oai(nullable)]
    metadata: Option<JsonObject>,
}

impl From<MessageRequest> for NewMessage {
    fn from(request: MessageRequest) -> Self {
        let MessageRequest {
            role,
            content,
            tool_calls,
            tool_call_id,
            tool_results,
            input_tokens,
            output_tokens,
            receipt_id,
            metadata,
        } = request;
        Self {
            role: role.into(),
            content: content.and_then(WireContent::into_content),
            content_hash: None,
            tool_calls: tool_calls.map(JsonObjects::into_text),
            tool_call_id,
            tool_results: tool_results.map(AnyJson::into_text),
            input_tokens: input_tokens.map(column),
            output_tokens: output_tokens.map(column),
            receipt_id,
            metadata: metadata.map_or_else(|| "{}".to_owned(), JsonObject::into_text),
        }
    }
}

/// Counts are bounded far below this by their reader.
pub(super) fn column(count: Count) -> i64 {
    i64::try_from(count.0).unwrap_or(i64::MAX)
}

/// Messages to be stored together.
#[derive(Debug, Serialize, Deserialize, Object)]
pub(super) struct MessagesRequest {
    /// 1 to 1000 messages, in order.
    #[oai(validator(min_items = 1, max_items = 1000))]
    messages: Vec<MessageRequest>,
    /// What to keep of them, where the server does not keep less anyway; `full` when absent.
    #[oai(nullable)]
    logging_level: Option<WireLoggingLevel>,
}

impl MessagesRequest {
    pub(super) fn into_parts(self) -> (Vec<NewMessage>, Option<LoggingLevel>) {
        let Self {
            messages,
            logging_level,
        } = self;
        (
            messages.into_iter().map(NewMessage::from).collect(),
            logging_level.map(LoggingLevel::from),
        )
    }
}

/// What is kept of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Enum)]
#[oai(rename = "LoggingLevel", rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
enum WireLoggingLevel {
    /// Everything.
    Full,
    /// Everything but what was said; of that the hash. Of `metadata` it is `alias`, `cached_tokens`, `conversation_id`, `cost`,
    /// `finish_reason`, `input_cost`, `input_tokens`, `latency_ms`, `model`, `origin`, `output_cost`, `output_tokens`, `profile`, `provider`
    /// and `role`, where they are numbers, booleans or texts of at most 255 characters.
    Metadata,
    /// Nothing.
    None,
}

impl From<WireLoggingLevel> for LoggingLevel {
    fn from(level: WireLoggingLevel) -> Self {
        match level {
            WireLoggingLevel::Full => Self::Full,
            WireLoggingLevel::Metadata => Self::Metadata,
            WireLoggingLevel::None => Self::None,
        }
    }
}

/// A stored message.
#[derive(Debug, Serialize, Deserialize, Object)]
pub(super) struct Message {
    /// UUIDv7, or the id it was imported with; null when the server keeps no messages.
    #[oai(nullable)]
    id: Option<Uuid>,
    /// Where it was said.
    conversation_id: Uuid,
    /// Who said it.
    role: WireRole,
    /// What was said; null when nothing was or it is not kept.
    #[oai(nullable)]
    content: Option<WireContent>,
    /// SHA-256 of the content, hexadecimal: of a text its UTF-8 bytes, of parts their RFC 8785 form, or, where that gives them none (as for
    /// integers beyond ±(2⁵³ − 1)), their JSON as it came.
    #[oai(nullable)]
    content_hash: Option<String>,
    /// The tool calls that the model made.
    #[oai(nullable)]
    tool_calls: Option<JsonObjects>,
    /// The tool call that it answers.
    #[oai(nullable)]
    tool_call_id: Option<String>,
    /// What tools answered.
    #[oai(nullable)]
    tool_results: Option<AnyJson>,
    /// Input tokens of the call that it came from.
    #[oai(nullable)]
    input_tokens: Option<i64>,
    /// Output tokens of the call that it came from.
    #[oai(nullable)]
    output_tokens: Option<i64>,
    /// The receipt of the call that it came from.
    #[oai(nullable)]
    receipt_id: Option<String>,
    /// As it was sent.
    metadata: JsonObject,
    /// When it was stored.
    timestamp: Timestamp,
}

impl TryFrom<message::Model> for Message {
    type Error = Error;

    fn try_from(row: message::Model) -> Result<Self, Error> {
        let message::Model {
            id,
            project_id: _,
            conversation_id,
            position: _,
            role,
            content,
            content_hash,
            tool_calls,
            tool_call_id,
            tool_results,
            input_tokens,
            output_tokens,
            receipt_id,
            metadata,
            created_at,
        } = row;
        let corrupt = |source| Error::Corrupt {
            what: "message",
            source,
        };
        Ok(Self {
            id: Some(id),
            conversation_id,
            role: role.into(),
            content: content
                .map(|text| RawValue::from_string(text).map(WireContent))
                .transpose()
                .map_err(corrupt)?,
            content_hash,
            tool_calls: tool_calls
                .map(JsonObjects::from_stored)
                .transpose()
                .map_err(corrupt)?,
            tool_call_id,
            tool_results: tool_results
                .map(AnyJson::from_stored)
                .transpose()
                .map_err(corrupt)?,
            input_tokens,
            output_tokens,
            receipt_id,
            metadata: JsonObject::from_stored(metadata).map_err(corrupt)?,
            timestamp: Timestamp(created_at),
        })
    }
}

impl TryFrom<AddedMessage> for Message {
    type Error = Error;

    fn try_from(added: AddedMessage) -> Result<Self, Error> {
        match added {
            AddedMessage::Stored(row) => Self::try_from(row),
            AddedMessage::NotKept(row) => Ok(Self {
                id: None,
                ..Self::try_from(row)?
            }),
        }
    }
}

/// How many old messages are gone.
#[derive(Debug, Serialize, Deserialize, Object)]
pub(super) struct OldMessages {
    /// Messages deleted.
    deleted_count: u64,
    /// They were older than this many days.
    retention_days: u32,
}

impl From<(u64, u32)> for OldMessages {
    fn from((deleted_count, retention_days): (u64, u32)) -> Self {
        Self {
            deleted_count,
            retention_days,
        }
    }
}

/// What a deletion answers.
#[derive(Debug, Serialize, Deserialize, Object)]
pub(in crate::api) struct Deleted {
    /// A sentence.
    pub(in crate::api) message: String,
}
