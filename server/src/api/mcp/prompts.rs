//! `/api/v1/mcp/prompts`.

use poem::Request;
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use uuid::Uuid;

use super::selection;
use super::wire::Prompt;
use crate::api::Tag;
use crate::api::auth::Caller;
use crate::api::body::Answer;
use crate::api::page::IdParam;
use crate::api::problem::Problem;
use crate::app::App;

pub(crate) struct PromptsApi;

#[OpenApi(prefix_path = "/api/v1/mcp", tag = "Tag::Mcp")]
impl PromptsApi {
    /// List prompts
    #[oai(path = "/prompts", method = "get", operation_id = "list_mcp_prompts")]
    #[expect(clippy::too_many_arguments, reason = "one argument for each query parameter")]
    async fn list_prompts(
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
    ) -> Result<Answer<Vec<Prompt>>, Problem> {
        let mcp = App::of(request).mcp();
        let selection = selection(is_active, server_id, project_id, limit, offset);
        let rows = mcp.prompts(caller.project, selection).await?;
        let listed = rows.into_iter().map(|(row, _)| Prompt::try_from(row));
        Ok(Answer(listed.collect::<Result<_, _>>()?))
    }

    /// Get a prompt
    #[oai(path = "/prompts/:prompt_id", method = "get", operation_id = "get_mcp_prompt")]
    async fn prompt(
        &self,
        caller: Caller,
        request: &Request,
        /// Its id.
        prompt_id: Path<Uuid>,
    ) -> Result<Answer<Prompt>, Problem> {
        let mcp = App::of(request).mcp();
        let (row, _) = mcp.prompt(caller.project, prompt_id.0).await?;
        Ok(Answer(row.try_into()?))
    }
}
