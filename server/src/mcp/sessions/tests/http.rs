//! Over Streamable HTTP.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Barrier, mpsc};
use url::Url;

use super::*;
use crate::mcp::peer::{Auth, Secret};

/// A request as a server saw it.
#[derive(Clone, Debug)]
struct Seen {
    verb: String,
    headers: HashMap<String, String>,
    text: String,
    body: Value,
}

impl Seen {
    fn method(&self) -> &str {
        self.body["method"].as_str().unwrap_or_default()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// A JSON answer with `result`.
    fn result(&self, result: Value) -> Reply {
        json_reply(
            200,
            &json!({"jsonrpc": "2.0", "id": self.body["id"], "result": result}),
        )
    }

    /// The event that carries `result`.
    fn event(&self, result: Value) -> String {
        event(&json!({"jsonrpc": "2.0", "id": self.body["id"], "result": result}))
    }
}

fn event(message: &Value) -> String {
    format!("event: message\ndata: {message}\n\n")
}

/// What a server does with a request.
enum Reply {
    /// A whole answer: status, headers, body.
    Whole(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// A stream of events that ends.
    Events(String),
    /// A stream of events that is held open.
    Open(String),
    /// Bytes as they are, and the end of the connection.
    Raw(Vec<u8>),
    /// An answer in JSON that waits for as many others as the barrier counts.
    Together(Arc<Barrier>, Value),
}

fn json_reply(status: u16, body: &Value) -> Reply {
    let headers = vec![("content-type", "application/json; charset=utf-8".to_owned())];
    Reply::Whole(status, headers, body.to_string().into_bytes())
}

fn status(status: u16) -> Reply {
    Reply::Whole(status, Vec::new(), Vec::new())
}

/// An HTTP server that does what a function says.
struct HttpPeer {
    url: Url,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// Hears of each held stream that the client closed.
    closed: tokio::sync::Mutex<mpsc::UnboundedReceiver<()>>,
}

impl HttpPeer {
    async fn start(reply: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/mcp", listener.local_addr().expect("an address"));
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (closing, closed) = mpsc::unbounded_channel();
        let reply = Arc::new(reply);
        tokio::spawn({
            let seen = seen.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, seen.clone(), reply.clone(), closing.clone()));
                }
            }
        });
        Self {
            url: Url::parse(&url).expect("a URL"),
            seen,
            closed: tokio::sync::Mutex::new(closed),
        }
    }

    /// The requests so far, by JSON-RPC method or, without one, by verb.
    fn methods(&self) -> Vec<String> {
        let seen = self.seen.lock().expect("a lock");
        seen.iter()
            .map(|seen| match seen.method() {
                "" => seen.verb.clone(),
                method => method.to_owned(),
            })
            .collect()
    }

    fn count(&self, method: &str) -> usize {
        self.methods().iter().filter(|seen| *seen == method).count()
    }

    fn last(&self, method: &str) -> Seen {
        let seen = self.seen.lock().expect("a lock");
        seen.iter()
            .rev()
            .find(|seen| seen.method() == method || (seen.method().is_empty() && seen.verb == method))
            .cloned()
            .expect(method)
    }

    fn peer(&self) -> Peer {
        peer(Endpoint::StreamableHttp(self.url.clone()))
    }

    async fn stream_closed(&self) {
        let mut closed = self.closed.lock().await;
        tokio::time::timeout(LONG, closed.recv())
            .await
            .expect("in time")
            .expect("a closed stream");
    }
}

async fn serve(
    mut stream: TcpStream,
    all: Arc<Mutex<Vec<Seen>>>,
    reply: Arc<impl Fn(&Seen) -> Reply>,
    closing: mpsc::UnboundedSender<()>,
) {
    let mut buffer = Vec::new();
    while let Some(seen) = read_request(&mut stream, &mut buffer).await {
        all.lock().expect("a lock").push(seen.clone());
        let reply = match reply(&seen) {
            Reply::Together(barrier, body) => {
                barrier.wait().await;
                json_reply(200, &body)
            }
            other => other,
        };
        let (bytes, goes_on, held) = match reply {
            Reply::Together(..) => unreachable!("replaced above"),
            Reply::Whole(status, headers, body) => {
                let mut head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
                for (name, value) in headers {
                    head += &format!("{name}: {value}\r\n");
                }
                ([head.into_bytes(), b"\r\n".to_vec(), body].concat(), true, false)
            }
            Reply::Events(events) => (stream_of(&events), false, false),
            Reply::Open(events) => (stream_of(&events), false, true),
            Reply::Raw(bytes) => (bytes, false, false),
        };
        if stream.write_all(&bytes).await.is_err() || !goes_on {
            if held {
                let mut nothing = [0];
                let _ = stream.read(&mut nothing).await;
                let _ = closing.send(());
            }
            return;
        }
    }
}

fn stream_of(events: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{events}").into()
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Seen> {
    let head_end = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer[..head_end].to_vec()).ok()?;
    let mut lines = head.lines();
    let verb = lines.next()?.split(' ').next()?.to_owned();
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers
        .get("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    while buffer.len() < head_end + length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let text = String::from_utf8(buffer[head_end..head_end + length].to_vec()).ok()?;
    buffer.drain(..head_end + length);
    Some(Seen {
        verb,
        headers,
        body: serde_json::from_str(&text).unwrap_or_default(),
        text,
    })
}

/// A server of 2025-11-25 that keeps sessions and answers in JSON; `None` for a call of a tool.
fn legacy(seen: &Seen) -> Option<Reply> {
    Some(match (seen.verb.as_str(), seen.method()) {
        ("GET", _) => status(405),
        ("DELETE", _) | (_, "notifications/initialized" | "notifications/cancelled") => status(202),
        (_, "server/discover") => status(400),
        (_, "initialize") => {
            let result = json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                "serverInfo": {"name": "peer", "version": "1"}});
            match seen.result(result) {
                Reply::Whole(status, mut headers, body) => {
                    headers.push(("mcp-session-id", "session-1".into()));
                    Reply::Whole(status, headers, body)
                }
                other => other,
            }
        }
        (_, "tools/list") => seen.result(json!({"tools": [{"name": "echo", "inputSchema": {}, "x": 1}]})),
        _ => return None,
    })
}

/// A server of 2026-07-28; `None` for a call of a tool.
fn modern(seen: &Seen) -> Option<Reply> {
    Some(match seen.method() {
        "server/discover" => seen.result(json!({
            "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}},
            "ttlMs": 0, "cacheScope": "private"})),
        "tools/list" => {
            seen.result(json!({"resultType": "complete", "tools": [], "ttlMs": 0, "cacheScope": "private"}))
        }
        "tools/call" => return None,
        other => panic!("not of this version: {other}"),
    })
}

fn sessions(adjust: impl FnOnce(&mut McpConfig)) -> Sessions {
    let mut config = config();
    adjust(&mut config);
    start(&config)
}

/// A server of 2025-11-25 whose tools do what `reply` says.
async fn server(reply: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> HttpPeer {
    HttpPeer::start(move |seen| legacy(seen).unwrap_or_else(|| reply(seen))).await
}

fn done() -> Value {
    json!({"content": [{"type": "text", "text": "\"done\""}]})
}

#[tokio::test]
async fn a_server_with_sessions_hears_its_id_and_version_until_the_end() {
    let server = server(|seen| {
        let result =
            json!({"content": [{"type": "hologram", "x": [1.5]}], "y": seen.body["params"]["arguments"]});
        match seen.body["params"]["name"].as_str() {
            Some("streamed") => Reply::Events(format!(
                ": hello\n\n{}{}",
                event(&json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {}})),
                seen.event(result)
            )),
            _ => seen.result(result),
        }
    })
    .await;
    let sessions = sessions(|_| {});
    let peer = server.peer();
    let discovery = sessions.discover(&peer).await.expect("a discovery");
    assert_eq!(discovery.protocol_version, "2025-11-25");
    assert_eq!(
        discovery.tools,
        [json!({"name": "echo", "inputSchema": {}, "x": 1})]
    );
    for name in ["whole", "streamed"] {
        let result = sessions
            .call_tool(&peer, tool(name, json!({"a": "ü"})), |_| {})
            .await
            .expect(name);
        assert_eq!(
            result,
            json!({"content": [{"type": "hologram", "x": [1.5]}], "y": {"a": "ü"}}),
            "{name}"
        );
        let seen = server.last("tools/call");
        assert_eq!(seen.header("mcp-session-id"), Some("session-1"));
        assert_eq!(seen.header("mcp-protocol-version"), Some("2025-11-25"));
        assert_eq!(seen.header("mcp-method"), None);
    }
    assert_eq!(server.last("initialize").header("mcp-protocol-version"), None);
    sessions.shutdown().await;
    assert_eq!(server.last("DELETE").header("mcp-session-id"), Some("session-1"));
    assert_eq!(sessions.open_sessions(), 0);
}

#[tokio::test]
async fn the_newest_version_has_no_session_and_routes_by_headers() {
    let server = HttpPeer::start(|seen| modern(seen).unwrap_or_else(|| seen.result(done()))).await;
    let sessions = sessions(|_| {});
    let peer = server.peer();
    assert_eq!(
        sessions
            .discover(&peer)
            .await
            .expect("a discovery")
            .protocol_version,
        "2026-07-28"
    );
    let mut marked = tool("go", json!({"region": "eu"}));
    marked.input_schema =
        Some(json!({"properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}));
    sessions.call_tool(&peer, marked, |_| {}).await.expect("a result");
    let seen = server.last("tools/call");
    for (name, value) in [
        ("mcp-protocol-version", Some("2026-07-28")),
        ("mcp-method", Some("tools/call")),
        ("mcp-name", Some("go")),
        ("mcp-param-region", Some("eu")),
        ("mcp-session-id", None),
    ] {
        assert_eq!(seen.header(name), value, "{name}");
    }
    sessions.shutdown().await;
    assert_eq!(server.methods(), ["server/discover", "tools/list", "tools/call"]);
}

#[tokio::test]
async fn dropping_a_call_tells_a_server_with_sessions_and_closes_the_stream_of_any_other() {
    let hanging = |seen: &Seen| match seen.body["params"]["name"].as_str() {
        Some("hang") => Reply::Open(": waiting\n\n".into()),
        _ => seen.result(done()),
    };
    for is_modern in [false, true] {
        let server = HttpPeer::start(move |seen| {
            let greeted = if is_modern { modern(seen) } else { legacy(seen) };
            greeted.unwrap_or_else(|| hanging(seen))
        })
        .await;
        let sessions = sessions(|_| {});
        let peer = server.peer();
        call(&sessions, &peer, "quick").await.expect("a result");
        let mut call = tool("hang", json!({}));
        call.timeout = Duration::from_millis(300);
        let failure = sessions
            .call_tool(&peer, call, |_| {})
            .await
            .expect_err("it hangs");
        assert!(matches!(failure, Failure::TimedOut(_)), "{failure}");
        server.stream_closed().await;
        sessions.shutdown().await;
        let told = server.count("notifications/cancelled");
        assert_eq!(told, usize::from(!is_modern));
    }
}

#[tokio::test]
async fn whatever_goes_wrong_the_call_is_sent_once_and_its_end_is_told_truly() {
    type Check = fn(&Failure) -> bool;
    let unreachable: Check = |failure| matches!(failure, Failure::Unreachable(_));
    let lost: Check = |failure| matches!(failure, Failure::Lost(_));
    let malformed: Check = |failure| matches!(failure, Failure::Malformed(_));
    let limit: Check = |failure| matches!(failure, Failure::LimitExceeded(_));
    let rpc: Check = |failure| matches!(failure, Failure::Rpc { code: -32000, .. });
    let whole = |media_type: &str, body: &str| {
        Reply::Whole(200, vec![("content-type", media_type.to_owned())], body.into())
    };
    type Make = Box<dyn Fn(&Seen) -> Reply + Send + Sync>;
    let cases: Vec<(&str, Make, Check)> = vec![
        ("401", Box::new(|_| status(401)), unreachable),
        ("403", Box::new(|_| status(403)), unreachable),
        ("404", Box::new(|_| status(404)), unreachable),
        ("429", Box::new(|_| status(429)), unreachable),
        ("500", Box::new(|_| status(500)), lost),
        ("503", Box::new(|_| status(503)), unreachable),
        ("202", Box::new(|_| status(202)), malformed),
        (
            "an error with a status",
            Box::new(|_| {
                json_reply(
                    400,
                    &json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32000, "message": "no"}}),
                )
            }),
            rpc,
        ),
        (
            "a page",
            Box::new(move |_| whole("text/html", "<h1>Hello</h1>")),
            malformed,
        ),
        (
            "broken JSON",
            Box::new(move |_| whole("application/json", "{\"jsonrpc\":")),
            malformed,
        ),
        (
            "not JSON-RPC",
            Box::new(move |_| whole("application/json", "{}")),
            malformed,
        ),
        (
            "another answer",
            Box::new(move |_| whole("application/json", r#"{"jsonrpc":"2.0","id":99,"result":{}}"#)),
            malformed,
        ),
        (
            "a result that is no object",
            Box::new(|seen| seen.result(json!(1))),
            malformed,
        ),
        (
            "too large",
            Box::new(|seen| seen.result(json!({"x": "x".repeat(20_000)}))),
            limit,
        ),
        (
            "too large, without a length",
            Box::new(|_| {
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n";
                Reply::Raw([head.as_bytes(), &vec![b' '; 200_000]].concat())
            }),
            limit,
        ),
        (
            "an event that is too large",
            Box::new(|_| Reply::Open(format!("data: {}", "x".repeat(20_000)))),
            limit,
        ),
        (
            "a flood",
            Box::new(|_| {
                Reply::Open(event(&json!({"jsonrpc": "2.0", "method": "notifications/x"})).repeat(500))
            }),
            limit,
        ),
        (
            "a broken event",
            Box::new(|_| Reply::Open("data: {\"jsonrpc\":\n\n".into())),
            malformed,
        ),
        (
            "an empty stream",
            Box::new(|_| Reply::Events(String::new())),
            lost,
        ),
        ("silence and the end", Box::new(|_| Reply::Raw(Vec::new())), lost),
        (
            "half an answer",
            Box::new(|_| {
                Reply::Raw(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"
                        .to_vec(),
                )
            }),
            lost,
        ),
        (
            "user input is asked for",
            Box::new(|seen| seen.result(json!({"resultType": "input_required", "inputRequests": {}}))),
            malformed,
        ),
    ];
    for (what, reply, is_expected) in cases {
        let server = server(move |seen| match seen.body["params"]["name"].as_str() {
            Some("fails") => reply(seen),
            _ => seen.result(done()),
        })
        .await;
        let sessions = sessions(|config| {
            config.max_message_bytes = 10_000;
            config.max_notifications = 10;
        });
        let peer = server.peer();
        let failure = call(&sessions, &peer, "fails").await.expect_err(what);
        assert!(is_expected(&failure), "{what}: {failure}");
        assert_eq!(server.count("tools/call"), 1, "{what}");
        call(&sessions, &peer, "works").await.expect(what);
        assert_eq!(server.count("tools/call"), 2, "{what}");
        sessions.shutdown().await;
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_was_not_reached() {
    let server = HttpPeer::start(|_| Reply::Raw(Vec::new())).await;
    let sessions = sessions(|_| {});
    let mut absent = server.peer();
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = nobody.local_addr().expect("an address");
    drop(nobody);
    absent.endpoint = Endpoint::StreamableHttp(Url::parse(&format!("http://{address}/")).expect("a URL"));
    for peer in [absent, server.peer()] {
        let failure = call(&sessions, &peer, "x").await.expect_err("not there");
        assert!(matches!(failure, Failure::Unreachable(_)), "{failure}");
    }
    assert_eq!(server.count("tools/call"), 0);
    sessions.shutdown().await;
}

#[tokio::test]
async fn a_session_that_the_server_forgot_is_replaced_by_the_next_call() {
    let forgotten = Arc::new(AtomicUsize::new(0));
    let server = server({
        let forgotten = forgotten.clone();
        move |seen| match forgotten.swap(0, Ordering::SeqCst) {
            0 => seen.result(done()),
            _ => status(404),
        }
    })
    .await;
    let sessions = sessions(|_| {});
    let peer = server.peer();
    call(&sessions, &peer, "x").await.expect("a result");
    forgotten.store(1, Ordering::SeqCst);
    let failure = call(&sessions, &peer, "x").await.expect_err("forgotten");
    assert!(matches!(failure, Failure::Unreachable(_)), "{failure}");
    assert_eq!(server.count("tools/call"), 2);
    call(&sessions, &peer, "x").await.expect("a result");
    assert_eq!((server.count("initialize"), server.count("tools/call")), (2, 3));
    sessions.shutdown().await;
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_taken_up_again_without_calling_twice() {
    let asked: Arc<Mutex<Option<Seen>>> = Arc::default();
    let server = HttpPeer::start({
        let asked = asked.clone();
        move |seen| match (seen.verb.as_str(), seen.header("last-event-id"), seen.method()) {
            ("GET", Some("7"), _) => {
                let asked = asked.lock().expect("a lock").clone().expect("a call");
                Reply::Events(asked.event(done()))
            }
            (_, _, "tools/call") => {
                *asked.lock().expect("a lock") = Some(seen.clone());
                Reply::Events("id: 7\nretry: 1\ndata:\n\n".into())
            }
            _ => legacy(seen).expect("a greeting"),
        }
    })
    .await;
    let sessions = sessions(|_| {});
    let result = call(&sessions, &server.peer(), "x").await.expect("a result");
    assert_eq!(result, done());
    assert_eq!(server.count("tools/call"), 1);
    assert_eq!(server.last("GET").header("mcp-session-id"), Some("session-1"));
    sessions.shutdown().await;
}

#[tokio::test]
async fn redirects_are_not_followed_and_carry_no_credentials_anywhere() {
    let elsewhere = HttpPeer::start(|seen| legacy(seen).unwrap_or_else(|| seen.result(done()))).await;
    for location in [
        elsewhere.url.to_string(),
        "http://169.254.169.254/latest/meta-data".into(),
    ] {
        for code in [301, 302, 303, 307, 308] {
            let location = location.clone();
            let server = HttpPeer::start(move |_| {
                Reply::Whole(code, vec![("location", location.clone())], Vec::new())
            })
            .await;
            let sessions = sessions(|_| {});
            let mut peer = server.peer();
            peer.auth = Some(Auth::Bearer(Secret::new("hush")));
            let failure = call(&sessions, &peer, "x").await.expect_err("a redirect");
            assert!(
                matches!(&failure, Failure::Unreachable(reason) if reason.contains("redirects are not followed")),
                "{failure}"
            );
            sessions.shutdown().await;
        }
    }
    assert!(elsewhere.methods().is_empty());
}

#[tokio::test]
async fn where_callers_may_connect_is_the_operators_choice() {
    let server = server(|seen| seen.result(done())).await;
    let port = server.url.port().expect("a port");
    for (policy, host, is_permitted) in [
        (EgressPolicy::Private, "127.0.0.1", true),
        (EgressPolicy::Private, "localhost", true),
        (EgressPolicy::Private, "169.254.169.254", false),
        (EgressPolicy::Private, "[fd00:ec2::254]", false),
        (EgressPolicy::Private, "[::ffff:169.254.169.254]", false),
        (EgressPolicy::Private, "[64:ff9b::a9fe:a9fe]", false),
        (EgressPolicy::Public, "127.0.0.1", false),
        (EgressPolicy::Public, "0x7f.1", false),
        (EgressPolicy::Public, "2130706433", false),
        (EgressPolicy::Public, "localhost", false),
        (EgressPolicy::Public, "[::1]", false),
        (EgressPolicy::Public, "10.0.0.1", false),
        (EgressPolicy::Public, "100.64.0.1", false),
    ] {
        let sessions = sessions(|config| config.egress = policy);
        let url = Url::parse(&format!("http://{host}:{port}/mcp")).expect("a URL");
        let outcome = call(&sessions, &peer(Endpoint::StreamableHttp(url)), "x").await;
        if is_permitted {
            outcome.expect(host);
        } else {
            let failure = outcome.expect_err(host);
            assert!(
                matches!(
                    &failure,
                    Failure::Denied {
                        setting: "LLMRING_MCP_EGRESS",
                        ..
                    }
                ),
                "{host}: {failure}"
            );
            // Nobody learns from a refusal what a name resolves to.
            assert!(!failure.to_string().contains("127."), "{failure}");
        }
        sessions.shutdown().await;
    }
}

#[tokio::test]
async fn credentials_are_sent_with_every_request_and_shown_nowhere() {
    for (auth, header, value) in [
        (Auth::Bearer(Secret::new("hush")), "authorization", "Bearer hush"),
        (
            Auth::Basic {
                username: "ada".into(),
                password: Secret::new("hush"),
            },
            "authorization",
            "Basic YWRhOmh1c2g=",
        ),
        (
            Auth::Header {
                name: "X-Token".into(),
                value: Secret::new("hush"),
            },
            "x-token",
            "hush",
        ),
    ] {
        let server = server(|_| status(500)).await;
        let sessions = sessions(|_| {});
        let mut peer = server.peer();
        peer.auth = Some(auth);
        let failure = call(&sessions, &peer, "x").await.expect_err("500");
        assert!(!format!("{failure:?}{peer:?}{sessions:?}").contains("hush"));
        sessions.shutdown().await;
        let seen = server.seen.lock().expect("a lock").clone();
        assert!(seen.len() >= 4, "a whole session");
        assert!(seen.iter().all(|seen| seen.header(header) == Some(value)));
    }
    let sessions = sessions(|_| {});
    let server = server(|seen| seen.result(done())).await;
    for (name, value) in [
        ("Host", "a"),
        ("Mcp-Session-Id", "a"),
        ("a b", "a"),
        ("X-A", "a\r\nX-B: b"),
    ] {
        let mut peer = server.peer();
        peer.auth = Some(Auth::Header {
            name: name.into(),
            value: Secret::new(value),
        });
        let failure = call(&sessions, &peer, "x").await.expect_err(name);
        assert!(matches!(failure, Failure::Unreachable(_)), "{failure}");
    }
    assert!(server.methods().is_empty());
}

/// An authorization server that numbers its tokens.
async fn authorization(expires_in: Value) -> HttpPeer {
    let issued = AtomicUsize::new(0);
    HttpPeer::start(move |_| {
        let number = issued.fetch_add(1, Ordering::SeqCst);
        json_reply(
            200,
            &json!({"access_token": format!("token-{number}"), "token_type": "Bearer", "expires_in": expires_in}),
        )
    })
    .await
}

fn client_credentials(authorization: &HttpPeer) -> Auth {
    Auth::OauthClientCredentials {
        token_url: authorization.url.clone(),
        client_id: "an id".into(),
        client_secret: Secret::new("hush&hush"),
        scope: Some("read write".into()),
        resource: Some("https://mcp.example/".into()),
    }
}

#[tokio::test]
async fn a_token_is_fetched_once_and_kept_while_it_is_good() {
    let authorization = authorization(json!(3600)).await;
    let server = server(|seen| seen.result(done())).await;
    let sessions = sessions(|_| {});
    let mut peer = server.peer();
    peer.auth = Some(client_credentials(&authorization));
    let calls = (0..8).map(|_| call(&sessions, &peer, "x"));
    for result in futures_util::future::join_all(calls).await {
        result.expect("a result");
    }
    sessions.shutdown().await;
    let asked = authorization.seen.lock().expect("a lock").clone();
    assert_eq!(asked.len(), 1);
    assert_eq!(
        asked[0].text,
        "grant_type=client_credentials&scope=read+write&resource=https%3A%2F%2Fmcp.example%2F"
    );
    // RFC 6749 section 2.3.1: both are form-encoded first.
    assert_eq!(
        asked[0].header("authorization"),
        Some("Basic YW4raWQ6aHVzaCUyNmh1c2g=")
    );
    let seen = server.seen.lock().expect("a lock").clone();
    assert!(
        seen.iter()
            .all(|seen| seen.header("authorization") == Some("Bearer token-0"))
    );
}

#[tokio::test]
async fn a_token_is_renewed_before_it_expires_and_once_after_a_refusal() {
    // A life of nothing is over before each request.
    let short_lived = authorization(json!(0)).await;
    let server_of_short = server(|seen| seen.result(done())).await;
    let all = sessions(|_| {});
    let mut peer = server_of_short.peer();
    peer.auth = Some(client_credentials(&short_lived));
    call(&all, &peer, "x").await.expect("a result");
    let first = server_of_short
        .last("tools/call")
        .header("authorization")
        .map(ToOwned::to_owned);
    call(&all, &peer, "x").await.expect("a result");
    let second = server_of_short
        .last("tools/call")
        .header("authorization")
        .map(ToOwned::to_owned);
    assert_ne!(first, second);
    assert_eq!(server_of_short.count("tools/call"), 2);

    let revoked = authorization(json!(3600)).await;
    let server = server(|seen| match seen.header("authorization") {
        Some("Bearer token-0") => status(401),
        _ => seen.result(done()),
    })
    .await;
    let mut peer = server.peer();
    peer.auth = Some(client_credentials(&revoked));
    call(&all, &peer, "x").await.expect("the second token is good");
    assert_eq!(revoked.methods().len(), 2);
    assert_eq!(server.count("tools/call"), 2, "refused once, sent once more");

    let refusing = HttpPeer::start(|_| status(401)).await;
    let mut peer = refusing.peer();
    peer.auth = Some(client_credentials(&authorization(json!(3600)).await));
    let failure = call(&all, &peer, "x").await.expect_err("refused");
    assert!(
        matches!(&failure, Failure::Unreachable(reason) if reason.contains("401")),
        "{failure}"
    );
    assert!(refusing.methods().len() <= 4, "{:?}", refusing.methods());
    all.shutdown().await;
}

#[tokio::test]
async fn without_a_token_nothing_is_sent_and_the_secret_stays_secret() {
    let server = server(|seen| seen.result(done())).await;
    let sessions = sessions(|_| {});
    for reply in [
        (|_: &Seen| {
            json_reply(
                400,
                &json!({"error": "invalid_client", "error_description": "hush&hush"}),
            )
        }) as fn(&Seen) -> Reply,
        |_| status(500),
        |_| json_reply(200, &json!({"no": "token"})),
        |_| {
            Reply::Whole(
                302,
                vec![("location", "http://169.254.169.254/".into())],
                Vec::new(),
            )
        },
        |_| Reply::Raw(Vec::new()),
    ] {
        let authorization = HttpPeer::start(reply).await;
        let mut peer = server.peer();
        peer.server = Uuid::now_v7();
        peer.auth = Some(client_credentials(&authorization));
        let failure = call(&sessions, &peer, "x").await.expect_err("no token");
        assert!(matches!(failure, Failure::Unreachable(_)), "{failure}");
        assert!(!format!("{failure:?}").contains("hush"), "{failure:?}");
    }
    let mut peer = server.peer();
    let metadata = HttpPeer {
        url: Url::parse("http://169.254.169.254/token").expect("a URL"),
        ..authorization(json!(1)).await
    };
    peer.auth = Some(client_credentials(&metadata));
    let failure = call(&sessions, &peer, "x").await.expect_err("refused");
    assert!(matches!(failure, Failure::Denied { .. }), "{failure}");
    assert!(server.methods().is_empty());
    sessions.shutdown().await;
}

#[tokio::test]
async fn one_opens_the_session_for_all_who_wait_and_sixty_four_calls_run_at_once() {
    const CALLS: usize = 64;
    let barrier = Arc::new(Barrier::new(CALLS));
    let server = server(move |seen| {
        let body = json!({"jsonrpc": "2.0", "id": seen.body["id"], "result": done()});
        Reply::Together(barrier.clone(), body)
    })
    .await;
    let sessions = sessions(|_| {});
    let peer = server.peer();
    let calls = (0..CALLS).map(|_| call(&sessions, &peer, "x"));
    for result in futures_util::future::join_all(calls).await {
        assert_eq!(result.expect("a result"), done());
    }
    assert_eq!(
        (server.count("initialize"), server.count("tools/call")),
        (1, CALLS)
    );
    sessions.shutdown().await;
}
