//! `/api/v1/mcp/tools`.

use poem::Request;
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use uuid::Uuid;

use super::selection;
use super::wire::{Tool, ToolExecution, ToolRequest, ToolVersion};
use crate::api::Tag;
use crate::api::auth::Caller;
use crate::api::body::{Answer, Body};
use crate::api::page::IdParam;
use crate::api::problem::Problem;
use crate::app::App;
use crate::usage::Page;

pub(crate) struct ToolsApi;

#[OpenApi(prefix_path = "/api/v1/mcp/tools", tag = "Tag::Mcp")]
impl ToolsApi {
    /// Add a tool to what a MCP server offers
    #[oai(path = "/", method = "post", operation_id = "create_mcp_tool")]
    async fn create(
        &self,
        caller: Caller,
        request: &Request,
        body: Body<ToolRequest>,
    ) -> Result<Answer<Tool>, Problem> {
        let mcp = App::of(request).mcp();
        let (tool, server) = mcp.add_tool(caller.project, body.0.try_into()?).await?;
        Ok(Answer(Tool::new(mcp, tool, &server)?))
    }

    /// List tools, with their servers
    #[oai(path = "/", method = "get", operation_id = "list_mcp_tools")]
    #[expect(clippy::too_many_arguments, reason = "one argument for each query parameter")]
    async fn list(
        &self,
        caller: Caller,
        request: &Request,
        /// Those in this state; active ones when absent.
        is_active: Query<Option<bool>>,
        /// Those of this server.
        server_id: Query<Option<IdParam>>,
        /// Those of servers that were registered with this `project_id`.
        project_id: Query<Option<String>>,
        /// At most this many; all when absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "10000")))]
        limit: Query<Option<u64>>,
        /// After this many.
        #[oai(validator(maximum(value = "9007199254740991")))]
        offset: Query<Option<u64>>,
    ) -> Result<Answer<Vec<Tool>>, Problem> {
        let mcp = App::of(request).mcp();
        let selection = selection(is_active, server_id, project_id, limit, offset);
        let rows = mcp.tools(caller.project, selection).await?;
        let listed = rows
            .into_iter()
            .map(|(tool, server)| Tool::new(mcp, tool, &server));
        Ok(Answer(listed.collect::<Result<_, _>>()?))
    }

    /// Get a tool
    #[oai(path = "/:tool_id", method = "get", operation_id = "get_mcp_tool")]
    async fn get(
        &self,
        caller: Caller,
        request: &Request,
        /// The tool's id.
        tool_id: Path<Uuid>,
    ) -> Result<Answer<Tool>, Problem> {
        let mcp = App::of(request).mcp();
        let (tool, server) = mcp.tool(caller.project, tool_id.0).await?;
        Ok(Answer(Tool::new(mcp, tool, &server)?))
    }

    /// All definitions that a tool has had, newest first, with what changed
    #[oai(
        path = "/:tool_id/versions",
        method = "get",
        operation_id = "list_mcp_tool_versions"
    )]
    async fn versions(
        &self,
        caller: Caller,
        request: &Request,
        /// The tool's id.
        tool_id: Path<Uuid>,
    ) -> Result<Answer<Vec<ToolVersion>>, Problem> {
        let mcp = App::of(request).mcp();
        let versions = mcp.tool_versions(caller.project, tool_id.0).await?;
        let listed = versions.into_iter().map(ToolVersion::try_from);
        Ok(Answer(listed.collect::<Result<_, _>>()?))
    }

    /// Approve a tool as it is defined now
    ///
    /// When tools are pinned (`LLMRING_MCP_PIN_TOOLS`), one that changed is refused until then. A tool is approved at first sight.
    #[oai(
        path = "/:tool_id/approve",
        method = "post",
        operation_id = "approve_mcp_tool"
    )]
    async fn approve(
        &self,
        caller: Caller,
        request: &Request,
        /// The tool's id.
        tool_id: Path<Uuid>,
        /// The digest that was looked at: 409 when the tool has another one by now.
        digest: Query<Option<String>>,
    ) -> Result<Answer<Tool>, Problem> {
        let mcp = App::of(request).mcp();
        let (tool, server) = mcp
            .approve(caller.project, tool_id.0, digest.0.as_deref())
            .await?;
        Ok(Answer(Tool::new(mcp, tool, &server)?))
    }

    /// Executions of a tool, newest first
    ///
    /// It stays when the tool goes.
    #[oai(
        path = "/:tool_id/history",
        method = "get",
        operation_id = "get_mcp_tool_history"
    )]
    async fn history(
        &self,
        caller: Caller,
        request: &Request,
        /// The tool's id.
        tool_id: Path<Uuid>,
        /// At most this many; 100 when absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<Option<u64>>,
        /// After this many.
        #[oai(validator(maximum(value = "9007199254740991")))]
        offset: Query<Option<u64>>,
    ) -> Result<Answer<Vec<ToolExecution>>, Problem> {
        let page = Page {
            limit: limit.0.unwrap_or(100),
            offset: offset.0.unwrap_or(0),
        };
        let mcp = App::of(request).mcp();
        let rows = mcp.history(caller.project, tool_id.0, page).await?;
        let listed = rows.into_iter().map(ToolExecution::try_from);
        Ok(Answer(listed.collect::<Result<_, _>>()?))
    }
}
