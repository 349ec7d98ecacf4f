//! Executions: checked, recorded before they start, really executed, recorded again when they end.
//!
//! A call is never sent twice. What runs is kept alive in the database by a heartbeat; an execution whose process is gone ends as
//! `outcome_unknown`.

mod outcome;
mod running;

use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use entity::ids::ProjectId;
use entity::message::Role;
use entity::tool_execution::{self, Column, Entity, Status};
use entity::{server, tool};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{ActiveEnum, ColumnTrait, DatabaseTransaction, EntityTrait, IntoActiveModel, QueryFilter};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::Mcp;
use super::peer::{Failure, ToolCall};
use super::schema::{Schemas, Uncheckable};
use crate::clock::{Clock, new_id};
use crate::config::Config;
use crate::conversations::{Content, Conversations, NewMessage};
use crate::error::{Error, Result, Violation};
use crate::storage::Storage;
use crate::usage::IdempotencyKey;

pub use outcome::Outcome;
use running::Running;

/// When to ask again after a refusal for want of room.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Attempts to record an end, a doubling pause between them: about half a minute.
const ATTEMPTS_TO_RECORD: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Executes tools. Clones are handles to the same executions.
#[derive(Clone, Debug)]
pub struct Executions(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    mcp: Mcp,
    conversations: Conversations,
    storage: Storage,
    clock: Clock,
    schemas: Schemas,
    timeout: Duration,
    running: Running,
    tasks: TaskTracker,
}

/// A call that a caller asks for.
#[derive(Clone, Debug, Default)]
pub struct Execute {
    /// The arguments.
    pub input: Map<String, Value>,
    /// The conversation that the call and its result join.
    pub conversation: Option<Uuid>,
    /// At most one execution happens under it.
    pub key: Option<IdempotencyKey>,
}

/// What tells one call of a tool from another, for at most one execution each.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    key: String,
    request_hash: Vec<u8>,
}

impl Identity {
    /// A caller's key. The prefix keeps keys of callers and of [conversations](Identity::of_tool_call) apart.
    fn of_key(key: IdempotencyKey) -> Self {
        Self {
            key: format!("key:{}", key.key),
            request_hash: key.request_sha256.to_vec(),
        }
    }

    /// A tool call in a message. Its id may be of any length, an index entry may not.
    pub(super) fn of_tool_call(message: Uuid, tool_call: &str) -> Self {
        Self {
            key: format!("call:{message}:{}", hex::encode(Sha256::digest(tool_call))),
            request_hash: Vec::new(),
        }
    }
}

/// Whom a finished call tells: the conversation, once its record is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tells {
    /// A `tool` message of its own.
    Conversation,
    /// Nobody: whoever asked does it.
    Nobody,
}

/// A call, ready to be recorded and sent.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) tool: tool::Model,
    server: server::Model,
    input: Map<String, Value>,
    conversation: Option<Uuid>,
    tool_call_id: Option<String>,
    identity: Option<Identity>,
    tells: Tells,
}

impl Executions {
    /// Executions over `sessions`; watches for those whose process is gone. Needs a tokio runtime.
    pub(crate) fn start(
        mcp: Mcp,
        conversations: Conversations,
        storage: Storage,
        clock: Clock,
        config: &Config,
    ) -> Self {
        let calls_of_a_server = config.mcp.max_calls + config.mcp.call_queue;
        let running = Running::start(storage.clone(), clock.clone(), calls_of_a_server);
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self(Arc::new(Parts {
            mcp,
            conversations,
            storage,
            clock,
            schemas: Schemas::new(threads, config.execution.schema_timeout),
            timeout: config.execution.timeout,
            running,
            tasks: TaskTracker::new(),
        }))
    }

    /// Executes a tool and returns the record of it, whatever the tool did. A repetition under the same key returns the first
    /// execution's record and executes nothing.
    ///
    /// Dropping the future cancels the call at its server; the record then says so.
    ///
    /// # Errors
    ///
    /// Before anything is recorded: [`Error::NotFound`] for tool and conversation, [`Error::Invalid`] with the paths that do not fit the
    /// tool's schema, [`Error::Busy`] when there is no room, [`Error::Conflict`] for another request under the same key.
    pub async fn execute(
        &self,
        project: ProjectId,
        tool: Uuid,
        request: Execute,
    ) -> Result<tool_execution::Model> {
        let Execute {
            input,
            conversation,
            key,
        } = request;
        let (tool, server) = self.0.mcp.tool(project, tool).await?;
        let prepared = Prepared {
            tool,
            server,
            input,
            conversation,
            tool_call_id: None,
            identity: key.map(Identity::of_key),
            tells: Tells::Conversation,
        };
        self.run(project, prepared).await
    }

    /// As [`execute`](Self::execute), for a call of a conversation's that is answered by its caller.
    pub(super) async fn execute_tool_call(
        &self,
        project: ProjectId,
        (tool, server): (tool::Model, server::Model),
        input: Map<String, Value>,
        conversation: Uuid,
        (message, tool_call_id): (Uuid, &str),
    ) -> Result<tool_execution::Model> {
        let prepared = Prepared {
            tool,
            server,
            input,
            conversation: Some(conversation),
            tool_call_id: Some(tool_call_id.to_owned()),
            identity: Some(Identity::of_tool_call(message, tool_call_id)),
            tells: Tells::Nobody,
        };
        self.run(project, prepared).await
    }

    async fn run(&self, project: ProjectId, prepared: Prepared) -> Result<tool_execution::Model> {
        if let Some(identity) = &prepared.identity
            && let Some(earlier) = self.earlier(project, prepared.tool.id, identity).await?
        {
            return Ok(earlier);
        }
        if let Some(id) = prepared.conversation {
            self.0.conversations.must_track()?;
            self.0.conversations.one(project, id).await?;
        }
        if !prepared.tool.is_active || !prepared.server.is_active {
            let what = if prepared.tool.is_active { "server" } else { "tool" };
            return Err(Error::Conflict(format!("the {what} is not active")));
        }
        self.check_input(&prepared).await?;
        // Room first: what finds none leaves no record.
        let room = self.0.running.room(prepared.server.id)?;

        let now = self.0.clock.now();
        let record = tool_execution::Model {
            id: new_id(now),
            project_id: project,
            tool_id: prepared.tool.id,
            tool_name: prepared.tool.name.clone(),
            server_id: prepared.server.id,
            conversation_id: prepared.conversation,
            tool_call_id: prepared.tool_call_id.clone(),
            input: Value::Object(prepared.input.clone()).to_string(),
            output: None,
            progress: None,
            error: None,
            status: Status::Running,
            duration_ms: None,
            executed_at: now,
            ended_at: None,
            idempotency_key: prepared.identity.as_ref().map(|identity| identity.key.clone()),
            request_hash: prepared
                .identity
                .as_ref()
                .map(|identity| identity.request_hash.clone()),
            owner: Some(self.0.running.process()),
            heartbeat_at: Some(now),
        };
        // Known as running before it can be found, so that whoever finds it can wait for its end.
        let entry = self.0.running.enter(record.id, room);
        if !self.insert(&record).await? {
            drop(entry);
            return match &prepared.identity {
                Some(identity) => self
                    .earlier(project, prepared.tool.id, identity)
                    .await?
                    .ok_or_else(another_moment),
                None => Err(another_moment()),
            };
        }

        let cancel = CancellationToken::new();
        let gone = cancel.clone().drop_guard();
        let executions = self.clone();
        // A task of its own: its end is recorded although nobody waits for it any more.
        let task = self.0.tasks.spawn(async move {
            let ended = executions.call(&prepared, &entry, cancel).await;
            let recorded = match ended {
                Ended::With(outcome) => executions.complete(&prepared, record, outcome, &entry).await,
                Ended::NoRoom(busy) => executions.withdraw(&record).await.and(Err(busy)),
            };
            drop(entry);
            recorded
        });
        let recorded = task.await.unwrap_or_else(|_| Err(another_moment()));
        drop(gone);
        recorded
    }

    /// The execution that happened under this identity already; waits for its end when it runs in this process.
    async fn earlier(
        &self,
        project: ProjectId,
        tool: Uuid,
        identity: &Identity,
    ) -> Result<Option<tool_execution::Model>> {
        let find = || {
            Entity::of(project)
                .filter(Column::ToolId.eq(tool))
                .filter(Column::IdempotencyKey.eq(&identity.key))
                .one(self.0.storage.reader())
        };
        let Some(found) = find().await? else {
            return Ok(None);
        };
        if found.request_hash.as_deref() != Some(identity.request_hash.as_slice()) {
            return Err(Error::Conflict(
                "this Idempotency-Key was used for another request".to_owned(),
            ));
        }
        if found.status != Status::Running {
            return Ok(Some(found));
        }
        self.0.running.end_of(found.id).await;
        Ok(find().await?)
    }

    async fn check_input(&self, prepared: &Prepared) -> Result<()> {
        let input = Value::Object(prepared.input.clone());
        let misfits = self.0.schemas.misfits(&prepared.tool.input_schema, input).await;
        let violations = match misfits {
            Ok(misfits) => misfits
                .into_iter()
                .map(|misfit| {
                    let path: Vec<&str> = misfit.path.iter().map(String::as_str).collect();
                    Violation::body(&[&["input"], path.as_slice()].concat(), misfit.message)
                })
                .collect(),
            Err(Uncheckable::TimedOut(_)) => {
                return Err(Error::Peer(Failure::Busy {
                    what: "the check of tool arguments",
                    retry_after: RETRY_AFTER,
                }));
            }
            Err(uncheckable @ (Uncheckable::Schema(_) | Uncheckable::Effort)) => vec![Violation::body(
                &["input"],
                format!("cannot be checked, so nothing was sent: the tool's input_schema {uncheckable}"),
            )],
        };
        if violations.is_empty() {
            Ok(())
        } else {
            Err(Error::Invalid(violations))
        }
    }

    /// Whether the record is new: `false` when its identity is taken.
    async fn insert(&self, record: &tool_execution::Model) -> Result<bool> {
        let inserted = Entity::insert(record.clone().into_active_model())
            .on_conflict(
                OnConflict::columns([Column::ProjectId, Column::ToolId, Column::IdempotencyKey])
                    .do_nothing()
                    .to_owned(),
            )
            .exec_without_returning(self.0.storage.writer())
            .await?;
        Ok(inserted > 0)
    }

    async fn call(&self, prepared: &Prepared, entry: &running::Entry, cancel: CancellationToken) -> Ended {
        if !self.0.mcp.is_approved(&prepared.tool) {
            return Ended::With(Outcome::denied(format!(
                "the tool's definition changed since it was approved: look at its versions and approve it (POST /api/v1/mcp/tools/{}/approve), \
                 or ask the operator, who decides with LLMRING_MCP_PIN_TOOLS",
                prepared.tool.id
            )));
        }
        let peer = match self.0.mcp.peer(&prepared.server) {
            Ok(peer) => peer,
            Err(failure) => return Ended::With(failure.into()),
        };
        let call = ToolCall {
            name: prepared.tool.name.clone(),
            arguments: prepared.input.clone(),
            input_schema: serde_json::from_str(&prepared.tool.input_schema).ok(),
            timeout: self.0.timeout,
        };
        let result = tokio::select! {
            result = self.0.mcp.sessions.call_tool(&peer, call, |progress| entry.note(progress)) => result,
            () = cancel.cancelled() => return Ended::With(Outcome::cancelled()),
        };
        match result {
            Ok(result) => Ended::With(self.judge(&prepared.tool, result).await),
            Err(busy @ Failure::Busy { .. }) => Ended::NoRoom(busy.into()),
            Err(failure) => Ended::With(failure.into()),
        }
    }

    /// What a result says of itself, and whether it is what the tool promises.
    async fn judge(&self, tool: &tool::Model, result: Value) -> Outcome {
        let outcome = Outcome::of_result(result);
        let Some(schema) = tool.output_schema.as_deref().filter(|_| outcome.succeeded()) else {
            return outcome;
        };
        let Some(structured) = outcome.structured_content() else {
            return outcome
                .broken_promise("the result has no structuredContent, which output_schema promises");
        };
        match self.0.schemas.misfits(schema, structured.clone()).await {
            // The call succeeded; that nobody had the time to look is not its fault.
            Err(Uncheckable::TimedOut(_)) => outcome,
            Ok(misfits) => match misfits.first() {
                None => outcome,
                Some(misfit) => {
                    let problem = format!(
                        "structuredContent does not fit output_schema at /{}: {}",
                        misfit.path.join("/"),
                        misfit.message
                    );
                    outcome.broken_promise(&problem)
                }
            },
            Err(uncheckable) => outcome.broken_promise(&format!("the tool's output_schema {uncheckable}")),
        }
    }

    /// Takes a record back that nothing was done for.
    async fn withdraw(&self, record: &tool_execution::Model) -> Result<()> {
        Entity::delete_by_id(record.id)
            .exec(self.0.storage.writer())
            .await?;
        Ok(())
    }

    /// Records an end and tells the conversation, in one transaction; tries again for a while when the database is away.
    async fn complete(
        &self,
        prepared: &Prepared,
        record: tool_execution::Model,
        outcome: Outcome,
        entry: &running::Entry,
    ) -> Result<tool_execution::Model> {
        let ended_at = self.0.clock.now();
        let Outcome {
            status,
            output,
            error,
        } = outcome;
        let complete = tool_execution::Model {
            output: output.map(|output| output.to_string()),
            progress: entry.progress(),
            error,
            status,
            duration_ms: Some((ended_at - record.executed_at).num_milliseconds().max(0)),
            ended_at: Some(ended_at),
            heartbeat_at: None,
            ..record
        };
        let mut pause = FIRST_PAUSE;
        for _ in 1..ATTEMPTS_TO_RECORD {
            match self.record_end(prepared, &complete).await {
                Err(Error::Unavailable { source, .. }) => {
                    tracing::warn!(execution = %complete.id, error = ?source, "the end of an execution cannot be recorded yet");
                }
                Ok(()) => return Ok(complete),
                Err(error) => return Err(error),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        self.record_end(prepared, &complete).await?;
        Ok(complete)
    }

    async fn record_end(&self, prepared: &Prepared, complete: &tool_execution::Model) -> Result<()> {
        let transaction = self.0.storage.begin().await?;
        let record = complete.clone();
        let updated = Entity::update_many()
            .col_expr(Column::Output, Expr::value(record.output))
            .col_expr(Column::Progress, Expr::value(record.progress))
            .col_expr(Column::Error, Expr::value(record.error))
            .col_expr(Column::Status, Expr::value(record.status))
            .col_expr(Column::DurationMs, Expr::value(record.duration_ms))
            .col_expr(Column::EndedAt, Expr::value(record.ended_at))
            .col_expr(Column::HeartbeatAt, Expr::value(record.heartbeat_at))
            .filter(Column::Id.eq(record.id))
            .filter(Column::Status.is_in([Status::Running, Status::OutcomeUnknown]))
            .exec(&transaction)
            .await?;
        // Nothing to update: an earlier attempt was committed although its confirmation was lost.
        if updated.rows_affected > 0
            && let (Some(conversation), Tells::Conversation) = (complete.conversation_id, prepared.tells)
        {
            let message = tool_message(complete, &complete.id.to_string());
            self.tell(&transaction, complete.project_id, conversation, vec![message])
                .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Adds messages to a conversation, if it is still there.
    async fn tell(
        &self,
        transaction: &DatabaseTransaction,
        project: ProjectId,
        conversation: Uuid,
        messages: Vec<NewMessage>,
    ) -> Result<()> {
        let conversations = &self.0.conversations;
        match conversations
            .append_in(transaction, project, conversation, messages)
            .await
        {
            Ok(_) => Ok(()),
            Err(Error::NotFound { .. }) => {
                tracing::info!(%conversation, "a conversation was deleted while a tool of it ran");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn storage(&self) -> &Storage {
        &self.0.storage
    }

    pub(super) fn conversations(&self) -> &Conversations {
        &self.0.conversations
    }

    /// Waits for what runs, after the last request has gone.
    pub(crate) async fn shutdown(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
        self.0.running.shutdown();
    }
}

/// What became of a call.
enum Ended {
    With(Outcome),
    /// Nothing was sent.
    NoRoom(Error),
}

/// The message that tells a conversation how a call ended.
pub(super) fn tool_message(execution: &tool_execution::Model, tool_call_id: &str) -> NewMessage {
    let output: Option<Value> = execution
        .output
        .as_deref()
        .and_then(|output| serde_json::from_str(output).ok());
    let text = match (&execution.error, &output) {
        (Some(error), _) => error.clone(),
        (None, Some(output)) => outcome::text_of(output),
        (None, None) => String::new(),
    };
    NewMessage {
        tool_call_id: Some(tool_call_id.to_owned()),
        tool_results: output.map(|output| output.to_string()),
        metadata: json!({
            "tool_name": execution.tool_name,
            "tool_id": execution.tool_id,
            "execution_id": execution.id,
            "status": execution.status.to_value(),
        })
        .to_string(),
        ..NewMessage::new(Role::Tool, Some(Content::from_text(&text)))
    }
}

fn another_moment() -> Error {
    Error::Unavailable {
        what: "the execution",
        source: None,
    }
}
