//! Executing tools: `/api/v1/mcp/tools/{id}/execute` and `/api/v1/mcp/conversations/{id}/tool-calls`.

use poem::Request;
use poem_openapi::param::Path;
use poem_openapi::{Enum, Object, OpenApi};
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use super::wire::ToolExecution;
use crate::api::Tag;
use crate::api::auth::Caller;
use crate::api::body::{Answer, Body};
use crate::api::problem::Problem;
use crate::api::scalar::{AnyJson, JsonObject, Milliseconds};
use crate::api::idempotency;
use crate::app::App;
use crate::error::{Error, Violation};
use crate::mcp::executions::Execute;
use crate::mcp::history::ExecutionReport;
use crate::mcp::tool_calls::{AnsweredCall, AnsweredCalls, CallResult};

pub(crate) struct ExecutionsApi;

#[OpenApi(prefix_path = "/api/v1/mcp", tag = "Tag::Mcp")]
impl ExecutionsApi {
    /// Execute a tool, or report an execution of your own
    ///
    /// The input is checked against the tool's input schema, the call is recorded, sent, and its record answered: whatever the tool did,
    /// `status` says it. With an `Idempotency-Key` at most one execution happens. With `conversation_id` the result joins that
    /// conversation as a `tool` message. When the request is given up, the call is cancelled.
    ///
    /// A body with one of the members `output`, `error` and `duration_ms`, null or not, is a report: it is recorded and nothing is executed.
    #[oai(
        path = "/tools/:tool_id/execute",
        method = "post",
        operation_id = "execute_mcp_tool"
    )]
    async fn execute(
        &self,
        caller: Caller,
        request: &Request,
        /// The tool's id.
        tool_id: Path<Uuid>,
        body: Body<ExecuteRequest>,
    ) -> Result<Answer<ToolExecution>, Problem> {
        let app = App::of(request);
        let executed = match Asked::from_request(tool_id.0, request, body.0)? {
            Asked::Report(report) => app.mcp().record_report(caller.project, tool_id.0, report).await?,
            Asked::Execute(execute) => app.executions().execute(caller.project, tool_id.0, execute).await?,
        };
        Ok(Answer(executed.try_into()?))
    }

    /// Execute the tool calls of a conversation's last assistant message
    ///
    /// Side by side; each is answered with a `tool` message of its own, in the calls' order, failed ones too. A call that was executed or
    /// answered before is not executed again. A tool whose name several servers share is called `server__tool`.
    #[oai(
        path = "/conversations/:conversation_id/tool-calls",
        method = "post",
        operation_id = "execute_tool_calls"
    )]
    async fn tool_calls(
        &self,
        caller: Caller,
        request: &Request,
        /// The conversation's id.
        conversation_id: Path<Uuid>,
    ) -> Result<Answer<ToolCalls>, Problem> {
        let executions = App::of(request).executions();
        let answered = executions
            .answer_tool_calls(caller.project, conversation_id.0)
            .await?;
        Ok(Answer(ToolCalls::new(conversation_id.0, answered)?))
    }
}

/// A call of a tool, or a report of one.
#[derive(Debug, Default, Serialize, Deserialize, Object)]
#[serde(default)]
#[oai(rename = "ExecuteToolRequest")]
pub(super) struct ExecuteRequest {
    /// The arguments; none when absent.
    #[oai(nullable)]
    input: Option<AnyJson>,
    /// A conversation of the caller's that the call and its result join.
    #[oai(nullable)]
    conversation_id: Option<Uuid>,
    /// In a report: the result.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[oai(nullable)]
    output: Option<AnyJson>,
    /// In a report: why there is none.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[oai(nullable)]
    error: Option<AnyJson>,
    /// In a report: how long it took.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[oai(nullable)]
    duration_ms: Option<AnyJson>,
}

/// A member that is there, null or not.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<AnyJson>, D::Error> {
    AnyJson::deserialize(deserializer).map(Some)
}

enum Asked {
    Execute(Execute),
    Report(ExecutionReport),
}

impl Asked {
    fn from_request(tool: Uuid, request: &Request, body: ExecuteRequest) -> Result<Self, Problem> {
        let is_report = body.output.is_some() || body.error.is_some() || body.duration_ms.is_some();
        if is_report {
            return Ok(Self::Report(report(body)?));
        }
        let key = idempotency::key(&format!("execute {tool}"), request, &body)?;
        let ExecuteRequest {
            input,
            conversation_id,
            output: _,
            error: _,
            duration_ms: _,
        } = body;
        let input = input.as_ref().map_or("null", AnyJson::get);
        let input: Option<serde_json::Map<String, serde_json::Value>> = serde_json::from_str(input)
            .map_err(|_| Error::from(Violation::body(&["input"], "must be an object")))?;
        Ok(Self::Execute(Execute {
            input: input.unwrap_or_default(),
            conversation: conversation_id,
            key,
        }))
    }
}

fn report(body: ExecuteRequest) -> Result<ExecutionReport, Error> {
    let ExecuteRequest {
        input,
        conversation_id,
        output,
        error,
        duration_ms,
    } = body;
    let not_null = |value: Option<AnyJson>| value.map(AnyJson::into_text).filter(|text| text != "null");
    let duration_ms: Option<Milliseconds> = duration_ms
        .map(|duration| serde_json::from_str::<Option<Milliseconds>>(duration.get()))
        .transpose()
        .map_err(|error| {
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or_default();
            Violation::body(&["duration_ms"], message)
        })?
        .flatten();
    Ok(ExecutionReport {
        input: not_null(input),
        output: not_null(output),
        // Clients report a text; whatever else they call an error is kept as its JSON text.
        error: error
            .map(|error| error.as_text().unwrap_or_else(|| error.into_text()))
            .filter(|text| text != "null"),
        duration_ms: duration_ms.map(|duration| duration.0),
        conversation: conversation_id,
    })
}

/// What became of the tool calls of one message.
#[derive(Debug, Serialize, Object)]
pub(super) struct ToolCalls {
    /// The conversation.
    conversation_id: Uuid,
    /// Its last assistant message, which asked for them.
    message_id: Uuid,
    /// One for each, in the message's order.
    calls: Vec<ToolCallResult>,
}

/// What became of one tool call.
#[derive(Debug, Serialize, Object)]
pub(super) struct ToolCallResult {
    /// As in the message, or made from its place there.
    tool_call_id: String,
    /// As in the message.
    name: String,
    /// What was done.
    status: ToolCallStatus,
    /// The execution.
    #[oai(nullable)]
    execution: Option<ToolExecution>,
    /// Why there is none.
    #[oai(nullable)]
    error: Option<String>,
    /// The `tool` message that answers it since this request.
    #[oai(nullable)]
    message_id: Option<Uuid>,
}

/// What was done about a tool call.
#[derive(Debug, Serialize, Enum)]
#[serde(rename_all = "snake_case")]
#[oai(rename_all = "snake_case")]
enum ToolCallStatus {
    /// It was executed, now or by an earlier request; the execution's own status says how that ended.
    Executed,
    /// A `tool` message had answered it already.
    Answered,
    /// It cannot be executed; the error answers it.
    Refused,
    /// It was not executed and is not answered: ask again.
    NotNow,
}

impl ToolCalls {
    fn new(conversation_id: Uuid, answered: AnsweredCalls) -> Result<Self, Error> {
        let AnsweredCalls { message, calls } = answered;
        let calls = calls.into_iter().map(ToolCallResult::try_from);
        Ok(Self {
            conversation_id,
            message_id: message,
            calls: calls.collect::<Result<_, _>>()?,
        })
    }
}

impl TryFrom<AnsweredCall> for ToolCallResult {
    type Error = Error;

    fn try_from(call: AnsweredCall) -> Result<Self, Error> {
        let AnsweredCall {
            tool_call_id,
            name,
            result,
            answer,
        } = call;
        let (status, execution, error) = match result {
            CallResult::Executed(execution) => {
                (ToolCallStatus::Executed, Some((*execution).try_into()?), None)
            }
            CallResult::AnsweredBefore => (ToolCallStatus::Answered, None, None),
            CallResult::Refused(problem) => (ToolCallStatus::Refused, None, Some(problem)),
            CallResult::NotNow(problem) => (ToolCallStatus::NotNow, None, Some(problem)),
        };
        Ok(Self {
            tool_call_id,
            name,
            status,
            execution,
            error,
            message_id: answer,
        })
    }
}
