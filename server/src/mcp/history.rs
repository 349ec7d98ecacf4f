//! Executions that happened: what clients report of their own, and the history of a tool.

use entity::ids::ProjectId;
use entity::tool_execution::{self, Column, Entity, Status};
use entity::{conversation, tool};
use sea_orm::{ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::Mcp;
use crate::clock::new_id;
use crate::error::{Error, Result};
use crate::usage::Page;

/// What a client says of an execution of its own.
#[derive(Clone, Debug, Default)]
pub struct ExecutionReport {
    /// JSON text; an empty object when absent.
    pub input: Option<String>,
    /// JSON text.
    pub output: Option<String>,
    /// Why there is no output.
    pub error: Option<String>,
    /// Milliseconds, not negative.
    pub duration_ms: Option<i64>,
    /// A conversation of the caller's.
    pub conversation: Option<Uuid>,
}

impl Mcp {
    /// Records a client's own execution. Nothing is executed, and nothing is checked against the tool's schema.
    pub async fn record_report(
        &self,
        project_id: ProjectId,
        tool_id: Uuid,
        report: ExecutionReport,
    ) -> Result<tool_execution::Model> {
        let ExecutionReport {
            input,
            output,
            error,
            duration_ms,
            conversation,
        } = report;
        let (tool, _) = self.tool(project_id, tool_id).await?;
        if let Some(id) = conversation {
            conversation::Entity::of(project_id)
                .filter(conversation::Column::Id.eq(id))
                .one(self.storage.reader())
                .await?
                .ok_or_else(|| Error::NotFound {
                    what: "conversation",
                    id: id.to_string(),
                })?;
        }
        let now = self.clock.now();
        let record = tool_execution::Model {
            id: new_id(now),
            project_id,
            tool_id,
            tool_name: tool.name,
            server_id: tool.server_id,
            conversation_id: conversation,
            tool_call_id: None,
            input: input.unwrap_or_else(|| "{}".to_owned()),
            output,
            progress: None,
            error,
            status: Status::Recorded,
            duration_ms,
            executed_at: now,
            ended_at: Some(now),
            idempotency_key: None,
            request_hash: None,
            owner: None,
            heartbeat_at: None,
        };
        Entity::insert(record.clone().into_active_model())
            .exec_without_returning(self.storage.writer())
            .await?;
        Ok(record)
    }

    /// Executions of a tool, newest first. A tool that is gone still has those it had.
    pub async fn history(
        &self,
        project: ProjectId,
        tool_id: Uuid,
        page: Page,
    ) -> Result<Vec<tool_execution::Model>> {
        let executions = Entity::of(project).filter(Column::ToolId.eq(tool_id));
        let listed = executions
            .clone()
            .order_by_desc(Column::ExecutedAt)
            .order_by_desc(Column::Id)
            .limit(page.limit)
            .offset(page.offset)
            .all(self.storage.reader())
            .await?;
        if listed.is_empty() {
            let known = tool::Entity::of(project).filter(tool::Column::Id.eq(tool_id));
            let is_known = known.one(self.storage.reader()).await?.is_some();
            if !is_known && executions.one(self.storage.reader()).await?.is_none() {
                return Err(Error::NotFound {
                    what: "tool",
                    id: tool_id.to_string(),
                });
            }
        }
        Ok(listed)
    }
}
