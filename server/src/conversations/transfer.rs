//! Taking a conversation out whole, and putting it back.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use entity::ids::ProjectId;
use entity::usd::Usd;
use entity::{conversation, message as stored};
use futures_util::Stream;
use sea_orm::{
    ColumnTrait, DatabaseTransaction, EntityTrait, IntoActiveModel, QueryFilter, QuerySelect, TryInsertResult,
};
use uuid::Uuid;

use super::message::{self, Tokens};
use super::reading::{self, Span};
use super::{ConversationFields, Conversations, NewMessage, refuse};
use crate::clock::new_id;
use crate::config::LoggingLevel;
use crate::error::{Result, Violation};
use crate::usage::refusal;

/// Ids looked up in one statement.
const IDS_AT_ONCE: usize = 10_000;

/// A conversation from elsewhere.
#[derive(Clone, Debug)]
pub struct ImportedConversation {
    /// Kept when it is free.
    pub id: Option<Uuid>,
    /// As for a new one.
    pub fields: ConversationFields,
    /// Input tokens of its calls.
    pub input_tokens: i64,
    /// Output tokens of its calls.
    pub output_tokens: i64,
    /// Cost of its calls.
    pub cost: Usd,
    /// Now when absent.
    pub created_at: Option<DateTime<Utc>>,
    /// Now when absent.
    pub updated_at: Option<DateTime<Utc>>,
}

/// A message from elsewhere.
#[derive(Clone, Debug)]
pub struct ImportedMessage {
    /// Kept when it is free.
    pub id: Option<Uuid>,
    /// Now when absent.
    pub timestamp: Option<DateTime<Utc>>,
    /// As for a new one.
    pub message: NewMessage,
}

impl Conversations {
    /// One conversation, and its messages at this moment in chunks as they are read, oldest first.
    pub async fn export(
        &self,
        project: ProjectId,
        id: Uuid,
    ) -> Result<(
        conversation::Model,
        impl Stream<Item = Result<Vec<stored::Model>>> + Send + use<>,
    )> {
        let conversation = self.one(project, id).await?;
        let span = Span {
            after: 0,
            to: conversation.last_position,
            most: u64::MAX,
        };
        let messages = reading::read(self.storage.clone(), project, id, span);
        Ok((conversation, messages))
    }

    /// Puts a conversation back, all of it or nothing. Its totals are those that it came with: usage rows do not travel.
    pub async fn import(
        &self,
        project: ProjectId,
        imported: ImportedConversation,
        messages: Vec<ImportedMessage>,
    ) -> Result<conversation::Model> {
        self.must_track()?;
        let ImportedConversation {
            id,
            fields,
            input_tokens,
            output_tokens,
            cost,
            created_at,
            updated_at,
        } = imported;
        // The conversation is the first line.
        let line = |line: usize, at: &str, text: String| Violation::body(&[&line.to_string(), at], text);
        let mut violations = fields.violations();
        for violation in &mut violations {
            violation.at.insert(1, "1".to_owned());
        }
        for (index, message) in messages.iter().enumerate() {
            let found = message.message.violations().into_iter();
            violations.extend(found.map(|(member, text)| line(index + 2, member, text)));
        }
        let cost = cost.to_columns().ok().filter(|(micros, _)| *micros >= 0);
        if cost.is_none() {
            violations.push(line(1, "total_cost", "is out of range".to_owned()));
        }
        refuse(violations)?;
        let (cost_micros, cost_picos) = cost.unwrap_or_default();

        let now = self.clock.now();
        let level = self.level(None);
        let messages = match level {
            LoggingLevel::None => Vec::new(),
            LoggingLevel::Metadata | LoggingLevel::Full => messages,
        };
        let count = i64::try_from(messages.len()).unwrap_or(i64::MAX);
        let tokens = Tokens::of(messages.iter().map(|message| &message.message));
        let newest = messages
            .iter()
            .map(|message| message.timestamp.unwrap_or(now))
            .max();
        let mut conversation = conversation::Model {
            last_position: count,
            message_count: count,
            message_input_tokens: tokens.input,
            message_output_tokens: tokens.output,
            usage_input_tokens: input_tokens,
            usage_output_tokens: output_tokens,
            total_cost_micros: cost_micros,
            total_cost_picos: i64::from(cost_picos),
            created_at: created_at.unwrap_or(now),
            updated_at: updated_at.unwrap_or(now),
            last_message_at: newest,
            ..fields.begin(project, id.unwrap_or_else(|| new_id(now)), now)
        };
        let transaction = self.storage.begin().await?;
        if !inserted(&transaction, &conversation).await? {
            conversation.id = new_id(now);
            super::insert(&transaction, conversation.clone()).await?;
        }
        let mut taken = taken(&transaction, &messages).await?;
        let rows: Vec<stored::Model> = (1..)
            .zip(messages)
            .map(
                |(
                    position,
                    ImportedMessage {
                        id,
                        timestamp,
                        message,
                    },
                )| {
                    let free = id.filter(|id| taken.insert(*id));
                    let id = free.unwrap_or_else(|| new_id(now));
                    message.into_row(&conversation, position, level, id, timestamp.unwrap_or(now))
                },
            )
            .collect();
        message::insert(&transaction, &rows).await?;
        transaction.commit().await?;
        Ok(conversation)
    }
}

/// Whether the id was free, and the conversation is stored now.
async fn inserted(transaction: &DatabaseTransaction, conversation: &conversation::Model) -> Result<bool> {
    let outcome = conversation::Entity::insert(conversation.clone().into_active_model())
        .on_conflict_do_nothing()
        .exec_without_returning(transaction)
        .await
        .map_err(refusal)?;
    Ok(matches!(outcome, TryInsertResult::Inserted(rows) if rows > 0))
}

/// Those of the messages' ids that are in use, in whichever project: an id is one message's.
async fn taken(transaction: &DatabaseTransaction, messages: &[ImportedMessage]) -> Result<HashSet<Uuid>> {
    let ids: Vec<Uuid> = messages.iter().filter_map(|message| message.id).collect();
    let mut taken = HashSet::new();
    for ids in ids.chunks(IDS_AT_ONCE) {
        let found: Vec<Uuid> = stored::Entity::find()
            .select_only()
            .column(stored::Column::Id)
            .filter(stored::Column::Id.is_in(ids.iter().copied()))
            .into_tuple()
            .all(transaction)
            .await?;
        taken.extend(found);
    }
    Ok(taken)
}
