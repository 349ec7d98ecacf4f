//! WebSocket connections (RFC 6455) that the host holds for a guest.

use futures_util::{SinkExt as _, StreamExt as _, stream::SplitSink};
use http::{HeaderName, HeaderValue};
use tokio::sync::mpsc;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self,
        client::IntoClientRequest as _,
        protocol::{CloseFrame as WireCloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};
use tokio_util::task::AbortOnDropHandle;
use url::Url;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use crate::{
    Dialled, Duplex, OutboundError,
    abi::since_0_1_0::llmring::plugin::{
        types::HostError,
        websocket::{self, CloseFrame, Message, WebsocketError},
    },
    state::State,
};

type Stream = WebSocketStream<Box<dyn Duplex>>;

/// Messages that wait for the guest; when there are more, the peer waits.
const INBOX: usize = 16;

/// One open connection.
#[expect(unreachable_pub, reason = "the bindings re-export it")]
pub struct Connection {
    sink: SplitSink<Stream, tungstenite::Message>,
    inbox: mpsc::Receiver<Result<Message, WebsocketError>>,
    /// What was found while waiting, and how the connection ended once it has.
    found: Option<Result<Message, WebsocketError>>,
    subprotocol: Option<String>,
    /// Reads (and so answers pings) whether the guest does or not; it ends with the connection.
    _reader: AbortOnDropHandle<()>,
}

impl Connection {
    fn new(stream: Stream, subprotocol: Option<String>, outside: &tokio::runtime::Handle) -> Self {
        let (sink, mut messages) = stream.split();
        let (sender, inbox) = mpsc::channel(INBOX);
        let reader = outside.spawn(async move {
            let ended = loop {
                let message = match messages.next().await {
                    Some(Ok(tungstenite::Message::Text(text))) => Message::Text(text.as_str().to_owned()),
                    Some(Ok(tungstenite::Message::Binary(bytes))) => Message::Binary(bytes.into()),
                    Some(Ok(tungstenite::Message::Close(frame))) => {
                        break frame.map(|frame| CloseFrame {
                            code: frame.code.into(),
                            reason: frame.reason.as_str().to_owned(),
                        });
                    }
                    Some(Ok(_)) => continue,
                    Some(Err(_)) | None => break None,
                };
                if sender.send(Ok(message)).await.is_err() {
                    return;
                }
            };
            // Nobody may be listening any more, and then nobody needs to know.
            _ = sender.send(Err(WebsocketError::Ended(ended))).await;
        });
        Self {
            sink,
            inbox,
            found: None,
            subprotocol,
            _reader: AbortOnDropHandle::new(reader),
        }
    }

    fn receive(&mut self) -> Result<Option<Message>, WebsocketError> {
        if self.found.is_none() {
            self.found = match self.inbox.try_recv() {
                Ok(message) => Some(message),
                Err(mpsc::error::TryRecvError::Empty) => return Ok(None),
                Err(mpsc::error::TryRecvError::Disconnected) => Some(Err(WebsocketError::Ended(None))),
            };
        }
        match self.found.take() {
            Some(Err(ended)) => {
                self.found = Some(Err(ended.clone()));
                Err(ended)
            }
            Some(Ok(message)) => Ok(Some(message)),
            None => Ok(None),
        }
    }
}

#[async_trait::async_trait]
impl Pollable for Connection {
    async fn ready(&mut self) {
        if self.found.is_none() {
            let message = self.inbox.recv().await;
            self.found = Some(message.unwrap_or(Err(WebsocketError::Ended(None))));
        }
    }
}

impl websocket::Host for State {}

impl websocket::HostConnection for State {
    async fn connect(
        &mut self,
        url: String,
        headers: Vec<(String, String)>,
        subprotocols: Vec<String>,
    ) -> wasmtime::Result<Result<Resource<Connection>, WebsocketError>> {
        match self.open(&url, headers, subprotocols).await {
            Ok(connection) => Ok(Ok(self.table.push(connection)?)),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn subprotocol(&mut self, handle: Resource<Connection>) -> wasmtime::Result<Option<String>> {
        Ok(self.table.get(&handle)?.subprotocol.clone())
    }

    async fn send(
        &mut self,
        handle: Resource<Connection>,
        message: Message,
    ) -> wasmtime::Result<Result<(), WebsocketError>> {
        let message = match message {
            Message::Text(text) => tungstenite::Message::text(text),
            Message::Binary(bytes) => tungstenite::Message::binary(bytes),
        };
        let bytes = message.len();
        if let Err(limit) = self.meter.count_request_bytes(bytes) {
            return Ok(Err(WebsocketError::Host(HostError::LimitExceeded(
                limit.to_string(),
            ))));
        }
        let connection = self.table.get_mut(&handle)?;
        Ok(connection.sink.send(message).await.map_err(|error| ended(&error)))
    }

    async fn receive(
        &mut self,
        handle: Resource<Connection>,
    ) -> wasmtime::Result<Result<Option<Message>, WebsocketError>> {
        Ok(self.table.get_mut(&handle)?.receive())
    }

    async fn subscribe(&mut self, handle: Resource<Connection>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(&mut self.table, handle)
    }

    async fn close(
        &mut self,
        handle: Resource<Connection>,
        frame: CloseFrame,
    ) -> wasmtime::Result<Result<(), WebsocketError>> {
        let frame = WireCloseFrame {
            code: CloseCode::from(frame.code),
            reason: frame.reason.into(),
        };
        let connection = self.table.get_mut(&handle)?;
        let closing = tungstenite::Message::Close(Some(frame));
        Ok(connection.sink.send(closing).await.map_err(|error| ended(&error)))
    }

    async fn drop(&mut self, handle: Resource<Connection>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

impl State {
    async fn open(
        &mut self,
        url: &str,
        headers: Vec<(String, String)>,
        subprotocols: Vec<String>,
    ) -> Result<Connection, WebsocketError> {
        let failed = |message: String| WebsocketError::Host(HostError::Failed(message));
        let parsed = Url::parse(url).map_err(|error| failed(format!("{url:?} is not a URL: {error}")))?;
        if !matches!(parsed.scheme(), "ws" | "wss") {
            return Err(failed(format!("{url:?} is not a WebSocket's URL")));
        }
        if let Err(line) = self
            .identity
            .grants
            .check_url(&parsed, self.binding.endpoint.as_ref())
        {
            let origin = parsed.origin().ascii_serialization();
            let denial = self
                .identity
                .deny(&self.meter, &format!("a connection to {origin}"), &line);
            return Err(WebsocketError::Host(HostError::Denied(denial)));
        }
        if let Err(limit) = self.meter.count_request() {
            return Err(WebsocketError::Host(HostError::LimitExceeded(limit.to_string())));
        }

        let mut request = parsed
            .as_str()
            .into_client_request()
            .map_err(|error| failed(error.to_string()))?;
        for (name, value) in headers {
            let name = HeaderName::try_from(&name)
                .map_err(|_| failed(format!("{name:?} is not a header's name")))?;
            let value = HeaderValue::try_from(value)
                .map_err(|_| failed(format!("the value of {name} is not one")))?;
            request.headers_mut().append(name, value);
        }
        if !subprotocols.is_empty() {
            let list = HeaderValue::try_from(subprotocols.join(", "))
                .map_err(|_| failed("a subprotocol's name is not one".to_owned()))?;
            request
                .headers_mut()
                .insert(http::header::SEC_WEBSOCKET_PROTOCOL, list);
        }

        let outbound = self.binding.outbound.clone();
        let largest = self.meter.limits.result_bytes;
        // On the server's runtime, where the connection's reader will be.
        let dialling = self.outside.spawn(async move {
            let Dialled {
                stream,
                headers: secret,
            } = outbound.dial(&parsed).await.map_err(|error| match error {
                OutboundError::Denied(message) => WebsocketError::Host(HostError::Denied(message)),
                OutboundError::Unreachable(message)
                | OutboundError::TimedOut(message)
                | OutboundError::Interrupted(message) => WebsocketError::Unreachable(message),
            })?;
            request.headers_mut().extend(secret);
            let config = WebSocketConfig::default()
                .max_message_size(Some(largest))
                .max_frame_size(Some(largest));
            tokio_tungstenite::client_async_with_config(request, stream, Some(config))
                .await
                .map_err(|error| match error {
                    tungstenite::Error::Http(response) => {
                        WebsocketError::Rejected(response.status().as_u16())
                    }
                    error => WebsocketError::Unreachable(error.to_string()),
                })
        });
        let dialled = AbortOnDropHandle::new(dialling).await;
        let (stream, response) = dialled.map_err(|error| failed(error.to_string()))??;
        let subprotocol = response.headers().get(http::header::SEC_WEBSOCKET_PROTOCOL);
        let subprotocol = subprotocol
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        Ok(Connection::new(stream, subprotocol, &self.outside))
    }
}

/// How a connection that cannot be sent on ended.
fn ended(error: &tungstenite::Error) -> WebsocketError {
    match error {
        tungstenite::Error::Capacity(error) => {
            WebsocketError::Host(HostError::LimitExceeded(error.to_string()))
        }
        _ => WebsocketError::Ended(None),
    }
}
