//! HTTP: one file per resource with its wire types and handlers, and what all of them share. No queries here.

use poem::endpoint::BoxEndpoint;
use poem::{EndpointExt, Response, Route};
use poem_openapi::{OpenApiService, Tags};

use crate::app::App;
use alias::WithoutPrefix;
use shell::Shell;

mod alias;
mod auth;
mod body;
mod conditional;
mod conversations;
mod cors;
mod docs;
mod idempotency;
mod mcp;
mod page;
mod problem;
mod receipts;
mod registry;
mod request_id;
mod scalar;
mod service;
mod shell;
mod templates;
mod usage;

/// How the document groups operations.
#[derive(Tags)]
enum Tag {
    /// The server itself.
    Service,
    /// What calls used and cost.
    Usage,
    /// What was said, in order, with totals.
    Conversations,
    /// What conversations start from.
    Templates,
    /// Signed statements about calls, which anybody can verify.
    Receipts,
    /// MCP servers, and what they offer.
    Mcp,
    /// Models and their prices.
    Registry,
}

type Apis = (
    service::ServiceApi,
    usage::UsageApi,
    conversations::ConversationsApi,
    WithoutPrefix<conversations::ConversationsApi>,
    templates::TemplatesApi,
    receipts::ReceiptsApi,
    receipts::PublicKeysApi,
    mcp::ServersApi,
    mcp::ToolsApi,
    mcp::ResourcesApi,
    mcp::PromptsApi,
    registry::RegistryApi,
);

fn service() -> OpenApiService<Apis, ()> {
    OpenApiService::new(
        (
            service::ServiceApi,
            usage::UsageApi,
            conversations::ConversationsApi,
            WithoutPrefix(conversations::ConversationsApi),
            templates::TemplatesApi,
            receipts::ReceiptsApi,
            receipts::PublicKeysApi,
            mcp::ServersApi,
            mcp::ToolsApi,
            mcp::ResourcesApi,
            mcp::PromptsApi,
            registry::RegistryApi,
        ),
        "LLMRing Server",
        env!("CARGO_PKG_VERSION"),
    )
    .description("Logs what LLM calls use and cost, and answers with statistics.")
    .license("MIT")
}

/// The OpenAPI document, as JSON.
pub(crate) fn document() -> String {
    service().spec()
}

/// All operations of `app`, with everything that surrounds them.
pub(crate) fn endpoint(app: App) -> BoxEndpoint<'static, Response> {
    let service = service();
    let document = service.spec();
    let route = Route::new()
        .at("/docs", docs::swagger_ui(&service))
        .at("/redoc", docs::redoc(&service))
        .at("/openapi.json", service.spec_endpoint())
        .nest("/", service);
    Shell::new(route.data(app.clone()), &app, &document).boxed()
}
