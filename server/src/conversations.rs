//! Conversations: what was said, in order, with running totals.
//!
//! Whatever adds to a conversation first updates its row, which locks it: positions and totals are exact however many add at once.

mod log;
mod message;
mod query;
mod reading;
mod retention;
mod search;
mod transfer;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use entity::ids::ProjectId;
use entity::{conversation, message as stored_message, usage_log};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ColumnTrait, DatabaseTransaction, EntityTrait, IntoActiveModel, QueryFilter, UpdateMany, Value,
};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::clock::{Clock, new_id};
use crate::config::{ConversationsConfig, LoggingLevel};
use crate::error::{Error, Result, Violation, refuse};
use crate::receipts::Receipts;
use crate::storage::Storage;
use crate::usage::{MAX_TEXT_CHARS, Usage, refusal};
use message::Tokens;

pub use log::{Logged, LoggedCall};
pub use message::{Content, NewMessage};
pub use transfer::{ImportedConversation, ImportedMessage};

/// Most messages added by one request; a logged conversation may have more.
pub const MAX_BATCH: usize = 1000;
/// Longest title, in characters.
pub const MAX_TITLE_CHARS: usize = 500;
/// Highest temperature.
pub const MAX_TEMPERATURE: f64 = 2.0;
/// The alias of a conversation that names none.
const DEFAULT_ALIAS: &str = "default";
/// The temperature of a conversation or template that has none.
pub(crate) const DEFAULT_TEMPERATURE: f64 = 0.7;

/// The conversations of all projects.
#[derive(Clone, Debug)]
pub struct Conversations {
    storage: Storage,
    clock: Clock,
    usage: Usage,
    receipts: Receipts,
    config: ConversationsConfig,
    retention: Option<Arc<JoinHandle<()>>>,
}

/// What a caller says of a conversation. What is absent has its default when one is begun, and stays when one is changed.
#[derive(Clone, Debug, Default)]
pub struct ConversationFields {
    /// At most [`MAX_TITLE_CHARS`] characters.
    pub title: Option<String>,
    /// What the model is told first.
    pub system_prompt: Option<String>,
    /// Which model answers.
    pub model_alias: Option<String>,
    /// 0 to [`MAX_TEMPERATURE`].
    pub temperature: Option<f64>,
    /// Above 0.
    pub max_tokens: Option<i64>,
    /// The caller's own `project_id`.
    pub project_id: Option<String>,
}

impl ConversationFields {
    pub(crate) fn violations(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        check_length(&mut found, "title", self.title.as_deref(), MAX_TITLE_CHARS);
        check_length(
            &mut found,
            "model_alias",
            self.model_alias.as_deref(),
            MAX_TEXT_CHARS,
        );
        check_length(
            &mut found,
            "project_id",
            self.project_id.as_deref(),
            MAX_TEXT_CHARS,
        );
        check_sampling(&mut found, self.temperature, self.max_tokens);
        found
    }

    /// A conversation without messages.
    fn begin(self, project_id: ProjectId, id: Uuid, now: DateTime<Utc>) -> conversation::Model {
        let Self {
            title,
            system_prompt,
            model_alias,
            temperature,
            max_tokens,
            project_id: caller_project_id,
        } = self;
        conversation::Model {
            id,
            project_id,
            title,
            system_prompt,
            model_alias: model_alias.unwrap_or_else(|| DEFAULT_ALIAS.to_owned()),
            temperature: temperature.unwrap_or(DEFAULT_TEMPERATURE),
            max_tokens,
            caller_project_id,
            last_position: 0,
            message_count: 0,
            message_input_tokens: 0,
            message_output_tokens: 0,
            usage_input_tokens: 0,
            usage_output_tokens: 0,
            total_cost_micros: 0,
            total_cost_picos: 0,
            created_at: now,
            updated_at: now,
            last_message_at: None,
        }
    }
}

/// The rule for texts: no longer than so many characters.
pub(crate) fn check_length(found: &mut Vec<Violation>, member: &str, text: Option<&str>, most: usize) {
    if text.is_some_and(|text| text.chars().count() > most) {
        found.push(Violation::body(
            &[member],
            format!("must not be longer than {most} characters"),
        ));
    }
}

/// The rules for `temperature` and `max_tokens`.
pub(crate) fn check_sampling(found: &mut Vec<Violation>, temperature: Option<f64>, max_tokens: Option<i64>) {
    if temperature.is_some_and(|temperature| !(0.0..=MAX_TEMPERATURE).contains(&temperature)) {
        found.push(Violation::body(
            &["temperature"],
            format!("must be from 0 to {MAX_TEMPERATURE}"),
        ));
    }
    if max_tokens.is_some_and(|tokens| tokens <= 0) {
        found.push(Violation::body(&["max_tokens"], "must be above 0"));
    }
}

/// Sets the columns that there is a value for.
pub(crate) fn set_present<E: EntityTrait>(
    update: UpdateMany<E>,
    values: impl IntoIterator<Item = (E::Column, Option<Value>)>,
) -> UpdateMany<E> {
    values
        .into_iter()
        .filter_map(|(column, value)| Some((column, value?)))
        .fold(update, |update, (column, value)| {
            update.col_expr(column, Expr::value(value))
        })
}

fn no_conversation(id: impl ToString) -> Error {
    Error::NotFound {
        what: "conversation",
        id: id.to_string(),
    }
}

impl Conversations {
    /// Starts automatic retention, where it is switched on, on the current tokio runtime.
    pub fn start(
        storage: Storage,
        clock: Clock,
        usage: Usage,
        receipts: Receipts,
        config: &ConversationsConfig,
    ) -> Self {
        let retention = config.automatic_retention.then(|| {
            let task = retention::delete_for_ever(storage.clone(), clock.clone(), config.retention_days);
            Arc::new(tokio::spawn(task))
        });
        Self {
            storage,
            clock,
            usage,
            receipts,
            config: config.clone(),
            retention,
        }
    }

    /// Stops automatic retention.
    pub fn shutdown(&self) {
        if let Some(retention) = &self.retention {
            retention.abort();
        }
    }

    /// [`Error::Refused`] unless conversations are recorded.
    pub(crate) fn must_track(&self) -> Result<()> {
        if self.config.tracking {
            Ok(())
        } else {
            Err(Error::Refused(
                "conversations are not recorded here (LLMRING_ENABLE_CONVERSATION_TRACKING is false)"
                    .to_owned(),
            ))
        }
    }

    /// The stricter of the server's level and the one asked for.
    fn level(&self, asked: Option<LoggingLevel>) -> LoggingLevel {
        self.config.logging_level.min(asked.unwrap_or(LoggingLevel::Full))
    }

    /// Begins a conversation.
    pub async fn create(
        &self,
        project: ProjectId,
        fields: ConversationFields,
    ) -> Result<conversation::Model> {
        refuse(fields.violations())?;
        let transaction = self.storage.begin().await?;
        let begun = self.create_in(&transaction, project, fields).await?;
        transaction.commit().await?;
        Ok(begun)
    }

    /// Begins a conversation in a transaction that does other things too. The fields are checked already.
    pub(crate) async fn create_in(
        &self,
        transaction: &DatabaseTransaction,
        project: ProjectId,
        fields: ConversationFields,
    ) -> Result<conversation::Model> {
        self.must_track()?;
        let now = self.clock.now();
        let begun = fields.begin(project, new_id(now), now);
        insert(transaction, begun.clone()).await?;
        Ok(begun)
    }

    /// Changes the fields that are present.
    pub async fn change(
        &self,
        project: ProjectId,
        id: Uuid,
        fields: ConversationFields,
    ) -> Result<conversation::Model> {
        use conversation::Column;
        refuse(fields.violations())?;
        let ConversationFields {
            title,
            system_prompt,
            model_alias,
            temperature,
            max_tokens,
            project_id,
        } = fields;
        let retitled = title.is_some();
        let update = of(project, id).col_expr(Column::UpdatedAt, conversation::updated(self.clock.now()));
        let update = set_present(
            update,
            [
                (Column::Title, title.map(Value::from)),
                (Column::SystemPrompt, system_prompt.map(Value::from)),
                (Column::ModelAlias, model_alias.map(Value::from)),
                (Column::Temperature, temperature.map(Value::from)),
                (Column::MaxTokens, max_tokens.map(Value::from)),
                (Column::CallerProjectId, project_id.map(Value::from)),
            ],
        );
        let transaction = self.storage.begin().await?;
        let changed = update.exec_with_returning(&transaction).await?;
        let changed = changed.into_iter().next().ok_or_else(|| no_conversation(id))?;
        if retitled {
            search::index_title(&transaction, &changed).await?;
        }
        transaction.commit().await?;
        Ok(changed)
    }

    /// Removes a conversation with its messages. Usage rows stay.
    pub async fn delete(&self, project: ProjectId, id: Uuid) -> Result<()> {
        let deleted = conversation::Entity::delete_many()
            .filter(conversation::Column::ProjectId.eq(project))
            .filter(conversation::Column::Id.eq(id))
            .exec(self.storage.writer())
            .await?;
        if deleted.rows_affected == 0 {
            return Err(no_conversation(id));
        }
        Ok(())
    }

    /// Adds messages, all or none, and returns what is stored of them: nothing at [`LoggingLevel::None`].
    pub async fn add(
        &self,
        project: ProjectId,
        id: Uuid,
        messages: Vec<NewMessage>,
        level: Option<LoggingLevel>,
    ) -> Result<Vec<stored_message::Model>> {
        if messages.is_empty() || messages.len() > MAX_BATCH {
            let message = format!("must have 1 to {MAX_BATCH} entries, has {}", messages.len());
            return Err(Violation::body(&["messages"], message).into());
        }
        let violations = messages.iter().enumerate().flat_map(|(index, message)| {
            let index = index.to_string();
            message
                .violations()
                .into_iter()
                .map(move |(member, text)| Violation::body(&["messages", &index, member], text))
        });
        refuse(violations.collect())?;
        self.append(project, id, messages, level).await
    }

    /// Adds one message. At [`LoggingLevel::None`] it is checked and not stored.
    pub async fn add_one(&self, project: ProjectId, id: Uuid, message: NewMessage) -> Result<AddedMessage> {
        let violations = message.violations().into_iter();
        refuse(
            violations
                .map(|(member, text)| Violation::body(&[member], text))
                .collect(),
        )?;
        if self.level(None) == LoggingLevel::None {
            self.must_track()?;
            let conversation = self.one(project, id).await?;
            let now = self.clock.now();
            let row = message.into_row(&conversation, 0, LoggingLevel::Metadata, new_id(now), now);
            return Ok(AddedMessage::NotKept(row));
        }
        let mut stored = self.append(project, id, vec![message], None).await?;
        stored
            .pop()
            .map(AddedMessage::Stored)
            .ok_or_else(|| no_conversation(id))
    }

    async fn append(
        &self,
        project: ProjectId,
        id: Uuid,
        messages: Vec<NewMessage>,
        level: Option<LoggingLevel>,
    ) -> Result<Vec<stored_message::Model>> {
        self.must_track()?;
        let level = self.level(level);
        if level == LoggingLevel::None {
            self.one(project, id).await?;
            return Ok(Vec::new());
        }
        let transaction = self.storage.begin().await?;
        let rows = self.append_at(level, &transaction, project, id, messages).await?;
        transaction.commit().await?;
        Ok(rows)
    }

    /// Adds messages that the server itself made, as far as the server's level keeps them, in a transaction of the caller's.
    pub(crate) async fn append_in(
        &self,
        transaction: &DatabaseTransaction,
        project: ProjectId,
        id: Uuid,
        messages: Vec<NewMessage>,
    ) -> Result<Vec<stored_message::Model>> {
        match self.level(None) {
            LoggingLevel::None => Ok(Vec::new()),
            level => self.append_at(level, transaction, project, id, messages).await,
        }
    }

    async fn append_at(
        &self,
        level: LoggingLevel,
        transaction: &DatabaseTransaction,
        project: ProjectId,
        id: Uuid,
        messages: Vec<NewMessage>,
    ) -> Result<Vec<stored_message::Model>> {
        let now = self.clock.now();
        let added = Added {
            messages: messages.len(),
            tokens: Tokens::of(&messages),
            call: None,
        };
        let conversation = grow(transaction, project, id, &added, now).await?;
        let rows = message::rows(&conversation, messages, level, now);
        message::insert(transaction, &rows).await?;
        Ok(rows)
    }
}

/// What became of one message.
#[derive(Clone, Debug)]
pub enum AddedMessage {
    /// This is in the database.
    Stored(stored_message::Model),
    /// This is what would be, if messages were kept; its id names nothing.
    NotKept(stored_message::Model),
}

/// What is added to a conversation at once.
struct Added<'a> {
    messages: usize,
    tokens: Tokens,
    call: Option<&'a usage_log::Model>,
}

impl Added<'_> {
    fn message_count(&self) -> i64 {
        i64::try_from(self.messages).unwrap_or(i64::MAX)
    }

    /// Each total, and what is added to it.
    fn sums(&self) -> [(conversation::Column, i64); 8] {
        use conversation::Column;
        let call = |of: fn(&usage_log::Model) -> i64| self.call.map_or(0, of);
        [
            (Column::LastPosition, self.message_count()),
            (Column::MessageCount, self.message_count()),
            (Column::MessageInputTokens, self.tokens.input),
            (Column::MessageOutputTokens, self.tokens.output),
            (Column::UsageInputTokens, call(|row| row.input_tokens)),
            (Column::UsageOutputTokens, call(|row| row.output_tokens)),
            (Column::TotalCostMicros, call(|row| row.cost_micros.unwrap_or(0))),
            (
                Column::TotalCostPicos,
                call(|row| i64::from(row.cost_picos.unwrap_or(0))),
            ),
        ]
    }
}

/// Updates a conversation for what is about to be added, and so locks it until the transaction ends. Returns it as it is then.
async fn grow(
    transaction: &DatabaseTransaction,
    project: ProjectId,
    id: Uuid,
    added: &Added<'_>,
    now: DateTime<Utc>,
) -> Result<conversation::Model> {
    use conversation::Column;
    let mut update = of(project, id).col_expr(Column::UpdatedAt, conversation::updated(now));
    for (column, sum) in added.sums() {
        if sum != 0 {
            update = update.col_expr(column, Expr::col(column).add(sum));
        }
    }
    if added.messages > 0 {
        update = update.col_expr(Column::LastMessageAt, Expr::value(now));
    }
    let grown = update.exec_with_returning(transaction).await.map_err(refusal)?;
    grown.into_iter().next().ok_or_else(|| no_conversation(id))
}

/// An update of one conversation of the project.
fn of(project: ProjectId, id: Uuid) -> UpdateMany<conversation::Entity> {
    conversation::Entity::update_many()
        .filter(conversation::Column::ProjectId.eq(project))
        .filter(conversation::Column::Id.eq(id))
}

async fn insert(transaction: &DatabaseTransaction, begun: conversation::Model) -> Result<()> {
    conversation::Entity::insert(begun.clone().into_active_model())
        .exec_without_returning(transaction)
        .await
        .map_err(refusal)?;
    Ok(search::index_title(transaction, &begun).await?)
}
