//! The tool calls of a conversation's last assistant message: executed side by side, answered with `tool` messages in the calls' order.
//!
//! Each call is executed once, however often or concurrently this is asked for, and answered once.

mod read;

use std::collections::{BTreeSet, HashMap};

use entity::ids::ProjectId;
use entity::message::{self, Role};
use entity::tool_execution::{self, Status};
use entity::{conversation, server, tool};
use futures_util::future::join_all;
use sea_orm::{ColumnTrait, ConnectionTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::executions::{Executions, tool_message};
use super::peer::Failure;
use crate::conversations::{Content, NewMessage, no_conversation};
use crate::error::{Error, Result};

use read::{RequestedCall, answered_ids, calls_of};

/// Between a server's name and a tool's, where two servers have a tool of the same name.
const SEPARATOR: &str = "__";
/// Calls in one message.
const MOST_CALLS: usize = 128;

/// What became of the calls of one message.
#[derive(Clone, Debug)]
pub struct AnsweredCalls {
    /// The message that asked for them.
    pub message: Uuid,
    /// One for each, in the message's order.
    pub calls: Vec<AnsweredCall>,
}

/// What became of one call.
#[derive(Clone, Debug)]
pub struct AnsweredCall {
    /// As in the message, or made from its place there.
    pub tool_call_id: String,
    /// As in the message.
    pub name: String,
    /// What was done.
    pub result: CallResult,
    /// The `tool` message that answers it now; `None` when there was one before or messages are not kept.
    pub answer: Option<Uuid>,
}

/// What was done about one call.
#[derive(Clone, Debug)]
pub enum CallResult {
    /// The execution, by this request or by an earlier one.
    Executed(Box<tool_execution::Model>),
    /// A `tool` message answered it already.
    AnsweredBefore,
    /// It cannot be executed, for this reason, which answers it.
    Refused(String),
    /// It was not executed and is not answered: ask again.
    NotNow(String),
}

type Offered = (tool::Model, server::Model);

impl Executions {
    /// Executes what the last assistant message of a conversation asks for and nobody has answered yet.
    pub async fn answer_tool_calls(&self, project: ProjectId, conversation: Uuid) -> Result<AnsweredCalls> {
        self.conversations().must_track()?;
        self.conversations().one(project, conversation).await?;
        let (asking, answered) = asking_message(self.storage().reader(), project, conversation).await?;
        let calls = calls_of(&asking);
        if calls.len() > MOST_CALLS {
            return Err(Error::Refused(format!(
                "the message asks for {} tool calls; at most {MOST_CALLS} are executed at once",
                calls.len()
            )));
        }
        let offered = self.offered(project, &calls).await?;
        let executing = calls.iter().enumerate().map(|(index, call)| {
            let is_repeated = calls[..index].iter().any(|earlier| earlier.id == call.id);
            let is_answered = answered.contains(&call.id);
            let offered = &offered;
            let asking = &asking;
            async move {
                if is_answered {
                    return CallResult::AnsweredBefore;
                }
                if is_repeated {
                    return CallResult::Refused(format!(
                        "two tool calls of the message have the id {}",
                        call.id
                    ));
                }
                match (&call.arguments, chosen(offered, &call.name)) {
                    (Ok(arguments), Ok(tool)) => {
                        let called = (asking.id, call.id.as_str());
                        self.execute_tool_call(project, tool.clone(), arguments.clone(), conversation, called)
                            .await
                            .map_or_else(not_executed, executed)
                    }
                    (Err(problem), _) => CallResult::Refused(problem.clone()),
                    (_, Err(problem)) => CallResult::Refused(problem),
                }
            }
        });
        let results = join_all(executing).await;
        let calls: Vec<(RequestedCall, CallResult)> = calls.into_iter().zip(results).collect();
        let mut answers = self.answer(project, conversation, &asking, &calls).await?;
        let calls = calls
            .into_iter()
            .map(|(call, result)| AnsweredCall {
                answer: answers.remove(&call.id),
                tool_call_id: call.id,
                name: call.name,
                result,
            })
            .collect();
        Ok(AnsweredCalls {
            message: asking.id,
            calls,
        })
    }

    /// Appends the messages that are missing; returns their ids by tool call.
    async fn answer(
        &self,
        project: ProjectId,
        conversation: Uuid,
        asking: &message::Model,
        calls: &[(RequestedCall, CallResult)],
    ) -> Result<HashMap<String, Uuid>> {
        let transaction = self.storage().begin().await?;
        // The lock makes sure that nobody else answers between this look and the messages.
        conversation::Entity::of(project)
            .filter(conversation::Column::Id.eq(conversation))
            .lock_exclusive()
            .one(&transaction)
            .await?
            .ok_or_else(|| no_conversation(conversation))?;
        let mut answered = answers_to(&transaction, project, asking).await?;
        let mut told = Vec::new();
        let mut messages = Vec::new();
        for (call, result) in calls {
            let message = match result {
                CallResult::Executed(execution) => tool_message(execution, &call.id),
                CallResult::Refused(problem) => refusal(call, problem),
                CallResult::AnsweredBefore | CallResult::NotNow(_) => continue,
            };
            if answered.insert(call.id.clone()) {
                told.push(call.id.clone());
                messages.push(message);
            }
        }
        if messages.is_empty() {
            return Ok(HashMap::new());
        }
        let rows = self
            .conversations()
            .append_in(&transaction, project, conversation, messages)
            .await?;
        transaction.commit().await?;
        Ok(told.into_iter().zip(rows.into_iter().map(|row| row.id)).collect())
    }

    /// The project's active tools that `calls` can mean.
    async fn offered(&self, project: ProjectId, calls: &[RequestedCall]) -> Result<Vec<Offered>> {
        let names: BTreeSet<&str> = calls
            .iter()
            .flat_map(|call| {
                let qualified = call.name.match_indices(SEPARATOR);
                qualified
                    .map(|(at, _)| &call.name[at + SEPARATOR.len()..])
                    .chain([call.name.as_str()])
            })
            .collect();
        let rows = tool::Entity::of(project)
            .filter(tool::Column::IsActive.eq(true))
            .filter(tool::Column::Name.is_in(names))
            .find_also_related(server::Entity)
            .all(self.storage().reader())
            .await?;
        let offered = rows
            .into_iter()
            .filter_map(|(tool, server)| Some((tool, server?)));
        Ok(offered.filter(|(_, server)| server.is_active).collect())
    }
}

/// The last assistant message, and the ids of the tool calls answered since.
async fn asking_message(
    connection: &impl ConnectionTrait,
    project: ProjectId,
    conversation: Uuid,
) -> Result<(message::Model, BTreeSet<String>)> {
    let asking = message::Entity::of(project)
        .filter(message::Column::ConversationId.eq(conversation))
        .filter(message::Column::Role.eq(Role::Assistant))
        .order_by_desc(message::Column::Position)
        .one(connection)
        .await?
        .ok_or_else(|| {
            Error::Refused("the conversation has no assistant message, so nothing asks for a tool".to_owned())
        })?;
    let answered = answers_to(connection, project, &asking).await?;
    Ok((asking, answered))
}

async fn answers_to(
    connection: &impl ConnectionTrait,
    project: ProjectId,
    asking: &message::Model,
) -> Result<BTreeSet<String>> {
    let since = message::Entity::of(project)
        .filter(message::Column::ConversationId.eq(asking.conversation_id))
        .filter(message::Column::Position.gt(asking.position))
        .all(connection)
        .await?;
    Ok(since.iter().flat_map(answered_ids).collect())
}

/// The tool that a name means: a tool's own name when one server alone has it, or `server__tool`.
fn chosen<'a>(offered: &'a [Offered], name: &str) -> Result<&'a Offered, String> {
    let plain: Vec<&Offered> = offered.iter().filter(|(tool, _)| tool.name == name).collect();
    match plain.as_slice() {
        [only] => return Ok(only),
        [] => {}
        several => {
            let names: Vec<String> = several.iter().map(|offered| qualified(offered)).collect();
            return Err(format!(
                "several servers have a tool named {name}: call one of {}",
                names.join(", ")
            ));
        }
    }
    let matching: Vec<&Offered> = offered
        .iter()
        .filter(|(tool, server)| {
            let server_name = name
                .strip_suffix(tool.name.as_str())
                .and_then(|rest| rest.strip_suffix(SEPARATOR));
            server_name.is_some_and(|said| said == server.name || said == callable(&server.name))
        })
        .collect();
    match matching.as_slice() {
        [only] => Ok(only),
        [] => Err(format!("no active tool is named {name}")),
        _ => Err(format!(
            "several servers of the same name have the tool {name}: give them names of their own"
        )),
    }
}

fn qualified((tool, server): &Offered) -> String {
    format!("{}{SEPARATOR}{}", callable(&server.name), tool.name)
}

/// A server's name as models can write it: providers permit letters, digits, `_` and `-` in names of functions.
fn callable(name: &str) -> String {
    let permitted = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
    name.chars()
        .map(|letter| if permitted(letter) { letter } else { '_' })
        .collect()
}

fn executed(execution: tool_execution::Model) -> CallResult {
    if execution.status == Status::Running {
        // By another process, or by one that is gone: its end answers the call, not this look at it.
        CallResult::NotNow("the call is running".to_owned())
    } else {
        CallResult::Executed(Box::new(execution))
    }
}

fn not_executed(error: Error) -> CallResult {
    match error {
        Error::Invalid(_)
        | Error::NotFound { .. }
        | Error::Refused(_)
        | Error::Conflict(_)
        | Error::NotConfigured { .. }
        | Error::Peer(
            Failure::Denied { .. }
            | Failure::Unreachable(_)
            | Failure::Lost(_)
            | Failure::TimedOut(_)
            | Failure::LimitExceeded(_)
            | Failure::Rpc { .. }
            | Failure::Malformed(_),
        ) => CallResult::Refused(error.to_string()),
        Error::Busy { .. } | Error::Peer(Failure::Busy { .. }) => CallResult::NotNow(error.to_string()),
        Error::Unavailable { .. } | Error::Tampered { .. } | Error::Database(_) | Error::Corrupt { .. } => {
            tracing::warn!(?error, "a tool call of a conversation was not executed");
            CallResult::NotNow(error.to_string())
        }
    }
}

fn refusal(call: &RequestedCall, problem: &str) -> NewMessage {
    NewMessage {
        tool_call_id: Some(call.id.clone()),
        metadata: json!({"tool_name": call.name, "status": "refused"}).to_string(),
        ..NewMessage::new(Role::Tool, Some(Content::from_text(problem)))
    }
}

/// Arguments of a call: a JSON object.
type Arguments = Map<String, Value>;
