//! `/api/v1/templates`.

mod wire;

use poem::Request;
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use uuid::Uuid;

use super::Tag;
use super::auth::Caller;
use super::body::{Answer, Body};
use super::conversations::wire::{Conversation, Deleted};
use super::problem::Problem;
use crate::app::App;
use crate::usage::Page;
use wire::{StartRequest, Template, TemplateRequest, TemplateStats, TemplateUpdate};

pub(super) struct TemplatesApi;

#[OpenApi(prefix_path = "/api/v1/templates", tag = "Tag::Templates")]
impl TemplatesApi {
    /// Make a template
    #[oai(path = "/", method = "post", operation_id = "create_template")]
    async fn create(
        &self,
        caller: Caller,
        request: &Request,
        body: Body<TemplateRequest>,
    ) -> Result<Answer<Template>, Problem> {
        let templates = App::of(request).templates();
        let made = templates.create(caller.project, body.0.into()).await?;
        Ok(Answer(Template::try_from(made)?))
    }

    /// List active templates, newest first
    #[oai(path = "/", method = "get", operation_id = "list_templates")]
    async fn list(
        &self,
        caller: Caller,
        request: &Request,
        /// Those that this one made.
        created_by: Query<Option<String>>,
        /// At most this many; 50 when absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u64>>,
        /// After this many.
        #[oai(validator(maximum(value = "9007199254740991")))]
        offset: Query<Option<u64>>,
    ) -> Result<Answer<Vec<Template>>, Problem> {
        let page = Page {
            limit: limit.0.unwrap_or(50),
            offset: offset.0.unwrap_or(0),
        };
        let templates = App::of(request).templates();
        let rows = templates
            .list(caller.project, created_by.0.as_deref(), page)
            .await?;
        let listed = rows.into_iter().map(Template::try_from);
        Ok(Answer(listed.collect::<Result<_, _>>()?))
    }

    /// How often templates are used, most used first
    #[oai(path = "/stats", method = "get", operation_id = "template_stats")]
    async fn stats(
        &self,
        caller: Caller,
        request: &Request,
        /// At most this many; 20 when absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "50")))]
        limit: Query<Option<u64>>,
    ) -> Result<Answer<Vec<TemplateStats>>, Problem> {
        let templates = App::of(request).templates();
        let rows = templates.most_used(caller.project, limit.0.unwrap_or(20)).await?;
        Ok(Answer(rows.into_iter().map(TemplateStats::from).collect()))
    }

    /// Get a template
    #[oai(path = "/:template_id", method = "get", operation_id = "get_template")]
    async fn get(
        &self,
        caller: Caller,
        request: &Request,
        /// The template's id.
        template_id: Path<Uuid>,
    ) -> Result<Answer<Template>, Problem> {
        let templates = App::of(request).templates();
        let row = templates.one(caller.project, template_id.0).await?;
        Ok(Answer(Template::try_from(row)?))
    }

    /// Change a template
    ///
    /// What is present changes, the rest stays.
    #[oai(path = "/:template_id", method = "put", operation_id = "update_template")]
    async fn change(
        &self,
        caller: Caller,
        request: &Request,
        /// The template's id.
        template_id: Path<Uuid>,
        body: Body<TemplateUpdate>,
    ) -> Result<Answer<Template>, Problem> {
        let templates = App::of(request).templates();
        let changed = templates
            .change(caller.project, template_id.0, body.0.into())
            .await?;
        Ok(Answer(Template::try_from(changed)?))
    }

    /// Delete a template
    ///
    /// Conversations that started from it stay.
    #[oai(path = "/:template_id", method = "delete", operation_id = "delete_template")]
    async fn delete(
        &self,
        caller: Caller,
        request: &Request,
        /// The template's id.
        template_id: Path<Uuid>,
    ) -> Result<Answer<Deleted>, Problem> {
        let templates = App::of(request).templates();
        templates.delete(caller.project, template_id.0).await?;
        Ok(Answer(Deleted {
            message: "the template is deleted".to_owned(),
        }))
    }

    /// Count one use of a template
    ///
    /// Exact, however many count at once.
    #[oai(path = "/:template_id/use", method = "post", operation_id = "use_template")]
    async fn record_use(
        &self,
        caller: Caller,
        request: &Request,
        /// The template's id.
        template_id: Path<Uuid>,
    ) -> Result<Answer<Template>, Problem> {
        let templates = App::of(request).templates();
        let used = templates.record_use(caller.project, template_id.0).await?;
        Ok(Answer(Template::try_from(used)?))
    }

    /// Start a conversation from a template
    ///
    /// Fills the placeholders of the system prompt and counts the use. Every placeholder needs a value.
    #[oai(
        path = "/:template_id/conversations",
        method = "post",
        operation_id = "start_conversation_from_template"
    )]
    async fn start(
        &self,
        caller: Caller,
        request: &Request,
        /// The template's id.
        template_id: Path<Uuid>,
        body: Body<StartRequest>,
    ) -> Result<Answer<Conversation>, Problem> {
        let templates = App::of(request).templates();
        let begun = templates
            .start(caller.project, template_id.0, body.0.into())
            .await?;
        Ok(Answer(begun.into()))
    }
}
