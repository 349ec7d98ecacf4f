//! Guests that carry messages.

use std::{sync::Arc, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use plugin_host::{
    Binding, Body, Call, CallError, Dialled, Grants, Limit, LimitExceeded, Limits, Outbound, OutboundError,
    Plugin, Transport, TransportError,
};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{self, handshake::server};
use url::Url;

use crate::{call, guests, host, load};

async fn open(limits: Limits) -> Transport {
    let plugin = load(&host(limits), guests::carries_echoes()).await;
    Transport::open(&plugin, "here", call()).unwrap()
}

async fn send(transport: &Transport, message: &str) -> Result<(), TransportError> {
    transport
        .sender()
        .send(
            message.to_owned(),
            vec![("Mcp-Method".to_owned(), "ping".to_owned())],
        )
        .await
}

#[tokio::test]
async fn messages_go_out_with_their_headers_and_come_back() {
    let mut transport = open(Limits::default()).await;
    for n in 0..200 {
        send(&transport, &n.to_string()).await.unwrap();
        assert_eq!(
            transport.receive().await.unwrap(),
            format!("here {n} Mcp-Method=ping")
        );
    }
    transport.close().await.unwrap();
}

#[tokio::test]
async fn a_message_that_fails_ends_its_sender_s_wait_and_nothing_else() {
    let mut transport = open(Limits::default()).await;
    assert_eq!(
        send(&transport, "lost").await,
        Err(TransportError::Interrupted("here".to_owned()))
    );
    assert!(matches!(
        send(&transport, "dropped").await,
        Err(TransportError::Interrupted(_))
    ));
    send(&transport, "fine").await.unwrap();
    assert_eq!(transport.receive().await.unwrap(), "here fine Mcp-Method=ping");
}

#[tokio::test]
async fn a_transport_that_crashes_tells_whoever_waits() {
    let mut transport = open(Limits::default()).await;
    assert!(matches!(
        send(&transport, "crash").await,
        Err(TransportError::Interrupted(_))
    ));
    assert_eq!(transport.receive().await, None);
    let Err(TransportError::Plugin(CallError::Trap(message))) = transport.ended().await else {
        panic!("no trap")
    };
    assert!(message.contains("the transport crashed"), "{message}");
    assert_eq!(send(&transport, "more").await, Err(TransportError::Closed));
}

#[tokio::test]
async fn transports_that_crash_again_and_again_are_not_opened_for_a_while() {
    let limits = Limits {
        breaker_traps: 2,
        ..Limits::default()
    };
    let plugin = load(&host(limits), guests::carries_echoes()).await;
    for _ in 0..2 {
        let mut transport = Transport::open(&plugin, "here", call()).unwrap();
        send(&transport, "crash").await.unwrap_err();
        transport.ended().await.unwrap_err();
    }
    assert_eq!(plugin.counters().traps, 2);
    assert!(matches!(
        Transport::open(&plugin, "here", call()),
        Err(CallError::Broken { .. })
    ));
}

#[tokio::test]
async fn a_transport_that_loops_is_ended() {
    let limits = Limits {
        cpu_time: Duration::from_millis(200),
        ..Limits::default()
    };
    let mut transport = open(limits).await;
    assert!(send(&transport, "spin").await.is_err());
    let limit = LimitExceeded(Limit::CpuTime(Duration::from_millis(200)));
    assert_eq!(
        transport.ended().await,
        Err(TransportError::Plugin(CallError::Limit(limit)))
    );
}

#[tokio::test]
async fn a_transport_has_its_cpu_time_anew_after_each_wait() {
    let limits = Limits {
        cpu_time: Duration::from_millis(20),
        ..Limits::default()
    };
    let mut transport = open(limits).await;
    // Together these take more than the limit, even in a release build.
    for n in 0..3_000 {
        send(&transport, &n.to_string()).await.unwrap();
        transport.receive().await.unwrap();
    }
}

#[tokio::test]
async fn a_peer_that_is_not_read_from_waits() {
    let limits = Limits {
        channel_messages: 4,
        ..Limits::default()
    };
    let transport = open(limits).await;
    let sender = transport.sender();
    let sending = async move {
        let mut sent = 0;
        while sender.send(sent.to_string(), vec![]).await.is_ok() {
            sent += 1;
        }
        sent
    };
    // Nobody receives: four answers wait, the guest waits with the fifth, and no sixth message is accepted.
    let waiting = tokio::spawn(sending);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!waiting.is_finished());
    transport.close().await.unwrap();
    assert!(waiting.await.unwrap() <= 6);
}

#[tokio::test]
async fn closing_waits_no_longer_than_a_moment() {
    let limits = Limits {
        cancel_grace: Duration::from_millis(100),
        ..Limits::default()
    };
    let plugin = load(&host(limits), guests::carries_echoes()).await;
    let transport = Transport::open(&plugin, "here", call()).unwrap();
    let sender = transport.sender();
    let spinning = tokio::spawn(async move { sender.send("spin".to_owned(), vec![]).await });
    tokio::time::sleep(Duration::from_millis(20)).await;
    let error = transport.close().await.unwrap_err();
    assert_eq!(
        error,
        TransportError::Failed("the transport did not close within 100ms".to_owned())
    );
    spinning.await.unwrap().unwrap_err();
    tokio::time::timeout(Duration::from_secs(20), async {
        while plugin.counters().transports != 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn no_more_transports_are_open_than_permitted() {
    let limits = Limits {
        transports: 2,
        ..Limits::default()
    };
    let plugin = load(&host(limits), guests::carries_echoes()).await;
    let first = Transport::open(&plugin, "1", call()).unwrap();
    let second = Transport::open(&plugin, "2", call()).unwrap();
    assert!(matches!(
        Transport::open(&plugin, "3", call()),
        Err(CallError::Busy(_))
    ));
    first.close().await.unwrap();
    let third = Transport::open(&plugin, "3", call()).unwrap();
    assert_eq!(plugin.counters().transports, 2);
    drop((second, third));
}

#[tokio::test]
async fn tools_are_no_transport() {
    let plugin = load(&host(Limits::default()), guests::echoes()).await;
    assert!(matches!(
        Transport::open(&plugin, "x", call()),
        Err(CallError::NotFound(_))
    ));
}

/// A WebSocket peer in memory that repeats what it hears, and closes when it hears `bye`.
struct Peer {
    handshakes: mpsc::UnboundedSender<server::Request>,
}

#[async_trait::async_trait]
impl Outbound for Peer {
    async fn send(&self, _: http::Request<Option<Body>>) -> Result<http::Response<Body>, OutboundError> {
        Err(OutboundError::Denied("only WebSockets".to_owned()))
    }

    async fn dial(&self, _: &Url) -> Result<Dialled, OutboundError> {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let handshakes = self.handshakes.clone();
        tokio::spawn(async move {
            #[expect(clippy::result_large_err, reason = "the callback's type is the crate's")]
            let choose = |request: &server::Request, mut response: server::Response| {
                handshakes.send(request.clone()).unwrap();
                response
                    .headers_mut()
                    .insert("sec-websocket-protocol", "mcp".parse().unwrap());
                Ok(response)
            };
            let mut socket = tokio_tungstenite::accept_hdr_async(theirs, choose).await.unwrap();
            while let Some(Ok(message)) = socket.next().await {
                match message {
                    tungstenite::Message::Text(text) if text == "bye" => socket.close(None).await.unwrap(),
                    message if message.is_text() => socket.send(message).await.unwrap(),
                    _ => {}
                }
            }
        });
        let headers =
            http::HeaderMap::from_iter([(http::header::AUTHORIZATION, "Bearer s3cret".parse().unwrap())]);
        Ok(Dialled {
            stream: Box::new(ours),
            headers,
        })
    }
}

async fn websocket(grants: Grants) -> (Transport, mpsc::UnboundedReceiver<server::Request>) {
    let component = guests::carries_websocket();
    let plugin = Plugin::load(&host(Limits::default()), "websocket", component, grants)
        .await
        .unwrap();
    let (handshakes, seen) = mpsc::unbounded_channel();
    let endpoint = "ws://mcp.example/socket";
    let binding = Binding {
        endpoint: Some(Url::parse(endpoint).unwrap()),
        outbound: Arc::new(Peer { handshakes }),
        ..Binding::none()
    };
    (
        Transport::open(&plugin, endpoint, Call::new("connection-1", Arc::new(binding))).unwrap(),
        seen,
    )
}

#[tokio::test]
async fn a_websocket_is_held_by_the_host_with_the_secret() {
    let (mut transport, mut handshakes) = websocket(Grants::endpoint()).await;
    for n in 0..20 {
        send(&transport, &format!("message {n}")).await.unwrap();
        assert_eq!(transport.receive().await.unwrap(), format!("message {n}"));
    }
    let handshake = handshakes.recv().await.unwrap();
    assert_eq!(handshake.uri().path(), "/socket");
    assert_eq!(handshake.headers()["authorization"], "Bearer s3cret");
    assert_eq!(handshake.headers()["x-own"], "1");
    assert_eq!(handshake.headers()["sec-websocket-protocol"], "mcp");
    transport.close().await.unwrap();
}

#[tokio::test]
async fn a_websocket_that_the_peer_closes_ends_the_transport() {
    let (mut transport, _handshakes) = websocket(Grants::endpoint()).await;
    send(&transport, "bye").await.unwrap();
    assert_eq!(transport.receive().await, None);
    assert!(matches!(
        transport.ended().await,
        Err(TransportError::Interrupted(_))
    ));
}

#[tokio::test]
async fn a_websocket_that_is_not_granted_is_denied() {
    let (mut transport, mut handshakes) = websocket(Grants::default()).await;
    let Err(TransportError::Denied(message)) = transport.ended().await else {
        panic!("it was opened")
    };
    assert!(message.contains("endpoint = true"), "{message}");
    drop(transport);
    assert!(handshakes.recv().await.is_none());
}
