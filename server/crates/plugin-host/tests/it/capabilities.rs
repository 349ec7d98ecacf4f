//! What a plugin can do with nothing granted, with something granted, and what it never sees.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use plugin_host::{
    Binding, Body, Call, CallError, Dialled, Limit, LimitExceeded, Limits, Outbound, OutboundError,
};
use url::Url;

use crate::{guests, host, load, load_with, text};

/// A way out that leads nowhere: it notes what would be sent, adds the row's secret, and answers.
#[derive(Default)]
struct Recorder {
    requests: Mutex<Vec<http::Request<()>>>,
    response_bytes: usize,
    status: Option<u16>,
    failure: Option<OutboundError>,
}

#[async_trait::async_trait]
impl Outbound for Recorder {
    async fn send(
        &self,
        request: http::Request<Option<Body>>,
    ) -> Result<http::Response<Body>, OutboundError> {
        let (mut parts, body) = request.into_parts();
        if let Some(mut body) = body {
            while let Some(bytes) = body.next().await {
                bytes.unwrap();
            }
        }
        parts
            .headers
            .insert("authorization", "Bearer s3cret".parse().unwrap());
        self.requests
            .lock()
            .unwrap()
            .push(http::Request::from_parts(parts, ()));
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let body: Vec<Result<Bytes, _>> = (0..self.response_bytes.div_ceil(1 << 16))
            .map(|_| Ok(Bytes::from(vec![b'x'; self.response_bytes.min(1 << 16)])))
            .collect();
        let response = http::Response::builder()
            .status(self.status.unwrap_or(200))
            .header("location", "http://169.254.169.254/")
            .body(Box::pin(stream::iter(body)) as Body);
        Ok(response.unwrap())
    }

    async fn dial(&self, _: &Url) -> Result<Dialled, OutboundError> {
        Err(OutboundError::Unreachable("nobody is there".to_owned()))
    }
}

/// A call for a row with a URL, a setting and a secret.
fn call(outbound: &Arc<Recorder>) -> Call {
    let configuration = BTreeMap::from([("region".to_owned(), serde_json::json!("eu"))]);
    let binding = Binding {
        configuration,
        has_secret: true,
        endpoint: Some(Url::parse("http://mcp.example:8080/v1").unwrap()),
        outbound: outbound.clone(),
    };
    Call::new("call-1", Arc::new(binding))
}

#[tokio::test]
async fn what_is_not_granted_is_denied_and_the_line_that_grants_it_is_named() {
    let outbound = Arc::new(Recorder::default());
    let plugin = load(&host(Limits::default()), guests::asks_for_everything()).await;
    let execution = plugin.call_tool("run", "{}", call(&outbound)).await;
    assert_eq!(
        text(&execution.outcome.unwrap()),
        r#"setting: Err(HostError::Denied("the setting \"region\" is not granted to the plugin guest (its operator can grant it: configuration = [\"region\"])"))
secret: Ok(true)
request: Ok(Some(Ok(Err(ErrorCode::HttpRequestDenied))))
websocket: Err(WebsocketError::Host(HostError::Denied("a connection to wss://secrets.example is not granted to the plugin guest (its operator can grant it: hosts = [\"secrets.example\"])")))
channel: Err(HostError::Denied("only a transport has a channel"))
deliver: Err(HostError::Denied("only a transport has a channel"))"#
    );
    assert_eq!(execution.usage.denials, 3);
    assert_eq!(plugin.counters().denials, 3);
    assert!(outbound.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_granted_works() {
    let outbound = Arc::new(Recorder::default());
    let grants = "hosts = [\"secrets.example\"]\nconfiguration = [\"region\"]";
    let plugin = load_with(&host(Limits::default()), guests::asks_for_everything(), grants).await;
    let execution = plugin.call_tool("run", "{}", call(&outbound)).await;
    assert_eq!(
        text(&execution.outcome.unwrap()),
        r#"setting: Ok(Some("\"eu\""))
secret: Ok(true)
request: Ok(Some(Ok(Ok(200))))
websocket: Err(WebsocketError::Unreachable("nobody is there"))
channel: Err(HostError::Denied("only a transport has a channel"))
deliver: Err(HostError::Denied("only a transport has a channel"))"#
    );
    let requests = outbound.requests.lock().unwrap();
    assert_eq!(requests[0].uri(), "https://secrets.example/");
}

#[tokio::test]
async fn nothing_of_the_server_is_to_be_found() {
    let plugin = load(&host(Limits::default()), guests::snoops()).await;
    let result = plugin
        .call_tool("run", "{}", call(&Arc::default()))
        .await
        .outcome
        .unwrap();
    assert_eq!(
        text(&result),
        "environment: []\narguments: []\ninput: Ok(\"\")\nroot: false\npasswd: false\nwritten: false"
    );
}

#[tokio::test]
async fn no_socket_opens_and_no_name_resolves() {
    let plugin = load_with(
        &host(Limits::default()),
        guests::opens_sockets(),
        "hosts = [\"*:*\"]",
    )
    .await;
    let result = plugin
        .call_tool("run", "{}", call(&Arc::default()))
        .await
        .outcome
        .unwrap();
    assert_eq!(
        text(&result),
        "tcp: Err(\"access-denied\")\nudp: Err(\"access-denied\")\nname: Err(\"permanent-resolver-failure\")"
    );
}

#[tokio::test]
async fn a_secret_is_added_behind_the_guest_s_back_and_a_redirect_is_the_guest_s_to_follow() {
    let outbound = Arc::new(Recorder {
        response_bytes: 3,
        status: Some(302),
        ..Recorder::default()
    });
    let plugin = load_with(&host(Limits::default()), guests::fetches(), "endpoint = true").await;
    let execution = plugin
        .call_tool("run", "\"mcp.example:8080\"", call(&outbound))
        .await;
    assert_eq!(
        text(&execution.outcome.unwrap()),
        "302\nlocation: http://169.254.169.254/\nxxx"
    );
    assert_eq!((execution.usage.requests, execution.usage.request_bytes), (1, 3));
    let requests = outbound.requests.lock().unwrap();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].uri(), "http://mcp.example:8080/");
    assert_eq!(requests[0].headers()["x-own"], "1");
    assert_eq!(requests[0].headers()["authorization"], "Bearer s3cret");
}

#[tokio::test]
async fn another_origin_than_the_endpoint_s_is_denied() {
    let outbound = Arc::new(Recorder::default());
    let plugin = load_with(&host(Limits::default()), guests::fetches(), "endpoint = true").await;
    for authority in [
        "mcp.example",
        "mcp.example:8081",
        "mcp.example:8080@evil.example",
        "evil.example",
        "169.254.169.254",
    ] {
        let error = plugin
            .call_tool("run", &format!("{authority:?}"), call(&outbound))
            .await
            .outcome
            .unwrap_err();
        assert!(
            matches!(&error, CallError::Denied(message) if message.contains("the plugin says: no answer: ErrorCode::HttpRequestDenied")),
            "{authority}: {error}"
        );
    }
    assert!(outbound.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_outbound_failure_tells_whether_the_request_was_sent() {
    for (failure, code) in [
        (OutboundError::Denied("a rule".to_owned()), "HttpRequestDenied"),
        (
            OutboundError::Unreachable("no such name".to_owned()),
            "DestinationUnavailable",
        ),
        (
            OutboundError::TimedOut("no answer".to_owned()),
            "ConnectionReadTimeout",
        ),
        (
            OutboundError::Interrupted("reset".to_owned()),
            "ConnectionTerminated",
        ),
    ] {
        let outbound = Arc::new(Recorder {
            failure: Some(failure),
            ..Recorder::default()
        });
        let plugin = load_with(&host(Limits::default()), guests::fetches(), "hosts = [\"*\"]").await;
        let error = plugin
            .call_tool("run", "\"a.example\"", call(&outbound))
            .await
            .outcome
            .unwrap_err();
        assert!(
            matches!(&error, CallError::Failed(message) if message.contains(code)),
            "{code}: {error}"
        );
    }
}

#[tokio::test]
async fn of_ten_thousand_requests_sixty_four_are_sent() {
    let outbound = Arc::new(Recorder::default());
    let plugin = load_with(
        &host(Limits::default()),
        guests::floods(),
        "hosts = [\"a.example\"]",
    )
    .await;
    let execution = plugin.call_tool("run", "\"a.example\"", call(&outbound)).await;
    assert_eq!(
        execution.outcome.unwrap_err(),
        CallError::Limit(LimitExceeded(Limit::Requests(64)))
    );
    assert_eq!(execution.usage.requests, 64);
    assert!(outbound.requests.lock().unwrap().len() <= 64);
}

#[tokio::test]
async fn a_response_beyond_the_limit_ends_the_call() {
    let limits = Limits {
        request_bytes: 1 << 20,
        ..Limits::default()
    };
    let outbound = Arc::new(Recorder {
        response_bytes: 4 << 20,
        ..Recorder::default()
    });
    let plugin = load_with(&host(limits), guests::fetches(), "hosts = [\"a.example\"]").await;
    let execution = plugin.call_tool("run", "\"a.example\"", call(&outbound)).await;
    assert_eq!(
        execution.outcome.unwrap_err(),
        CallError::Limit(LimitExceeded(Limit::RequestBytes(1 << 20)))
    );
    assert!(execution.usage.request_bytes < 2 << 20, "{:?}", execution.usage);
}
