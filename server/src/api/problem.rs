//! Errors on the wire: `application/problem+json` (RFC 9457), and the only place that chooses a status.

use std::borrow::Cow;
use std::time::Duration;

use poem::error::{MethodNotAllowedError, NotFoundError, ReadBodyError};
use poem::http::{HeaderValue, StatusCode, header};
use poem::{IntoResponse, Response};
use poem_openapi::error::{ContentTypeError, ParseParamError, ParsePathError};
use poem_openapi::payload::{Json, Payload};
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::{ToJSON, Type};
use poem_openapi::{ApiResponse, Object};

use super::request_id;
use crate::error::{Error, Violation};
use crate::mcp::peer::Failure;

const CONTENT_TYPE: &str = "application/problem+json";

/// An answer that is not the one asked for.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: Cow<'static, str>,
    errors: Option<Vec<ProblemError>>,
    retry_after: Option<Duration>,
}

/// What went wrong, as RFC 9457 describes it.
#[derive(Debug, Object)]
#[oai(rename = "Problem")]
struct ProblemBody {
    /// `about:blank`: the status says it all (RFC 9457 section 4.2.1).
    #[oai(rename = "type")]
    kind: String,
    /// The status in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What a person can do something about.
    detail: String,
    /// The id of this request, also in the header `X-Request-ID`.
    request_id: String,
    /// Which parts of the request break which rules.
    #[oai(skip_serializing_if_is_none)]
    errors: Option<Vec<ProblemError>>,
}

/// One rule that the request breaks.
#[derive(Debug, Object)]
pub(crate) struct ProblemError {
    /// Where, from the outside in, such as `["body", "input_tokens"]`.
    loc: Vec<String>,
    /// What is wrong there.
    msg: String,
}

impl Problem {
    /// A problem of this status; `detail` is read by a person.
    pub(crate) fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            detail: detail.into(),
            errors: None,
            retry_after: None,
        }
    }

    /// 400: the request cannot be read.
    pub(crate) fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 401: no key, or one that opens nothing.
    pub(crate) fn unauthorized(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, detail)
    }

    /// 404: there is no such thing.
    pub(crate) fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 422: the request can be read and breaks rules.
    pub(crate) fn invalid(violations: Vec<Violation>) -> Self {
        Error::Invalid(violations).into()
    }

    /// 503: try again after a while.
    pub(crate) fn unavailable(detail: impl Into<Cow<'static, str>>, retry_after: Duration) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        }
    }

    /// What an MCP server did not do.
    fn from_peer(failure: &Failure, detail: String) -> Self {
        let status = match failure {
            Failure::Denied { .. } => StatusCode::FORBIDDEN,
            Failure::Busy { retry_after, .. } => {
                return Self {
                    retry_after: Some(*retry_after),
                    ..Self::new(StatusCode::TOO_MANY_REQUESTS, detail)
                };
            }
            Failure::TimedOut(_) => StatusCode::GATEWAY_TIMEOUT,
            Failure::Unreachable(_)
            | Failure::Lost(_)
            | Failure::LimitExceeded(_)
            | Failure::Rpc { .. }
            | Failure::Malformed(_) => StatusCode::BAD_GATEWAY,
        };
        Self::new(status, detail)
    }

    /// The same problem, found on a line of a body that has many.
    pub(crate) fn on_line(mut self, number: usize) -> Self {
        self.detail = format!("line {number}: {}", self.detail).into();
        for error in self.errors.iter_mut().flatten() {
            error.loc.insert(1, number.to_string());
        }
        self
    }

    /// What poem, its extractors and its router refuse, in the same envelope.
    pub(crate) fn from_poem(error: &poem::Error) -> Self {
        if let Some(error) = error.downcast_ref::<ParseParamError>() {
            return Self::invalid(vec![Violation::query(error.name, in_words(&error.reason))]);
        }
        if error.is::<ParsePathError>() || error.is::<NotFoundError>() {
            return Self::new(StatusCode::NOT_FOUND, "there is nothing at this path");
        }
        if error.is::<MethodNotAllowedError>() {
            return Self::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "this path does not answer this method",
            );
        }
        if let Some(error) = error.downcast_ref::<ContentTypeError>() {
            let detail = match error {
                ContentTypeError::NotSupported { .. } => {
                    "the body must be sent as Content-Type: application/json"
                }
                ContentTypeError::ExpectContentType => {
                    "a body needs the header Content-Type: application/json"
                }
            };
            return Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail);
        }
        match error.downcast_ref::<ReadBodyError>() {
            Some(ReadBodyError::PayloadTooLarge) => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the body is larger than the server accepts (LLMRING_MAX_BODY_BYTES)",
            ),
            Some(_) => Self::malformed("the body could not be read to its end"),
            None if error.status().is_server_error() => Self::internal(error),
            None => Self::new(error.status(), error.to_string()),
        }
    }

    fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the server could not complete this request",
        )
    }
}

/// A parameter's refusal as a sentence: `verification failed. maximum(500, exclusive: false)` and
/// `failed to parse "string": is not … (occurred while parsing "optional_string")` say little to a person.
fn in_words(reason: &str) -> String {
    if let Some(rule) = reason.strip_prefix("verification failed. ") {
        let bound = |name: &str| {
            let rest = rule.strip_prefix(name)?.strip_prefix('(')?;
            rest.split([',', ')']).next().map(str::to_owned)
        };
        return match (bound("minimum"), bound("maximum")) {
            (Some(least), _) => format!("must be at least {least}"),
            (_, Some(most)) => format!("must be at most {most}"),
            (None, None) => rule.to_owned(),
        };
    }
    let cause = reason
        .strip_prefix("failed to parse \"")
        .and_then(|rest| rest.split_once("\": "))
        .map_or(reason, |(_, cause)| cause);
    cause
        .split(" (occurred while parsing ")
        .next()
        .unwrap_or(cause)
        .to_owned()
}

/// Logged here, once, with what the caller must not read.
impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        match error {
            Error::Invalid(violations) => Self {
                errors: Some(violations.into_iter().map(ProblemError::from).collect()),
                ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
            },
            Error::NotFound { .. } => Self::not_found(detail),
            Error::Refused(_) => Self::malformed(detail),
            Error::Conflict(_) => Self::new(StatusCode::CONFLICT, detail),
            Error::Busy { retry_after, what: _ } => Self::unavailable(detail, retry_after),
            Error::Unavailable { what, source } => {
                let error = source.map(|source| source.to_string());
                tracing::warn!(error, "{what} is not available");
                Self::unavailable(detail, Duration::from_secs(5))
            }
            Error::Peer(failure) => Self::from_peer(&failure, detail),
            Error::NotConfigured { .. } => Self::new(StatusCode::SERVICE_UNAVAILABLE, detail),
            Error::Tampered { what, id, reason } => {
                tracing::error!(id, reason, "a stored {what} is damaged or was tampered with");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
            }
            Error::Database(source) => Self::internal(&source),
            Error::Corrupt { what, source } => Self::internal(&format!("{what}: {source}")),
        }
    }
}

impl From<Violation> for Problem {
    fn from(violation: Violation) -> Self {
        Error::from(violation).into()
    }
}

impl From<Violation> for ProblemError {
    fn from(violation: Violation) -> Self {
        let Violation { at, message } = violation;
        Self {
            loc: at,
            msg: message,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = ProblemBody {
            kind: "about:blank".to_owned(),
            title: self.status.canonical_reason().unwrap_or("Unknown").to_owned(),
            status: self.status.as_u16(),
            detail: self.detail.into_owned(),
            request_id: request_id::current(),
            errors: self.errors,
        };
        let mut response = Response::builder()
            .status(self.status)
            .content_type(CONTENT_TYPE)
            .body(body.to_json_string());
        if let Some(delay) = self.retry_after {
            let seconds = HeaderValue::from(delay.as_secs().max(1));
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

impl From<Problem> for poem::Error {
    fn from(problem: Problem) -> Self {
        Self::from_response(problem.into_response())
    }
}

impl ApiResponse for Problem {
    fn meta() -> MetaResponses {
        let range = |range, description| MetaResponse {
            description,
            status: None,
            status_range: Some(range),
            content: vec![MetaMediaType {
                content_type: CONTENT_TYPE,
                schema: Json::<ProblemBody>::schema_ref(),
            }],
            headers: vec![],
        };
        MetaResponses {
            responses: vec![
                range("4XX".to_owned(), "The request is refused; `detail` says why."),
                range("5XX".to_owned(), "The server or something it depends on failed."),
            ],
        }
    }

    fn register(registry: &mut Registry) {
        ProblemBody::register(registry);
    }
}
