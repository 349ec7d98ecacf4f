//! The request id: the caller's `X-Request-ID`, or a new one. It is in the log, in every answer's header and in every error.

use poem::http::{HeaderName, HeaderValue};
use poem::{Request, Response};
use uuid::Uuid;

pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// A caller's id longer than this is replaced.
const MAX_CHARS: usize = 128;

tokio::task_local! {
    static CURRENT: String;
}

/// The id of the request being answered.
pub(crate) fn current() -> String {
    CURRENT.try_with(String::clone).unwrap_or_default()
}

/// Answers under the request's id and puts the id into the answer.
pub(crate) async fn identify<F: Future<Output = Response>>(
    request: Request,
    answer: impl FnOnce(Request) -> F,
) -> Response {
    let id = request
        .header(HEADER)
        .filter(|id| is_printable(id))
        .map_or_else(|| Uuid::now_v7().to_string(), str::to_owned);
    let header = HeaderValue::from_str(&id);
    let mut response = CURRENT.scope(id, answer(request)).await;
    if let Ok(header) = header {
        response.headers_mut().insert(HEADER, header);
    }
    response
}

/// Visible ASCII alone: nothing that could break a log line.
fn is_printable(id: &str) -> bool {
    (1..=MAX_CHARS).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}
