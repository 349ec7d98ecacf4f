//! `wasi:http/outgoing-handler`: what a guest sends goes through its grants, its limits and the server's [`Outbound`].

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt as _;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;
use url::Url;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::{Binding, Body, OutboundError, meter::Meter, outbound::BodyError, state::Identity};

/// How `wasmtime-wasi-http` answers a request.
type Answer = Result<
    (
        http::Response<WasiBody>,
        Box<dyn Future<Output = Result<(), Error>> + Send>,
    ),
    Error,
>;

/// The host's side of a guest's HTTP requests.
pub(crate) struct Hooks {
    identity: Arc<Identity>,
    meter: Arc<Meter>,
    binding: Arc<Binding>,
    /// The server's own runtime: its connections should not wait for guests.
    outside: Handle,
}

impl Hooks {
    pub(crate) fn new(
        identity: Arc<Identity>,
        meter: Arc<Meter>,
        binding: Arc<Binding>,
        outside: Handle,
    ) -> Self {
        Self {
            identity,
            meter,
            binding,
            outside,
        }
    }

    fn permit(&self, uri: &http::Uri) -> Result<(), Error> {
        let url = Url::parse(&uri.to_string()).map_err(|_| Error::HttpRequestUriInvalid)?;
        if let Err(line) = self
            .identity
            .grants
            .check_url(&url, self.binding.endpoint.as_ref())
        {
            let origin = url.origin().ascii_serialization();
            self.identity
                .deny(&self.meter, &format!("a request to {origin}"), &line);
            return Err(Error::HttpRequestDenied);
        }
        // A request beyond the limit is refused here, and the call ends as soon as the guest waits.
        self.meter
            .count_request()
            .map_err(|limit| Error::InternalError(Some(limit.to_string())))
    }
}

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Answer> + Send> {
        if let Err(error) = self.permit(request.uri()) {
            return Box::new(std::future::ready(Err(error)));
        }
        let (outbound, meter) = (self.binding.outbound.clone(), self.meter.clone());
        let plugin = self.identity.plugin.clone();
        let first_byte = options.and_then(|options| options.first_byte_timeout);
        let sending = self.outside.spawn(async move {
            let request = request.map(|body| -> Option<Body> {
                if body.is_end_stream() {
                    return None;
                }
                Some(Box::pin(OutgoingBody(Counted::new(body, meter.clone()))))
            });
            let sent = outbound.send(request);
            let response = match first_byte {
                Some(limit) => tokio::time::timeout(limit, sent)
                    .await
                    .unwrap_or_else(|_| Err(OutboundError::TimedOut(format!("no answer within {limit:?}")))),
                None => sent.await,
            };
            let response = response.map_err(|error| {
                tracing::debug!(plugin, %error, "a plugin's request failed");
                wasi_error(&error)
            })?;
            Ok::<_, Error>(response.map(|body| Counted::new(IncomingBody(body), meter).boxed_unsync()))
        });
        // Dropped with the guest's handle, and the request with it.
        let sending = AbortOnDropHandle::new(sending);
        Box::new(async move {
            let response = sending
                .await
                .map_err(|error| Error::InternalError(Some(error.to_string())))??;
            Ok((
                response,
                Box::new(std::future::ready(Ok(()))) as Box<dyn Future<Output = _> + Send>,
            ))
        })
    }
}

/// What a guest is told. The first three mean that nothing was sent.
fn wasi_error(error: &OutboundError) -> Error {
    match error {
        OutboundError::Denied(_) => Error::HttpRequestDenied,
        OutboundError::Unreachable(_) => Error::DestinationUnavailable,
        OutboundError::TimedOut(_) => Error::ConnectionReadTimeout,
        OutboundError::Interrupted(_) => Error::ConnectionTerminated,
    }
}

/// A body whose bytes count against the call's limit.
struct Counted<B> {
    body: B,
    meter: Arc<Meter>,
}

impl<B> Counted<B> {
    fn new(body: B, meter: Arc<Meter>) -> Self {
        Self { body, meter }
    }
}

impl<B: HttpBody<Data = Bytes, Error = Error> + Unpin> HttpBody for Counted<B> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let bytes = frame
            .as_ref()
            .and_then(|frame| frame.as_ref().ok()?.data_ref())
            .map_or(0, Bytes::len);
        Poll::Ready(match self.meter.count_request_bytes(bytes) {
            Ok(()) => frame,
            Err(limit) => Some(Err(Error::InternalError(Some(limit.to_string())))),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// A guest's body as the server reads it. Trailers are left out.
struct OutgoingBody(Counted<WasiBody>);

impl futures_util::Stream for OutgoingBody {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match ready!(Pin::new(&mut self.0).poll_frame(context)) {
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error.to_string().into()))),
                None => return Poll::Ready(None),
            }
        }
    }
}

/// A response's body as the guest reads it.
struct IncomingBody(Body);

impl HttpBody for IncomingBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let bytes = ready!(self.0.poll_next_unpin(context));
        Poll::Ready(bytes.map(|bytes| bytes.map(Frame::data).map_err(|_| Error::ConnectionTerminated)))
    }
}
