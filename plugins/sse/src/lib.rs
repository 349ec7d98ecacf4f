//! MCP over HTTP with server-sent events, as version 2024-11-05 has it: one stream brings every message from the peer, its
//! first event says where to POST those for the peer.

use llmring_plugin_sdk::{
    TransportError,
    http::{self, Events, Request},
    plugin,
    runtime::{Either, race, spawn},
    transport::{Channel, Outgoing},
    types::Rejection,
};

/// The largest message of a peer.
const MAX_BYTES: usize = 32 << 20;

async fn run(endpoint: String, channel: Channel) -> Result<(), TransportError> {
    let (mut events, address) = match connect(&endpoint).await {
        Ok(connected) => connected,
        Err(error) => return channel.refuse(error).await,
    };
    loop {
        match race(channel.next(), events.next()).await {
            Either::Left(Some(outgoing)) => spawn(send(address.clone(), outgoing)),
            Either::Left(None) => return Ok(()),
            Either::Right(Ok(Some(event))) if event.event == "message" => channel.deliver(&event.data)?,
            Either::Right(Ok(Some(_))) => {}
            Either::Right(Ok(None)) => {
                return Err(TransportError::Interrupted(
                    "the peer ended the stream".to_owned(),
                ));
            }
            Either::Right(Err(error)) => return Err(error.into()),
        }
    }
}

/// The stream of events, and the URL to which messages are sent.
async fn connect(endpoint: &str) -> Result<(Events, String), TransportError> {
    let response = Request::get(endpoint)
        .header("accept", "text/event-stream")
        .send()
        .await?;
    match response.status() {
        200 if response.media_type().as_deref() == Some("text/event-stream") => {}
        200 => {
            return Err(TransportError::Unsupported(
                "the endpoint sends no events".to_owned(),
            ));
        }
        status => return Err(rejected(status, response.header("www-authenticate"))),
    }
    let mut events = response.events(MAX_BYTES);
    while let Some(event) = events.next().await? {
        if event.event == "endpoint" {
            return Ok((events, address(endpoint, &event.data)?));
        }
    }
    Err(TransportError::Protocol(
        "the stream ended before it said where to send messages".to_owned(),
    ))
}

/// Where messages are sent, which has to be at the endpoint's own origin: the peer may not send us elsewhere.
fn address(endpoint: &str, reference: &str) -> Result<String, TransportError> {
    let address = http::resolve(endpoint, reference)?;
    if http::origin(&address)? == http::origin(endpoint)? {
        return Ok(address);
    }
    Err(TransportError::Protocol(format!(
        "the peer wants messages sent to another origin: {address}"
    )))
}

async fn send(address: String, outgoing: Outgoing) {
    let request = Request::post(address)
        .header("content-type", "application/json")
        .body(outgoing.message());
    match request.send().await {
        Ok(response) if response.is_success() => outgoing.accepted(),
        Ok(response) => outgoing.failed(&rejected(response.status(), response.header("www-authenticate"))),
        Err(error) => outgoing.failed(&error.into()),
    }
}

fn rejected(status: u16, challenge: Option<&str>) -> TransportError {
    match status {
        401 | 403 => TransportError::Unauthorized(challenge.unwrap_or_default().to_owned()),
        _ => TransportError::Rejected(Rejection {
            status: Some(status),
            message: format!("the peer answered {status}"),
        }),
    }
}

plugin! { transport: run }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_sent_to_the_endpoints_own_origin() {
        let endpoint = "https://a.example/sse";
        for (reference, expected) in [
            ("/messages?session=1", "https://a.example/messages?session=1"),
            ("https://A.example:443/messages", "https://A.example:443/messages"),
        ] {
            assert!(matches!(address(endpoint, reference), Ok(address) if address == expected));
        }
        for reference in [
            "https://b.example/",
            "//b.example/",
            "http://a.example/",
            "https://a.example:8443/",
        ] {
            assert!(
                matches!(address(endpoint, reference), Err(TransportError::Protocol(_))),
                "{reference}"
            );
        }
    }
}
