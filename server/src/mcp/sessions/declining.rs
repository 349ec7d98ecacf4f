//! What this client answers when a server asks it for something: it has no model, no user and no folders to offer.

#![expect(
    deprecated,
    reason = "requests that the newest version deprecates are declined like all others"
)]

use rmcp::ClientHandler;
use rmcp::RoleClient;
use rmcp::model::{
    ClientConfig, CreateMessageRequestParams, CreateMessageResult, ElicitRequestParams, ElicitResult,
    ErrorCode, ErrorData, ListRootsResult,
};
use rmcp::service::RequestContext;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Declining(ClientConfig);

impl Declining {
    /// Introduces itself as `config` says, which declares no capabilities.
    pub(super) fn new(config: ClientConfig) -> Self {
        Self(config)
    }
}

fn declined(method: &'static str) -> ErrorData {
    ErrorData::new(
        ErrorCode::METHOD_NOT_FOUND,
        format!("this client does not offer {method}, and has not declared it"),
        None,
    )
}

impl ClientHandler for Declining {
    async fn create_message(
        &self,
        _: CreateMessageRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        Err(declined("sampling/createMessage"))
    }

    async fn create_elicitation(
        &self,
        _: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        Err(declined("elicitation/create"))
    }

    async fn list_roots(&self, _: RequestContext<RoleClient>) -> Result<ListRootsResult, ErrorData> {
        Err(declined("roots/list"))
    }

    fn get_info(&self) -> ClientConfig {
        self.0.clone()
    }
}
