//! Which web pages may call (the Fetch standard's CORS protocol).
//!
//! A request from an origin that is not listed is answered without CORS headers, and the browser keeps the answer from the page.
//! It is not refused: programs and same-origin pages send `Origin` too. (poem's own middleware answers 403 there.)

use poem::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use poem::http::{HeaderValue, Method, StatusCode};
use poem::{IntoResponse, Request, Response};

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE");
const EXPOSED: HeaderValue = HeaderValue::from_static("X-Request-ID, Retry-After, ETag");
/// Seconds; browsers cap it lower.
const PREFLIGHT_AGE: HeaderValue = HeaderValue::from_static("86400");

/// Answers preflight requests of the listed origins, and marks answers to them.
pub(crate) async fn share<F: Future<Output = Response>>(
    origins: &[String],
    request: Request,
    answer: impl FnOnce(Request) -> F,
) -> Response {
    let any = origins.iter().any(|origin| origin == "*");
    let Some(origin) = request.headers().get(ORIGIN).cloned() else {
        return answer(request).await;
    };
    let listed = any
        || origins
            .iter()
            .any(|listed| listed.as_bytes() == origin.as_bytes());
    let preflight =
        request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if preflight {
        let mut response = StatusCode::NO_CONTENT.into_response();
        if listed {
            let headers = response.headers_mut();
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            headers.insert(ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE);
            if let Some(wanted) = request.headers().get(ACCESS_CONTROL_REQUEST_HEADERS) {
                headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
            }
        }
        response
    } else {
        answer(request).await
    };
    let headers = response.headers_mut();
    if any {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    } else {
        headers.append(VARY, HeaderValue::from_static("Origin"));
        if listed {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        }
    }
    if listed {
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
    response
}
