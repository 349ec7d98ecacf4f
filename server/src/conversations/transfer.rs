//! Taking a conversation out whole, and putting it back.

use std::time::Duration;

use chrono::{DateTime, Utc};
use entity::ids::ProjectId;
use entity::usd::Usd;
use entity::{conversation, message as stored};
use futures_util::Stream;
use sea_orm::ActiveValue::{Set, Unchanged};
use sea_orm::{ActiveModelTrait, DatabaseTransaction, DbErr, EntityTrait, IntoActiveModel, TryInsertResult};
use uuid::Uuid;

use super::message::{self, Tokens};
use super::reading::{self, Span};
use super::{ConversationFields, Conversations, NewMessage, search};
use crate::clock::new_id;
use crate::config::LoggingLevel;
use crate::error::{Error, Result, Violation, has_sqlstate, refuse};
use crate::usage::refusal;

/// Messages stored at a time.
const CHUNK_MESSAGES: usize = 500;
/// Bytes stored at a time; a message that is larger is stored by itself.
const CHUNK_BYTES: usize = 1 << 20;
/// The conversation is the first line of its file.
const FIRST_LINE: &str = "1";
/// How often an import is begun before it gives way to others.
const MAX_ATTEMPTS: usize = 5;
/// When a caller should come back after that.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// SQLSTATE `deadlock_detected`.
const DEADLOCK: &str = "40P01";

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
    ///
    /// `messages` are read as they are stored, a few at a time, and from the beginning when another transaction was in the way. What
    /// was once stored is not judged by the rules for new messages.
    pub async fn import<E: From<Error> + Send>(
        &self,
        project: ProjectId,
        imported: ImportedConversation,
        messages: impl Iterator<Item = Result<ImportedMessage, E>> + Clone + Send,
    ) -> Result<conversation::Model, E> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.try_import(project, imported.clone(), messages.clone()).await {
                Ok(conversation) => return Ok(conversation),
                Err(Stopped::Deadlock) if attempts < MAX_ATTEMPTS => {}
                Err(Stopped::Deadlock) => {
                    let busy = Error::Busy {
                        what: "an import of the same ids",
                        retry_after: RETRY_AFTER,
                    };
                    return Err(busy.into());
                }
                Err(Stopped::Failed(error)) => return Err(error.into()),
                Err(Stopped::Unreadable(error)) => return Err(error),
            }
        }
    }

    async fn try_import<E>(
        &self,
        project: ProjectId,
        imported: ImportedConversation,
        messages: impl Iterator<Item = Result<ImportedMessage, E>> + Send,
    ) -> Result<conversation::Model, Stopped<E>> {
        self.must_track()?;
        let now = self.clock.now();
        let level = self.level(None);
        let mut conversation = imported.into_row(project, now)?;
        let transaction = self.storage.begin().await?;
        if !inserted(&transaction, &conversation).await? {
            conversation.id = new_id(now);
            super::insert(&transaction, conversation.clone()).await?;
        }
        let mut rows = Vec::new();
        let mut bytes = 0;
        for message in messages {
            let ImportedMessage {
                id,
                timestamp,
                message,
            } = message.map_err(Stopped::Unreadable)?;
            // At this level a line is read all the same: a file is good or bad whatever is kept of it.
            if level == LoggingLevel::None {
                continue;
            }
            let timestamp = timestamp.unwrap_or(now);
            count(&mut conversation, &message, timestamp)?;
            bytes += message.bytes();
            let (id, position) = (id.unwrap_or_else(|| new_id(now)), conversation.last_position);
            rows.push(message.into_row(&conversation, position, level, id, timestamp));
            if rows.len() == CHUNK_MESSAGES || bytes >= CHUNK_BYTES {
                message::insert_imported(&transaction, std::mem::take(&mut rows), now).await?;
                bytes = 0;
            }
        }
        message::insert_imported(&transaction, rows, now).await?;
        let totals = conversation::ActiveModel {
            id: Unchanged(conversation.id),
            last_position: Set(conversation.last_position),
            message_count: Set(conversation.message_count),
            message_input_tokens: Set(conversation.message_input_tokens),
            message_output_tokens: Set(conversation.message_output_tokens),
            last_message_at: Set(conversation.last_message_at),
            ..Default::default()
        };
        totals.update(&transaction).await?;
        transaction.commit().await?;
        Ok(conversation)
    }
}

impl ImportedConversation {
    /// A conversation without messages yet.
    fn into_row(self, project: ProjectId, now: DateTime<Utc>) -> Result<conversation::Model> {
        let Self {
            id,
            fields,
            input_tokens,
            output_tokens,
            cost,
            created_at,
            updated_at,
        } = self;
        let mut violations = fields.violations();
        for violation in &mut violations {
            violation.at.insert(1, FIRST_LINE.to_owned());
        }
        let cost = cost.to_columns().ok().filter(|(micros, _)| *micros >= 0);
        if cost.is_none() {
            violations.push(Violation::body(&[FIRST_LINE, "total_cost"], "is out of range"));
        }
        refuse(violations)?;
        let (cost_micros, cost_picos) = cost.unwrap_or_default();
        Ok(conversation::Model {
            usage_input_tokens: input_tokens,
            usage_output_tokens: output_tokens,
            total_cost_micros: cost_micros,
            total_cost_picos: i64::from(cost_picos),
            created_at: created_at.unwrap_or(now),
            // In the future it would hide later changes.
            updated_at: updated_at.map_or(now, |updated_at| updated_at.min(now)),
            ..fields.begin(project, id.unwrap_or_else(|| new_id(now)), now)
        })
    }
}

/// Adds a message to a conversation's totals and gives it the next position.
fn count(
    conversation: &mut conversation::Model,
    message: &NewMessage,
    timestamp: DateTime<Utc>,
) -> Result<()> {
    let tokens = Tokens::of([message]);
    conversation.last_position += 1;
    conversation.message_count += 1;
    for (sum, tokens) in [
        (&mut conversation.message_input_tokens, tokens.input),
        (&mut conversation.message_output_tokens, tokens.output),
    ] {
        *sum = sum
            .checked_add(tokens)
            .ok_or_else(|| Violation::body(&[], "has messages whose tokens are more than can be counted"))?;
    }
    conversation.last_message_at = conversation.last_message_at.max(Some(timestamp));
    Ok(())
}

/// Why an import came to nothing.
enum Stopped<E> {
    /// A line is not what it should be.
    Unreadable(E),
    /// Another import with some of the same ids, in another order, was in the way.
    Deadlock,
    Failed(Error),
}

impl<E> From<Error> for Stopped<E> {
    fn from(error: Error) -> Self {
        match error {
            Error::Database(error) => error.into(),
            error => Self::Failed(error),
        }
    }
}

impl<E> From<Violation> for Stopped<E> {
    fn from(violation: Violation) -> Self {
        Self::Failed(violation.into())
    }
}

impl<E> From<DbErr> for Stopped<E> {
    fn from(error: DbErr) -> Self {
        if has_sqlstate(&error, DEADLOCK) {
            Self::Deadlock
        } else {
            Self::Failed(refusal(error))
        }
    }
}

/// Whether the id was free, and the conversation is stored now.
async fn inserted(
    transaction: &DatabaseTransaction,
    conversation: &conversation::Model,
) -> Result<bool, DbErr> {
    let outcome = conversation::Entity::insert(conversation.clone().into_active_model())
        .on_conflict_do_nothing()
        .exec_without_returning(transaction)
        .await?;
    let inserted = matches!(outcome, TryInsertResult::Inserted(rows) if rows > 0);
    if inserted {
        search::index_title(transaction, conversation).await?;
    }
    Ok(inserted)
}
