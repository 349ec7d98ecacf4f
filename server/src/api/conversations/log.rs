//! A whole call as clients log it. Whatever can be made sense of is accepted: a log refused is a log lost.

use std::borrow::Cow;
use std::collections::BTreeMap;

use entity::message::Role;
use poem_openapi::Object;
use poem_openapi::registry::{MetaSchemaRef, Registry};
use poem_openapi::types::{ParseError, ParseFromJSON, ParseResult, ToJSON, Type};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::api::scalar::{AnyJson, Count, Dollars, JsonObject, JsonObjects, Milliseconds};
use crate::conversations::{Content, Logged, LoggedCall, NewMessage};
use crate::error::Error;
use crate::prices::{TokenCounts, input_includes_cached_default};
use crate::usage::{CallReport, DEFAULT_PROFILE};

/// What stands for a provider or model that nobody names. Such a call has no price.
const UNKNOWN: &str = "unknown";

/// One LLM call with what was said.
#[derive(Debug, Serialize, Deserialize, Object)]
pub(super) struct LogConversationRequest {
    /// What the model was sent, as the provider's SDK shapes it: objects with `role` and `content` (or `parts`), `tool_calls`,
    /// `tool_call_id`. A `developer` counts as `system`, a `function` as `tool`, a `model` as `assistant`, anybody else as `user`;
    /// `metadata.role` keeps what was sent.
    #[oai(nullable)]
    messages: Option<Vec<AnyJson>>,
    /// What it answered.
    #[oai(nullable)]
    response: Option<Answered>,
    /// What the call was.
    #[oai(nullable)]
    metadata: Option<Kept<CallMetadata>>,
    /// As in `metadata`.
    #[oai(nullable)]
    conversation_id: Option<String>,
}

/// What a model answered.
#[derive(Debug, Serialize, Deserialize, Object)]
struct Answered {
    /// Text, parts or null.
    #[oai(nullable)]
    content: Option<AnyJson>,
    /// The model that answered.
    #[oai(nullable)]
    model: Option<String>,
    /// Why it stopped.
    #[oai(nullable)]
    finish_reason: Option<AnyJson>,
    /// The tool calls that it makes.
    #[oai(nullable)]
    tool_calls: Option<AnyJson>,
    /// What `metadata` does not say is taken from here.
    #[oai(nullable)]
    usage: Option<AnsweredUsage>,
}

/// Tokens as providers report them.
#[derive(Debug, Default, Serialize, Deserialize, Object)]
struct AnsweredUsage {
    /// Input tokens.
    #[oai(nullable)]
    prompt_tokens: Option<Count>,
    /// Output tokens.
    #[oai(nullable)]
    completion_tokens: Option<Count>,
    /// Input tokens, as others call them.
    #[oai(nullable)]
    input_tokens: Option<Count>,
    /// Output tokens, as others call them.
    #[oai(nullable)]
    output_tokens: Option<Count>,
    /// Input tokens read from the provider's cache.
    #[oai(nullable)]
    cached_tokens: Option<Count>,
    /// Tokens written to the provider's cache for five minutes.
    #[oai(nullable)]
    cache_creation_tokens: Option<Count>,
    /// Output tokens spent on reasoning.
    #[oai(nullable)]
    reasoning_tokens: Option<Count>,
}

/// What a call was.
#[derive(Debug, Default, Serialize, Deserialize, Object)]
struct CallMetadata {
    /// Such as `openai`.
    #[oai(nullable)]
    provider: Option<String>,
    /// Such as `gpt-4o-mini`.
    #[oai(nullable)]
    model: Option<String>,
    /// The alias under which the model was called.
    #[oai(nullable)]
    alias: Option<String>,
    /// The profile; `default` when absent.
    #[oai(nullable)]
    profile: Option<String>,
    /// Which application made the call.
    #[oai(nullable)]
    origin: Option<String>,
    /// What the call cost. When absent, the registry's prices decide.
    #[oai(nullable)]
    cost: Option<Dollars>,
    /// The input's part of the cost; kept and not used.
    #[oai(nullable)]
    input_cost: Option<Dollars>,
    /// The output's part of the cost; kept and not used.
    #[oai(nullable)]
    output_cost: Option<Dollars>,
    /// Input tokens.
    #[oai(nullable)]
    input_tokens: Option<Count>,
    /// Output tokens, reasoning included.
    #[oai(nullable)]
    output_tokens: Option<Count>,
    /// Input tokens read from the provider's cache.
    #[oai(nullable)]
    cached_tokens: Option<Count>,
    /// Milliseconds the call took.
    #[oai(nullable)]
    latency_ms: Option<Milliseconds>,
    /// The conversation to append to. Absent: a new one.
    #[oai(nullable)]
    conversation_id: Option<String>,
}

/// A value with the text that it came as: members that nobody knows are kept.
#[derive(Debug)]
struct Kept<T> {
    value: T,
    text: JsonObject,
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Kept<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = JsonObject::deserialize(deserializer)?;
        let mut reader = serde_json::Deserializer::from_str(text.get());
        let value = serde_path_to_error::deserialize(&mut reader)
            .map_err(|error| D::Error::custom(format_args!("{}: {}", error.path(), error.inner())))?;
        Ok(Self { value, text })
    }
}

impl<T> Serialize for Kept<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.text.serialize(serializer)
    }
}

impl<T: Type> Type for Kept<T> {
    const IS_REQUIRED: bool = T::IS_REQUIRED;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        T::name()
    }

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl<T: Type + DeserializeOwned> ParseFromJSON for Kept<T> {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        serde_json::from_value(value.unwrap_or_default()).map_err(ParseError::custom)
    }
}

impl<T: Type> ToJSON for Kept<T> {
    fn to_json(&self) -> Option<Value> {
        serde_json::to_value(self).ok()
    }
}

impl From<LogConversationRequest> for LoggedCall {
    fn from(request: LogConversationRequest) -> Self {
        let LogConversationRequest {
            messages,
            response,
            metadata,
            conversation_id,
        } = request;
        let present = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
        let (metadata, text) = match metadata {
            Some(Kept { value, text }) => (value, text.into_text()),
            None => (CallMetadata::default(), "{}".to_owned()),
        };
        let answered_by = response.as_ref().and_then(|response| response.model.clone());
        let no_usage = AnsweredUsage::default();
        let usage = response
            .as_ref()
            .and_then(|response| response.usage.as_ref())
            .unwrap_or(&no_usage);
        let first = |counts: [Option<Count>; 3]| counts.into_iter().flatten().next().unwrap_or_default().0;
        let provider = present(metadata.provider).unwrap_or_else(|| UNKNOWN.to_owned());
        let model = present(metadata.model)
            .or(present(answered_by))
            .unwrap_or_else(|| UNKNOWN.to_owned());
        let report = CallReport {
            tokens: TokenCounts {
                input: first([metadata.input_tokens, usage.prompt_tokens, usage.input_tokens]),
                output: first([
                    metadata.output_tokens,
                    usage.completion_tokens,
                    usage.output_tokens,
                ]),
                cached_input: first([metadata.cached_tokens, usage.cached_tokens, None]),
                cache_write_5m: usage.cache_creation_tokens.unwrap_or_default().0,
                cache_write_1h: 0,
                reasoning: usage.reasoning_tokens.unwrap_or_default().0,
                input_includes_cached: input_includes_cached_default(&provider),
            },
            provider,
            model,
            alias: present(metadata.alias),
            profile: present(metadata.profile).unwrap_or_else(|| DEFAULT_PROFILE.to_owned()),
            cost: metadata.cost.map(|cost| cost.0),
            latency_ms: metadata.latency_ms.map(|latency| latency.0),
            origin: present(metadata.origin),
            id_at_origin: None,
            conversation_id: None,
            metadata: text,
        };
        Self {
            conversation: present(metadata.conversation_id).or(present(conversation_id)),
            messages: messages.unwrap_or_default().into_iter().map(message).collect(),
            answer: response.map(|response| answer(response, &report)),
            report,
        }
    }
}

/// The model's message, with what is known of the call.
fn answer(response: Answered, report: &CallReport) -> NewMessage {
    let Answered {
        content,
        model: _,
        finish_reason,
        tool_calls,
        usage: _,
    } = response;
    let text = |text: &str| AnyJson::from_text(text);
    let mut metadata = Metadata::default();
    metadata.add("provider", Some(text(&report.provider)));
    metadata.add("model", Some(text(&report.model)));
    metadata.add("alias", report.alias.as_deref().map(text));
    metadata.add("profile", Some(text(&report.profile)));
    metadata.add("origin", report.origin.as_deref().map(text));
    metadata.add("finish_reason", finish_reason);
    let (tool_calls, other_calls) = objects(tool_calls);
    metadata.add("tool_calls", other_calls);
    NewMessage {
        tool_calls,
        metadata: metadata.into_text(),
        ..NewMessage::new(Role::Assistant, content.and_then(content_of))
    }
}

/// A message as some SDK shapes it.
fn message(sent: AnyJson) -> NewMessage {
    let Ok(mut members) = serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(sent.get()) else {
        return NewMessage::new(Role::User, content_of(sent));
    };
    let mut take = |name: &str| {
        members
            .remove(name)
            .filter(|value| value.get() != "null")
            .map(AnyJson::from_raw)
    };
    let role = take("role");
    let (stored_role, is_its_name) = match role.as_ref().and_then(AnyJson::as_text).as_deref() {
        Some("system") => (Role::System, true),
        Some("user") => (Role::User, true),
        Some("assistant") => (Role::Assistant, true),
        Some("tool") => (Role::Tool, true),
        Some("developer") => (Role::System, false),
        Some("function") => (Role::Tool, false),
        Some("model") => (Role::Assistant, false),
        Some(_) | None => (Role::User, false),
    };
    let content = take("content").or_else(|| take("parts"));
    let (tool_calls, other_calls) = objects(take("tool_calls"));
    let mut metadata = Metadata::of(take("metadata"));
    metadata.add("tool_calls", other_calls);
    if !is_its_name {
        metadata.add("role", role);
    }
    let count = |value: Option<AnyJson>| {
        let count: Count = serde_json::from_str(value?.get()).ok()?;
        Some(super::wire::column(count))
    };
    NewMessage {
        tool_calls,
        tool_call_id: take("tool_call_id").and_then(|id| id.as_text()),
        tool_results: take("tool_results").map(AnyJson::into_text),
        input_tokens: count(take("input_tokens")),
        output_tokens: count(take("output_tokens")),
        metadata: metadata.into_text(),
        ..NewMessage::new(stored_role, content.and_then(content_of))
    }
}

/// Text and arrays are content as they are; a single part is an array of one; anything else is its own text.
fn content_of(value: AnyJson) -> Option<Content> {
    let text = value.get();
    match text.as_bytes().first()? {
        b'"' | b'[' => Content::from_json(value.into_text()),
        b'{' => Content::from_json(format!("[{text}]")),
        b'n' => None,
        _ => Some(Content::from_text(text)),
    }
}

/// The value where it is an array of objects, else the value for wherever it can be kept.
fn objects(value: Option<AnyJson>) -> (Option<String>, Option<AnyJson>) {
    match value {
        Some(value) if JsonObjects::describes(value.get()) => (Some(value.into_text()), None),
        other => (None, other),
    }
}

/// A message's metadata in the making.
#[derive(Default)]
struct Metadata(BTreeMap<String, AnyJson>);

impl Metadata {
    /// What the caller sent; anything but an object is kept as a member of one.
    fn of(sent: Option<AnyJson>) -> Self {
        let Some(sent) = sent else {
            return Self::default();
        };
        match serde_json::from_str(sent.get()) {
            Ok(members) => Self(members),
            Err(_) => Self(BTreeMap::from([("metadata".to_owned(), sent)])),
        }
    }

    fn add(&mut self, name: &str, value: Option<AnyJson>) {
        if let Some(value) = value {
            self.0.insert(name.to_owned(), value);
        }
    }

    fn into_text(self) -> String {
        // Texts as keys and JSON as values: this cannot fail.
        serde_json::to_string(&self.0).unwrap_or_else(|_| "{}".to_owned())
    }
}

/// The acknowledgement of a logged call: all of it is committed.
#[derive(Debug, Serialize, Deserialize, Object)]
pub(super) struct LogConversationResponse {
    /// Where it was said.
    conversation_id: Uuid,
    /// The model's message; null when there was no answer or messages are not kept.
    #[oai(nullable)]
    message_id: Option<Uuid>,
    /// The receipt of the call, where the server signs receipts.
    #[oai(nullable)]
    receipt: Option<JsonObject>,
}

impl TryFrom<Logged> for LogConversationResponse {
    type Error = Error;

    fn try_from(logged: Logged) -> Result<Self, Error> {
        let Logged {
            conversation_id,
            message_id,
            receipt,
        } = logged;
        let receipt = receipt
            .map(JsonObject::from_stored)
            .transpose()
            .map_err(|source| Error::Corrupt {
                what: "receipt",
                source,
            })?;
        Ok(Self {
            conversation_id,
            message_id,
            receipt,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(request: &Value) -> LoggedCall {
        let request: LogConversationRequest =
            serde_json::from_str(&request.to_string()).expect("a request that makes sense");
        request.into()
    }

    fn said(messages: &Value) -> Vec<NewMessage> {
        read(&json!({ "messages": messages })).messages
    }

    #[test]
    fn no_role_is_refused() {
        let roles = ["developer", "function", "model", "tool", "narrator"].map(|role| {
            let message = said(&json!([{"role": role, "content": "x"}])).remove(0);
            (message.role, message.metadata)
        });
        assert_eq!(
            roles,
            [
                (Role::System, r#"{"role":"developer"}"#.to_owned()),
                (Role::Tool, r#"{"role":"function"}"#.to_owned()),
                (Role::Assistant, r#"{"role":"model"}"#.to_owned()),
                (Role::Tool, "{}".to_owned()),
                (Role::User, r#"{"role":"narrator"}"#.to_owned()),
            ]
        );
        let odd = said(&json!([{"content": "x"}, {"role": null}, {"role": 7}, "plain text", 12]));
        assert!(odd.iter().all(|message| message.role == Role::User));
        assert_eq!(odd[2].metadata, r#"{"role":7}"#);
        assert_eq!(odd[3].content, Some(Content::from_text("plain text")));
        assert_eq!(odd[4].content, Some(Content::from_text("12")));
    }

    #[test]
    fn content_is_kept_in_every_providers_shape() {
        let messages = said(&json!([
            {"role": "user", "content": [{"type": "text", "text": "hi"}]},
            {"role": "model", "parts": [{"text": "hello"}]},
            {"role": "user", "content": {"text": "one part"}},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "c1"}]},
            {"role": "assistant", "content": null, "tool_calls": "odd"},
            {"role": "tool", "tool_call_id": "c1", "content": "42"},
        ]));
        let content = |text: &str| Content::from_json(text.to_owned());
        assert_eq!(messages[0].content, content(r#"[{"text":"hi","type":"text"}]"#));
        assert_eq!(messages[1].content, content(r#"[{"text":"hello"}]"#));
        assert_eq!(messages[2].content, content(r#"[{"text":"one part"}]"#));
        assert_eq!(messages[3].tool_calls.as_deref(), Some(r#"[{"id":"c1"}]"#));
        assert_eq!(messages[3].content, None);
        assert_eq!(messages[4].metadata, r#"{"tool_calls":"odd"}"#);
        assert_eq!(messages[5].tool_call_id.as_deref(), Some("c1"));
    }

    #[test]
    fn usage_is_taken_from_the_response_where_metadata_says_nothing() {
        let call = read(&json!({
            "response": {"content": "hi", "model": "claude-x", "usage": {
                "prompt_tokens": 10, "completion_tokens": 5, "cached_tokens": 3,
                "cache_creation_tokens": 7, "reasoning_tokens": 2, "total_tokens": 15}},
            "metadata": {"provider": "anthropic", "input_tokens": 11, "cached_tokens": null},
        }));
        let tokens = call.report.tokens;
        assert_eq!((tokens.input, tokens.output, tokens.cached_input), (11, 5, 3));
        assert_eq!((tokens.cache_write_5m, tokens.reasoning), (7, 2));
        assert!(!tokens.input_includes_cached);
        assert_eq!(call.report.model, "claude-x");
    }

    #[test]
    fn a_call_that_nobody_describes_is_still_a_call() {
        let call = read(&json!({"messages": null, "response": {}, "metadata": null}));
        assert_eq!(
            (call.report.provider.as_str(), call.report.model.as_str()),
            (UNKNOWN, UNKNOWN)
        );
        assert!(call.answer.is_some());
    }
}
