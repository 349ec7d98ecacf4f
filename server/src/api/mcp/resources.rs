//! `/api/v1/mcp/resources` and `/api/v1/mcp/resource-templates`.

use poem::Request;
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use uuid::Uuid;

use super::selection;
use super::wire::{Resource, ResourceTemplate};
use crate::api::Tag;
use crate::api::auth::Caller;
use crate::api::body::Answer;
use crate::api::page::IdParam;
use crate::api::problem::Problem;
use crate::app::App;

pub(crate) struct ResourcesApi;

#[OpenApi(prefix_path = "/api/v1/mcp", tag = "Tag::Mcp")]
impl ResourcesApi {
    /// List resources
    #[oai(path = "/resources", method = "get", operation_id = "list_mcp_resources")]
    #[expect(clippy::too_many_arguments, reason = "one argument for each query parameter")]
    async fn list_resources(
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
    ) -> Result<Answer<Vec<Resource>>, Problem> {
        let mcp = App::of(request).mcp();
        let selection = selection(is_active, server_id, project_id, limit, offset);
        let rows = mcp.resources(caller.project, selection).await?;
        let listed = rows.into_iter().map(|(row, _)| Resource::try_from(row));
        Ok(Answer(listed.collect::<Result<_, _>>()?))
    }

    /// Get a resource
    #[oai(
        path = "/resources/:resource_id",
        method = "get",
        operation_id = "get_mcp_resource"
    )]
    async fn resource(
        &self,
        caller: Caller,
        request: &Request,
        /// Its id.
        resource_id: Path<Uuid>,
    ) -> Result<Answer<Resource>, Problem> {
        let mcp = App::of(request).mcp();
        let (row, _) = mcp.resource(caller.project, resource_id.0).await?;
        Ok(Answer(row.try_into()?))
    }

    /// List resource templates
    #[oai(
        path = "/resource-templates",
        method = "get",
        operation_id = "list_mcp_resource_templates"
    )]
    #[expect(clippy::too_many_arguments, reason = "one argument for each query parameter")]
    async fn list_resource_templates(
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
    ) -> Result<Answer<Vec<ResourceTemplate>>, Problem> {
        let mcp = App::of(request).mcp();
        let selection = selection(is_active, server_id, project_id, limit, offset);
        let rows = mcp.resource_templates(caller.project, selection).await?;
        let listed = rows.into_iter().map(|(row, _)| ResourceTemplate::try_from(row));
        Ok(Answer(listed.collect::<Result<_, _>>()?))
    }

    /// Get a resource template
    #[oai(
        path = "/resource-templates/:resource_template_id",
        method = "get",
        operation_id = "get_mcp_resource_template"
    )]
    async fn resource_template(
        &self,
        caller: Caller,
        request: &Request,
        /// Its id.
        resource_template_id: Path<Uuid>,
    ) -> Result<Answer<ResourceTemplate>, Problem> {
        let mcp = App::of(request).mcp();
        let (row, _) = mcp
            .resource_template(caller.project, resource_template_id.0)
            .await?;
        Ok(Answer(row.try_into()?))
    }
}
