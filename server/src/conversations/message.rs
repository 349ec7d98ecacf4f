//! Messages on their way into the database.

use chrono::{DateTime, Utc};
use entity::conversation;
use entity::message::{self, Role};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait, IntoActiveModel, QueryTrait};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashSet};

use super::search;
use crate::clock::new_id;
use crate::config::LoggingLevel;
use crate::error::Result;
use crate::usage::{MAX_TEXT_CHARS, refusal};

/// Rows in one statement: 15 columns each, below the 32,766 parameters of SQLite.
const ROWS_AT_ONCE: usize = 1000;

/// A message as a caller sends it.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub content: Option<Content>,
    /// SHA-256 of content that is not there any more, hexadecimal. For content that is there it is computed.
    pub content_hash: Option<String>,
    /// JSON text of an array of objects.
    pub tool_calls: Option<String>,
    /// Which tool call it answers.
    pub tool_call_id: Option<String>,
    /// JSON text.
    pub tool_results: Option<String>,
    /// Input tokens of the call that it came from.
    pub input_tokens: Option<i64>,
    /// Output tokens of the call that it came from.
    pub output_tokens: Option<i64>,
    /// The receipt of the call that it came from.
    pub receipt_id: Option<String>,
    /// JSON text of an object.
    pub metadata: String,
}

/// What is said: JSON text of a string or of an array of parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content(String);

impl Content {
    /// `None` unless `json`, the text of a JSON value, is a string or an array.
    pub fn from_json(json: String) -> Option<Self> {
        json.starts_with(['"', '[']).then_some(Self(json))
    }

    /// Plain text.
    pub fn from_text(text: &str) -> Self {
        Self(serde_json::Value::from(text).to_string())
    }

    /// SHA-256, hexadecimal: of a text its UTF-8 bytes, of parts their RFC 8785 form, or their own JSON where that gives them none.
    pub fn hash(&self) -> String {
        hex::encode(match self.text() {
            Some(text) => Sha256::digest(text),
            None => match self.canonical() {
                Ok(canonical) => Sha256::digest(canonical),
                Err(_) => Sha256::digest(&self.0),
            },
        })
    }

    /// Why parts have no RFC 8785 form, such as an integer beyond ±(2⁵³ − 1).
    fn problem(&self) -> Option<String> {
        match self.text() {
            Some(_) => None,
            None => self.canonical().err().map(|error| error.to_string()),
        }
    }

    fn text(&self) -> Option<String> {
        serde_json::from_str(&self.0).ok()
    }

    fn canonical(&self) -> Result<Vec<u8>, receipt::JsonError> {
        receipt::canonical::of_text(self.0.as_bytes())
    }
}

/// Sums of what messages report.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tokens {
    pub(super) input: i64,
    pub(super) output: i64,
}

impl Tokens {
    /// The number of messages and their counts are bounded, so that this does not overflow.
    pub(super) fn of<'a>(messages: impl IntoIterator<Item = &'a NewMessage>) -> Self {
        messages.into_iter().fold(Self::default(), |sum, message| Self {
            input: sum.input + message.input_tokens.unwrap_or(0),
            output: sum.output + message.output_tokens.unwrap_or(0),
        })
    }
}

impl NewMessage {
    /// A message that says this and no more.
    pub fn new(role: Role, content: Option<Content>) -> Self {
        Self {
            role,
            content,
            content_hash: None,
            tool_calls: None,
            tool_call_id: None,
            tool_results: None,
            input_tokens: None,
            output_tokens: None,
            receipt_id: None,
            metadata: "{}".to_owned(),
        }
    }

    /// Bytes of its texts.
    pub(super) fn bytes(&self) -> usize {
        let texts = [&self.tool_calls, &self.tool_results].into_iter().flatten();
        let content = self.content.as_ref().map_or(0, |Content(json)| json.len());
        texts.map(String::len).sum::<usize>() + content + self.metadata.len()
    }

    /// Members that break rules, and how.
    pub(super) fn violations(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        if let Some(problem) = self.content.as_ref().and_then(Content::problem) {
            found.push(("content", format!("has no canonical form: {problem}")));
        }
        for (member, text) in [
            ("tool_call_id", &self.tool_call_id),
            ("receipt_id", &self.receipt_id),
        ] {
            if text
                .as_ref()
                .is_some_and(|text| text.chars().count() > MAX_TEXT_CHARS)
            {
                found.push((
                    member,
                    format!("must not be longer than {MAX_TEXT_CHARS} characters"),
                ));
            }
        }
        found
    }

    /// What is stored at `level`, which is not [`LoggingLevel::None`].
    pub(super) fn into_row(
        self,
        conversation: &conversation::Model,
        position: i64,
        level: LoggingLevel,
        id: uuid::Uuid,
        created_at: DateTime<Utc>,
    ) -> message::Model {
        let Self {
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
        } = self;
        let keep = level == LoggingLevel::Full;
        let content_hash = match &content {
            Some(content) => Some(content.hash()),
            None => content_hash,
        };
        message::Model {
            id,
            project_id: conversation.project_id,
            conversation_id: conversation.id,
            position,
            role,
            content: content.filter(|_| keep).map(|Content(json)| json),
            content_hash,
            tool_calls: tool_calls.filter(|_| keep),
            tool_call_id,
            tool_results: tool_results.filter(|_| keep),
            input_tokens,
            output_tokens,
            receipt_id,
            metadata: if keep {
                metadata
            } else {
                without_content(&metadata)
            },
            created_at,
        }
    }
}

/// Members of metadata that say what a call was, never what was said in it.
const ABOUT_THE_CALL: [&str; 15] = [
    "alias",
    "cached_tokens",
    "conversation_id",
    "cost",
    "finish_reason",
    "input_cost",
    "input_tokens",
    "latency_ms",
    "model",
    "origin",
    "output_cost",
    "output_tokens",
    "profile",
    "provider",
    "role",
];

/// What is kept of metadata where what was said is not: of the members [`ABOUT_THE_CALL`] numbers, booleans and texts short enough to be
/// names. Callers put tool calls and other content into the rest.
pub(super) fn without_content(metadata: &str) -> String {
    let is_small = |value: &RawValue| match value.get().as_bytes().first() {
        Some(b'{' | b'[') => false,
        Some(b'"') => serde_json::from_str::<String>(value.get())
            .is_ok_and(|text| text.chars().count() <= MAX_TEXT_CHARS),
        _ => true,
    };
    let mut members: BTreeMap<String, &RawValue> = serde_json::from_str(metadata).unwrap_or_default();
    members.retain(|name, value| ABOUT_THE_CALL.contains(&name.as_str()) && is_small(value));
    serde_json::to_string(&members).unwrap_or_else(|_| "{}".to_owned())
}

/// The rows of messages that are the last of their conversation, in order.
pub(super) fn rows(
    conversation: &conversation::Model,
    messages: Vec<NewMessage>,
    level: LoggingLevel,
    now: DateTime<Utc>,
) -> Vec<message::Model> {
    let before = conversation.last_position - i64::try_from(messages.len()).unwrap_or(i64::MAX);
    (before + 1..)
        .zip(messages)
        .map(|(position, message)| message.into_row(conversation, position, level, new_id(now), now))
        .collect()
}

/// Inserts imported messages. One whose id is in use, in whichever project, gets another: an id is one message's.
pub(super) async fn insert_imported(
    transaction: &DatabaseTransaction,
    mut rows: Vec<message::Model>,
    now: DateTime<Utc>,
) -> Result<(), DbErr> {
    let mut seen = HashSet::new();
    for row in &mut rows {
        if !seen.insert(row.id) {
            row.id = new_id(now);
        }
    }
    while !rows.is_empty() {
        // Waits for another transaction that is about to commit the same id.
        let free = OnConflict::column(message::Column::Id).do_nothing().to_owned();
        let actives = rows.iter().map(|row| row.clone().into_active_model());
        let mut insert = message::Entity::insert_many(actives)
            .on_conflict(free)
            .into_query();
        insert.returning_col(message::Column::Id);
        let inserted: HashSet<uuid::Uuid> = transaction
            .query_all(&insert)
            .await?
            .iter()
            .map(|row| row.try_get_by_index(0))
            .collect::<Result<_, _>>()?;
        let stored = rows.iter().filter(|row| inserted.contains(&row.id));
        search::index_messages(transaction, stored).await?;
        rows.retain(|row| !inserted.contains(&row.id));
        for row in &mut rows {
            row.id = new_id(now);
        }
    }
    Ok(())
}

pub(super) async fn insert(transaction: &DatabaseTransaction, rows: &[message::Model]) -> Result<()> {
    for chunk in rows.chunks(ROWS_AT_ONCE) {
        let rows = chunk.iter().map(|row| row.clone().into_active_model());
        message::Entity::insert_many(rows)
            .exec_without_returning(transaction)
            .await
            .map_err(refusal)?;
        search::index_messages(transaction, chunk).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_hashed_by_its_bytes_and_parts_by_their_canonical_form() {
        let hash = |json: &str| Content::from_json(json.to_owned()).map(|content| content.hash());
        let some = |hash: &str| Some(hash.to_owned());
        // printf 'h\303\251' | sha256sum
        let text = "7dfbe0eab96510b11c9a2671d83019cd52953211294db5f917ffa0b7cc84f534";
        assert_eq!(hash(r#""h\u00e9""#), some(text));
        assert_eq!(Content::from_text("hé").hash(), text);
        // printf '[{"text":"hi","type":"text"}]' | sha256sum
        let parts = "5c9b2c6b02db7f154754a06d122a2de898b77e4efde4d5f083082696d089abf5";
        assert_eq!(hash(r#"[ {"type":"text", "text":"hi"} ]"#), some(parts));
    }

    #[test]
    fn parts_without_a_canonical_form_are_hashed_as_they_are_and_refused_from_new_messages() {
        let content = Content::from_json("[9007199254740993]".into()).expect("an array");
        // printf '[9007199254740993]' | sha256sum
        let as_it_is = "ee825a6b803b8c559f4ee311b23736dbc4b315351ce4b34ff75df0228b589b44";
        assert_eq!(content.hash(), as_it_is);
        let message = NewMessage::new(Role::User, Some(content));
        assert_eq!(message.violations()[0].0, "content");
    }

    #[test]
    fn only_texts_and_arrays_are_content() {
        for other in ["{}", "1", "true", "null"] {
            assert_eq!(Content::from_json(other.into()), None, "{other}");
        }
    }

    #[test]
    fn the_metadata_level_keeps_what_the_call_was_and_nothing_that_was_said() {
        let long = "x".repeat(256);
        assert_eq!(
            without_content(&format!(
                r#"{{"prompt":"secret","tool_calls":[{{}}],"cost":1.10,"alias":"fast","role":{{"a":1}},"model":null,"origin":"{long}"}}"#
            )),
            r#"{"alias":"fast","cost":1.10,"model":null}"#
        );
        assert_eq!(without_content("{}"), "{}");
    }
}
