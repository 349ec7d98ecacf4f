//! `/api/v1/mcp/servers`.

use poem::Request;
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use uuid::Uuid;

use super::selection;
use super::wire::{McpServer, RefreshRequest, RefreshedServer, ServerRequest, ServerUpdate};
use crate::api::Tag;
use crate::api::auth::Caller;
use crate::api::body::{Answer, Body, OptionalBody};
use crate::api::conversations::wire::Deleted;
use crate::api::problem::Problem;
use crate::app::App;

pub(crate) struct ServersApi;

#[OpenApi(prefix_path = "/api/v1/mcp/servers", tag = "Tag::Mcp")]
impl ServersApi {
    /// Register a MCP server
    ///
    /// It is stored; nothing connects to it before it is asked for.
    #[oai(path = "/", method = "post", operation_id = "register_mcp_server")]
    async fn register(
        &self,
        caller: Caller,
        request: &Request,
        body: Body<ServerRequest>,
    ) -> Result<Answer<McpServer>, Problem> {
        let mcp = App::of(request).mcp();
        let registered = mcp.register(caller.project, body.0.try_into()?).await?;
        Ok(Answer(registered.try_into()?))
    }

    /// List MCP servers, in the order of their registration
    #[oai(path = "/", method = "get", operation_id = "list_mcp_servers")]
    async fn list(
        &self,
        caller: Caller,
        request: &Request,
        /// Those in this state; active ones when absent.
        is_active: Query<Option<bool>>,
        /// Those that were registered with this `project_id`.
        project_id: Query<Option<String>>,
        /// At most this many; all when absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "10000")))]
        limit: Query<Option<u64>>,
        /// After this many.
        #[oai(validator(maximum(value = "9007199254740991")))]
        offset: Query<Option<u64>>,
    ) -> Result<Answer<Vec<McpServer>>, Problem> {
        let mcp = App::of(request).mcp();
        let selection = selection(is_active, Query(None), project_id, limit, offset);
        let rows = mcp.servers(caller.project, selection).await?;
        let listed = rows.into_iter().map(McpServer::try_from);
        Ok(Answer(listed.collect::<Result<_, _>>()?))
    }

    /// Get a MCP server
    #[oai(path = "/:server_id", method = "get", operation_id = "get_mcp_server")]
    async fn get(
        &self,
        caller: Caller,
        request: &Request,
        /// The server's id.
        server_id: Path<Uuid>,
    ) -> Result<Answer<McpServer>, Problem> {
        let mcp = App::of(request).mcp();
        let row = mcp.server(caller.project, server_id.0).await?;
        Ok(Answer(row.try_into()?))
    }

    /// Change a MCP server
    ///
    /// What is present changes, the rest stays. A mask in `auth_config` that comes back in its place keeps the secret behind it.
    #[oai(path = "/:server_id", method = "put", operation_id = "update_mcp_server")]
    async fn put(
        &self,
        caller: Caller,
        request: &Request,
        /// The server's id.
        server_id: Path<Uuid>,
        body: Body<ServerUpdate>,
    ) -> Result<Answer<McpServer>, Problem> {
        change(caller, request, server_id.0, body.0).await
    }

    /// Change a MCP server
    ///
    /// The same as `PUT`.
    #[oai(path = "/:server_id", method = "patch", operation_id = "patch_mcp_server")]
    async fn patch(
        &self,
        caller: Caller,
        request: &Request,
        /// The server's id.
        server_id: Path<Uuid>,
        body: Body<ServerUpdate>,
    ) -> Result<Answer<McpServer>, Problem> {
        change(caller, request, server_id.0, body.0).await
    }

    /// Delete a MCP server
    ///
    /// Its tools, resources and prompts go with it; the history of its tools stays.
    #[oai(path = "/:server_id", method = "delete", operation_id = "delete_mcp_server")]
    async fn delete(
        &self,
        caller: Caller,
        request: &Request,
        /// The server's id.
        server_id: Path<Uuid>,
    ) -> Result<Answer<Deleted>, Problem> {
        let mcp = App::of(request).mcp();
        mcp.delete(caller.project, server_id.0).await?;
        Ok(Answer(Deleted {
            message: "the MCP server is deleted".to_owned(),
        }))
    }

    /// Refresh what a MCP server offers
    ///
    /// Without a body this server connects and asks for all lists. With one it stores what it is told; an absent list stays untouched.
    /// Ids of what is offered still stay the same. What is no longer offered becomes inactive, and comes back under its id.
    #[oai(
        path = "/:server_id/refresh",
        method = "post",
        operation_id = "refresh_mcp_server"
    )]
    async fn refresh(
        &self,
        caller: Caller,
        request: &Request,
        /// The server's id.
        server_id: Path<Uuid>,
        body: OptionalBody<RefreshRequest>,
    ) -> Result<Answer<RefreshedServer>, Problem> {
        let mcp = App::of(request).mcp();
        let refreshed = match body.0 {
            None => mcp.discover(caller.project, server_id.0).await?,
            Some(lists) => {
                mcp.store_report(caller.project, server_id.0, lists.try_into()?)
                    .await?
            }
        };
        Ok(Answer(RefreshedServer::new(mcp, refreshed)?))
    }
}

async fn change(
    caller: Caller,
    request: &Request,
    server_id: Uuid,
    update: ServerUpdate,
) -> Result<Answer<McpServer>, Problem> {
    let mcp = App::of(request).mcp();
    let changed = mcp.change(caller.project, server_id, update.try_into()?).await?;
    Ok(Answer(changed.try_into()?))
}
