//! MCP over Streamable HTTP, of every version since 2025-03-26. Until 2025-11-25 there is a session with a stream of its own
//! for what the peer sends unasked; from 2026-07-28 every request stands alone.

mod peer;

use llmring_plugin_sdk::{
    TransportError,
    http::{Events, Response},
    plugin,
    runtime::{self, race, spawn},
    serde_json::Value,
    transport::{Channel, Outgoing},
};

use self::peer::Peer;

/// The largest message of a peer.
const MAX_BYTES: usize = 32 << 20;

/// JSON-RPC's codes for an answer that is lost, and for a method that the peer does not know.
const INTERRUPTED: i32 = -32_000;
const METHOD_NOT_FOUND: i32 = -32_601;

async fn run(endpoint: String, channel: Channel) -> Result<(), TransportError> {
    let peer = Peer::at(endpoint);
    while let Some(outgoing) = channel.next().await {
        match peer.cancels(&outgoing) {
            // From 2026-07-28 on the peer learns it from the end of the request's stream.
            true => outgoing.accepted(),
            false => spawn(exchange(peer.clone(), channel.clone(), outgoing)),
        }
    }
    peer.leave().await;
    Ok(())
}

/// Sends one message and delivers whatever the peer answers.
async fn exchange(peer: Peer, channel: Channel, outgoing: Outgoing) {
    let id = outgoing.request_id().cloned();
    let answers = async {
        let response = match peer.post(&outgoing).send().await {
            Ok(response) => response,
            Err(error) => return outgoing.failed(&error.into()),
        };
        if !response.is_success() {
            return refused(&peer, &channel, outgoing, response).await;
        }
        let begins = outgoing.method() == Some("notifications/initialized");
        peer.learn(&outgoing, &response);
        outgoing.accepted();
        if begins && !peer.is_stateless() {
            spawn(listen(peer.clone(), channel.clone()));
        }
        let Err(error) = answer(&peer, &channel, id.as_ref(), response).await else {
            return;
        };
        if let Some(id) = &id {
            // Whoever waits for the answer should not wait for ever. When the server is gone, nobody does.
            _ = channel.answer_with_error(id, INTERRUPTED, &error);
        }
    };
    match &id {
        // Dropping the exchange closes its stream.
        Some(id) => _ = race(peer.open(id), answers).await,
        None => answers.await,
    }
}

/// Delivers an answer: none, one JSON value, or a stream that ends with the response.
async fn answer(
    peer: &Peer,
    channel: &Channel,
    id: Option<&Value>,
    response: Response,
) -> Result<(), TransportError> {
    match response.media_type().as_deref() {
        Some("text/event-stream") => {}
        // What wants no answer is answered with nothing, of whatever type.
        _ if id.is_none() => return Ok(()),
        Some("application/json") => return peer.deliver(channel, &response.text(MAX_BYTES).await?),
        other => {
            return Err(TransportError::Protocol(format!(
                "the answer is of type {other:?}"
            )));
        }
    }
    let mut events = response.events(MAX_BYTES);
    loop {
        let ended = stream(peer, channel, id, &mut events).await;
        match (id, ended) {
            (None, _) | (_, Ok(true)) => return Ok(()),
            // The peer may keep the rest for those who ask for it.
            (Some(_), _) if !events.last_id().is_empty() => {
                let again = peer.get(events.last_id());
                runtime::sleep(events.retry().unwrap_or(peer::RETRY)).await;
                events = match again.send().await? {
                    response if response.is_success() => response.events(MAX_BYTES),
                    response => return Err(peer.rejected(&response)),
                };
            }
            (Some(_), Ok(false)) => {
                return Err(TransportError::Interrupted(
                    "the stream ended without the answer".to_owned(),
                ));
            }
            (Some(_), Err(error)) => return Err(error),
        }
    }
}

/// Delivers the messages of a stream until it ends or has brought the answer to `id`; tells whether it has.
async fn stream(
    peer: &Peer,
    channel: &Channel,
    id: Option<&Value>,
    events: &mut Events,
) -> Result<bool, TransportError> {
    while let Some(event) = events.next().await? {
        // An event without data only says where to resume.
        if event.event == "message" && !event.data.is_empty() {
            peer.deliver(channel, &event.data)?;
            if id.is_some_and(|id| peer::is_response(&event.data, id)) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Says how the peer refused. What it says in JSON-RPC itself is its answer.
async fn refused(peer: &Peer, channel: &Channel, outgoing: Outgoing, response: Response) {
    let (status, error) = (response.status(), peer.rejected(&response));
    let body = response.text(MAX_BYTES).await.unwrap_or_default();
    match outgoing.request_id().cloned() {
        Some(id) if peer::is_response(&body, &id) => {
            outgoing.accepted();
            _ = channel.deliver(&body);
        }
        // How a peer of an earlier version says that it knows nothing of discovery.
        Some(id)
            if outgoing.method() == Some("server/discover")
                && !matches!(status, 401 | 403)
                && status < 500 =>
        {
            outgoing.accepted();
            _ = channel.answer_with_error(&id, METHOD_NOT_FOUND, &error);
        }
        _ => outgoing.failed(&error),
    }
}

/// Delivers what the peer sends unasked, for as long as it lets itself be listened to.
async fn listen(peer: Peer, channel: Channel) {
    let (mut last_id, mut wait, mut failures) = (String::new(), peer::RETRY, 0);
    while failures < peer::MAX_FAILURES {
        match peer.get(&last_id).send().await {
            Ok(response) if response.is_success() => {
                let mut events = response.events(MAX_BYTES);
                failures = u32::from(stream(&peer, &channel, None, &mut events).await.is_err());
                wait = events.retry().unwrap_or(peer::RETRY);
                events.last_id().clone_into(&mut last_id);
            }
            // Not offered, or no longer.
            Ok(response) if response.status() < 500 => return,
            Ok(_) | Err(_) => failures += 1,
        }
        runtime::sleep(wait * 2_u32.pow(failures)).await;
    }
}

plugin! { transport: run }
