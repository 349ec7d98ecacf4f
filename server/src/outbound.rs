//! stand-in
#[derive(Clone, Debug)]
pub struct Outbound;
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct OutboundError;
impl Outbound {
    pub fn new(_d: std::time::Duration) -> Result<Self, OutboundError> {
        Ok(Self)
    }
}
