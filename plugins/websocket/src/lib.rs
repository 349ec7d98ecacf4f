//! MCP over WebSocket: every JSON-RPC message is a text message, under the subprotocol `mcp`.

use llmring_plugin_sdk::{
    TransportError, plugin,
    runtime::{Either, race},
    transport::Channel,
    websocket::{Connection, Message},
};

/// RFC 6455, section 7.4.1: normal closure, and data of a type that is not accepted.
const NORMAL: u16 = 1000;
const UNSUPPORTED: u16 = 1003;

async fn run(endpoint: String, channel: Channel) -> Result<(), TransportError> {
    let connection = match Connection::connect(&websocket_url(&endpoint), &[], &["mcp"]) {
        Ok(connection) => connection,
        Err(error) => return channel.refuse(error.into()).await,
    };
    loop {
        match race(channel.next(), connection.receive()).await {
            Either::Left(Some(outgoing)) => {
                match connection.send(&Message::Text(outgoing.message().to_owned())) {
                    Ok(()) => outgoing.accepted(),
                    Err(error) => outgoing.failed(&error.into()),
                }
            }
            // A peer that is gone needs no goodbye.
            Either::Left(None) => return connection.close(NORMAL, "").or(Ok(())),
            Either::Right(Ok(Message::Text(message))) => channel.deliver(&message)?,
            Either::Right(Ok(Message::Binary(_))) => {
                _ = connection.close(UNSUPPORTED, "MCP's messages are text");
                return Err(TransportError::Protocol(
                    "the peer sent a binary message".to_owned(),
                ));
            }
            Either::Right(Err(error)) => return Err(error.into()),
        }
    }
}

/// The endpoint with the scheme of a WebSocket, where it has the one of HTTP.
fn websocket_url(endpoint: &str) -> String {
    match endpoint.split_once(':') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => format!("ws:{rest}"),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => format!("wss:{rest}"),
        _ => endpoint.to_owned(),
    }
}

plugin! { transport: run }

#[cfg(test)]
mod tests {
    use super::websocket_url;

    #[test]
    fn the_scheme_becomes_a_websockets() {
        for (endpoint, expected) in [
            ("HTTP://a.example/mcp", "ws://a.example/mcp"),
            ("https://a.example", "wss://a.example"),
            ("wss://a.example:1/x", "wss://a.example:1/x"),
        ] {
            assert_eq!(websocket_url(endpoint), expected);
        }
    }
}
