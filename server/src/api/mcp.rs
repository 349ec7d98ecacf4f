//! `/api/v1/mcp`.

mod executions;
mod live;
mod prompts;
mod resources;
mod servers;
mod tools;
mod wire;

pub(super) use executions::ExecutionsApi;
pub(super) use live::LiveApi;
pub(super) use prompts::PromptsApi;
pub(super) use resources::ResourcesApi;
pub(super) use servers::ServersApi;
pub(super) use tools::ToolsApi;

use poem_openapi::param::Query;

use super::page::IdParam;
use crate::mcp::Slice;
use crate::mcp::servers::Selection;

/// What the lists of one kind are asked by.
fn selection(
    is_active: Query<Option<bool>>,
    server_id: Query<Option<IdParam>>,
    project_id: Query<Option<String>>,
    limit: Query<Option<u64>>,
    offset: Query<Option<u64>>,
) -> Selection {
    Selection {
        is_active: is_active.0,
        server: server_id.0.map(|id| id.0),
        caller_project: project_id.0,
        slice: Slice {
            limit: limit.0,
            offset: offset.0,
        },
    }
}
