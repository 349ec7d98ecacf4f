//! A transport over a WebSocket.

wit_bindgen::generate!({ path: "../../sdk/wit/since-0.1.0", world: "transport-plugin", generate_all });

use exports::llmring::plugin::transport::{Guest, TransportError};
use llmring::plugin::{
    channel,
    types::HostError,
    websocket::{CloseFrame, Connection, Message, WebsocketError},
};
use wasi::io::poll::poll;

struct Plugin;

fn failed(error: WebsocketError) -> TransportError {
    match error {
        WebsocketError::Host(HostError::Denied(message)) => TransportError::Denied(message),
        WebsocketError::Unreachable(message) => TransportError::Unreachable(message),
        error => TransportError::Interrupted(format!("{error:?}")),
    }
}

impl Guest for Plugin {
    fn run(endpoint: String) -> Result<(), TransportError> {
        let headers = [("x-own".to_owned(), "1".to_owned())];
        let connection = Connection::connect(&endpoint, &headers, &["mcp".to_owned()]).map_err(failed)?;
        let messages = channel::subscribe().expect("a transport has a channel");
        let frames = connection.subscribe();
        loop {
            poll(&[&messages, &frames]);
            while let Some(frame) = connection.receive().map_err(failed)? {
                if let Message::Text(text) = frame {
                    channel::deliver(&text).map_err(|error| TransportError::Failed(format!("{error:?}")))?;
                }
            }
            loop {
                match channel::take() {
                    Ok(Some(outgoing)) => match connection.send(&Message::Text(outgoing.message())) {
                        Ok(()) => _ = outgoing.accepted(),
                        Err(error) => _ = outgoing.failed(&failed(error)),
                    },
                    Ok(None) => break,
                    Err(_) => {
                        _ = connection.close(&CloseFrame {
                            code: 1000,
                            reason: "goodbye".to_owned(),
                        });
                        return Ok(());
                    }
                }
            }
        }
    }
}

export!(Plugin);
