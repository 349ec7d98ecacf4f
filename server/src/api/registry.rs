//! stand-in
use poem_openapi::OpenApi;
pub(super) struct RegistryApi;
#[OpenApi]
impl RegistryApi {
    /// x
    #[oai(path = "/registry", method = "get")]
    async fn registry(&self) {}
}
