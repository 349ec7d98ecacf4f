//! Requests through `wasi:http/outgoing-handler`: to hosts that the operator granted, by the server's rules for
//! outbound connections. Nothing follows redirects: each hop is a request of its own, permitted or refused anew.

use std::{fmt, time::Duration};

use fluent_uri::{Uri, UriRef};
use serde::Serialize;

use crate::{
    TransportError,
    bindings::wasi::{
        http::{
            outgoing_handler,
            types::{
                ErrorCode, Fields, IncomingBody, IncomingResponse, OutgoingBody, OutgoingRequest,
                RequestOptions, Scheme, http_error_code,
            },
        },
        io::streams::{InputStream, StreamError},
    },
    runtime, sse,
};

pub use crate::bindings::wasi::http::types::Method;

/// The most bytes that are read or written at once.
const CHUNK: u64 = 64 << 10;

/// A request that is not sent yet.
#[derive(Clone, Debug)]
#[must_use]
pub struct Request {
    method: Method,
    url: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    timeout: Option<Duration>,
}

/// A response whose body is still to be read.
#[derive(Debug)]
pub struct Response {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Body,
}

/// A response's body. The stream goes before the body that it belongs to.
#[derive(Debug)]
struct Body {
    stream: InputStream,
    _whole: IncomingBody,
}

/// Why a request got no (whole) response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// Not sent: it is no valid request.
    Invalid(String),
    /// Not sent: the host is not granted, or a rule of the server forbids it.
    Denied(String),
    /// Not sent: the peer cannot be reached.
    Unreachable(String),
    /// It may have been sent, and what became of it is unknown.
    Interrupted(String),
    /// The response is larger than the reader wants it.
    TooLarge {
        /// What the reader wants at most.
        max_bytes: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(reason) => write!(f, "invalid request: {reason}"),
            Self::Denied(url) => write!(f, "the request to {url} is not permitted"),
            Self::Unreachable(reason) => write!(f, "the peer cannot be reached: {reason}"),
            Self::Interrupted(reason) => write!(f, "the request was interrupted: {reason}"),
            Self::TooLarge { max_bytes } => write!(f, "the response is larger than {max_bytes} bytes"),
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for TransportError {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Invalid(_) => Self::Unsupported(message),
            Error::Denied(_) => Self::Denied(message),
            Error::Unreachable(_) => Self::Unreachable(message),
            Error::Interrupted(_) => Self::Interrupted(message),
            Error::TooLarge { .. } => Self::Protocol(message),
        }
    }
}

/// `reference` (RFC 3986, section 4.1) as seen from the URL `base`.
///
/// # Errors
/// One of the two is no URL.
pub fn resolve(base: &str, reference: &str) -> Result<String, Error> {
    let base = parse(base)?;
    let reference =
        UriRef::parse(reference).map_err(|error| Error::Invalid(format!("{reference:?}: {error}")))?;
    // A fragment of the base is no part of what references are seen from.
    reference
        .resolve_against(&base.strip_fragment())
        .map(Uri::into_string)
        .map_err(|error| Error::Invalid(error.to_string()))
}

/// Scheme, host and port of a URL, as `https://example.com:8443`, the port only when it is not the scheme's own.
///
/// # Errors
/// It is no `http` or `https` URL.
pub fn origin(url: &str) -> Result<String, Error> {
    let uri = parse(url)?;
    let scheme = uri.scheme().as_str().to_ascii_lowercase();
    let default_port = match scheme.as_str() {
        "http" => "80",
        "https" => "443",
        _ => return Err(Error::Invalid(format!("{url:?} is no HTTP URL"))),
    };
    let authority = uri.authority().filter(|authority| !authority.host().is_empty());
    let authority = authority.ok_or_else(|| Error::Invalid(format!("{url:?} names no host")))?;
    let host = authority.host().to_ascii_lowercase();
    Ok(match authority.port() {
        Some(port) if !port.as_str().is_empty() && port.as_str() != default_port => {
            format!("{scheme}://{host}:{port}")
        }
        _ => format!("{scheme}://{host}"),
    })
}

fn parse(url: &str) -> Result<Uri<&str>, Error> {
    Uri::parse(url).map_err(|error| Error::Invalid(format!("{url:?}: {error}")))
}

impl Request {
    /// A request of any method.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self {
            method,
            url: url.into(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: None,
        }
    }

    /// `GET url`.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new(Method::Get, url)
    }

    /// `POST url`.
    pub fn post(url: impl Into<String>) -> Self {
        Self::new(Method::Post, url)
    }

    /// `DELETE url`.
    pub fn delete(url: impl Into<String>) -> Self {
        Self::new(Method::Delete, url)
    }

    /// Adds a header.
    pub fn header(mut self, name: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.into(), value.as_ref().to_vec()));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets a body of JSON and its `Content-Type`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it cannot be written as JSON.
    pub fn json(self, body: &impl Serialize) -> Result<Self, Error> {
        let json = serde_json::to_vec(body).map_err(|error| Error::Invalid(error.to_string()))?;
        Ok(self.header("content-type", "application/json").body(json))
    }

    /// How long to wait for the response's head.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sends the request and waits for the response's head.
    ///
    /// # Errors
    /// [`Error`]; a response of any status is none.
    pub async fn send(self) -> Result<Response, Error> {
        let url = self.url.clone();
        let failed = |code| error(code, &url);
        let (request, options) = self.outgoing()?;
        let body = request
            .body()
            .map_err(|()| Error::Invalid("the body is taken".to_owned()))?;
        let answer = outgoing_handler::handle(request, options).map_err(failed)?;
        // A peer may answer before it has read everything, so a body that was not taken is no failure by itself.
        _ = write(body, &self.body).await;
        loop {
            match answer.get() {
                Some(Ok(response)) => return response.map_err(failed).and_then(Response::new),
                Some(Err(())) => return Err(Error::Interrupted("the response is gone".to_owned())),
                None => runtime::ready(answer.subscribe()).await,
            }
        }
    }

    fn outgoing(&self) -> Result<(OutgoingRequest, Option<RequestOptions>), Error> {
        let invalid = |what: &str| Error::Invalid(what.to_owned());
        let uri = parse(&self.url)?;
        let scheme = match uri.scheme().as_str() {
            http if http.eq_ignore_ascii_case("http") => Scheme::Http,
            https if https.eq_ignore_ascii_case("https") => Scheme::Https,
            other => return Err(Error::Invalid(format!("HTTP has no scheme {other:?}"))),
        };
        let authority = uri.authority().ok_or_else(|| invalid("the URL names no host"))?;
        if authority.userinfo().is_some() {
            return Err(invalid("the URL has a user's name or password"));
        }
        let path = match uri.path().as_str() {
            "" => "/",
            path => path,
        };
        let path = uri
            .query()
            .map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));

        let headers = Fields::from_list(&self.headers).map_err(|error| Error::Invalid(error.to_string()))?;
        if !self.body.is_empty() {
            // Where the host computes it, it says so, and need not be told.
            _ = headers.set("content-length", &[self.body.len().to_string().into_bytes()]);
        }
        let request = OutgoingRequest::new(headers);
        request
            .set_method(&self.method)
            .map_err(|()| invalid("the method"))?;
        request
            .set_scheme(Some(&scheme))
            .map_err(|()| invalid("the scheme"))?;
        request
            .set_authority(Some(authority.as_str()))
            .map_err(|()| invalid("the host"))?;
        request
            .set_path_with_query(Some(&path))
            .map_err(|()| invalid("the path"))?;
        let options = self.timeout.map(|timeout| {
            let options = RequestOptions::new();
            let nanoseconds = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
            // A host that knows no such limit has its own.
            _ = options.set_first_byte_timeout(Some(nanoseconds));
            options
        });
        Ok((request, options))
    }
}

async fn write(body: OutgoingBody, mut bytes: &[u8]) -> Result<(), StreamError> {
    let Ok(stream) = body.write() else {
        return Err(StreamError::Closed);
    };
    while !bytes.is_empty() {
        let permitted = stream.check_write()?.min(CHUNK).min(bytes.len() as u64);
        if permitted == 0 {
            runtime::ready(stream.subscribe()).await;
            continue;
        }
        let (now, later) = bytes.split_at(permitted as usize);
        stream.write(now)?;
        bytes = later;
    }
    stream.flush()?;
    runtime::ready(stream.subscribe()).await;
    drop(stream);
    OutgoingBody::finish(body, None).map_err(|_| StreamError::Closed)
}

impl Response {
    fn new(response: IncomingResponse) -> Result<Self, Error> {
        let gone = |()| Error::Interrupted("the body is gone".to_owned());
        let whole = response.consume().map_err(gone)?;
        let stream = whole.stream().map_err(gone)?;
        Ok(Self {
            status: response.status(),
            headers: response.headers().entries(),
            body: Body {
                stream,
                _whole: whole,
            },
        })
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether the status is one of success (2xx).
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header of that name, when it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self
            .headers
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// The media type without its parameters, in lower case.
    pub fn media_type(&self) -> Option<String> {
        let media_type = self.header("content-type")?.split(';').next()?;
        Some(media_type.trim().to_ascii_lowercase())
    }

    /// The next bytes of the body; none at its end.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when the body ends early.
    pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Error> {
        loop {
            match self.body.stream.read(CHUNK) {
                Ok(bytes) if bytes.is_empty() => runtime::ready(self.body.stream.subscribe()).await,
                Ok(bytes) => return Ok(Some(bytes)),
                Err(StreamError::Closed) => return Ok(None),
                Err(StreamError::LastOperationFailed(cause)) => {
                    let reason = http_error_code(&cause)
                        .as_ref()
                        .map_or_else(|| cause.to_debug_string(), reason);
                    return Err(Error::Interrupted(reason));
                }
            }
        }
    }

    /// The whole body.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond `max_bytes`, [`Error::Interrupted`] when it ends early.
    pub async fn bytes(mut self, max_bytes: usize) -> Result<Vec<u8>, Error> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if body.len() + chunk.len() > max_bytes {
                return Err(Error::TooLarge { max_bytes });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// The whole body as text; what is no UTF-8 in it is replaced.
    ///
    /// # Errors
    /// As [`Self::bytes`].
    pub async fn text(self, max_bytes: usize) -> Result<String, Error> {
        let body = self.bytes(max_bytes).await?;
        Ok(String::from_utf8(body)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    /// The body as server-sent events (`text/event-stream`), none longer than `max_bytes`.
    pub fn events(self, max_bytes: usize) -> Events {
        Events {
            response: self,
            parser: sse::Parser::new(max_bytes),
        }
    }
}

/// Server-sent events as they come.
#[derive(Debug)]
pub struct Events {
    response: Response,
    parser: sse::Parser,
}

impl Events {
    /// The next event; none at the stream's end.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for an event that is too long, [`Error::Interrupted`] when the stream breaks.
    pub async fn next(&mut self) -> Result<Option<sse::Event>, Error> {
        loop {
            if let Some(event) = self.parser.event()? {
                return Ok(Some(event));
            }
            match self.response.chunk().await? {
                Some(chunk) => self.parser.push(&chunk),
                None => return Ok(None),
            }
        }
    }

    /// The id of the last event, for `Last-Event-ID`; empty before there is one.
    pub fn last_id(&self) -> &str {
        self.parser.last_id()
    }

    /// How long the peer wants one to wait before connecting again, where it said so.
    pub fn retry(&self) -> Option<Duration> {
        self.parser.retry()
    }
}

/// The host's error in words.
fn reason(code: &ErrorCode) -> String {
    code.to_string().replacen("ErrorCode::", "", 1)
}

/// What the host's error means for the question whether the request was sent.
fn error(code: ErrorCode, url: &str) -> Error {
    match code {
        ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited => {
            Error::Denied(origin(url).unwrap_or_else(|_| url.to_owned()))
        }
        ErrorCode::HttpRequestMethodInvalid
        | ErrorCode::HttpRequestUriInvalid
        | ErrorCode::HttpRequestUriTooLong
        | ErrorCode::HttpRequestLengthRequired
        | ErrorCode::HttpRequestBodySize(_)
        | ErrorCode::HttpRequestHeaderSize(_)
        | ErrorCode::HttpRequestHeaderSectionSize(_) => Error::Invalid(reason(&code)),
        ErrorCode::DnsTimeout
        | ErrorCode::DnsError(_)
        | ErrorCode::DestinationNotFound
        | ErrorCode::DestinationUnavailable
        | ErrorCode::DestinationIpUnroutable
        | ErrorCode::ConnectionRefused
        | ErrorCode::ConnectionTimeout
        | ErrorCode::ConnectionLimitReached
        | ErrorCode::TlsProtocolError
        | ErrorCode::TlsCertificateError
        | ErrorCode::TlsAlertReceived(_) => Error::Unreachable(reason(&code)),
        code => Error::Interrupted(reason(&code)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_resolved() {
        for (base, reference, expected) in [
            (
                "http://a.example/sse",
                "/messages?session=1",
                "http://a.example/messages?session=1",
            ),
            (
                "http://a.example/x/sse?y#z",
                "messages",
                "http://a.example/x/messages",
            ),
            ("http://a.example/", "https://b.example/c", "https://b.example/c"),
        ] {
            assert_eq!(resolve(base, reference).as_deref(), Ok(expected));
        }
        assert!(resolve("no url", "/").is_err());
    }

    #[test]
    fn origins_are_compared_as_they_are_dialled() {
        for (url, expected) in [
            ("HTTP://A.example:80/x", "http://a.example"),
            ("https://a.example:/", "https://a.example"),
            ("https://a.example:8443", "https://a.example:8443"),
            ("http://[::1]:3000/", "http://[::1]:3000"),
            ("http://user:password@a.example/", "http://a.example"),
        ] {
            assert_eq!(origin(url).as_deref(), Ok(expected));
        }
        assert!(origin("ftp://a.example").is_err());
        assert!(origin("http:/path").is_err());
        assert!(origin("http:///path").is_err());
    }
}
