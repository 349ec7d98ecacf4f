//! A transport whose peer is itself: what is sent comes back. The message `lost` fails, `dropped` is dropped, `spin` loops
//! for ever, `crash` panics.

wit_bindgen::generate!({ path: "../../sdk/wit/since-0.1.0", world: "transport-plugin", generate_all });

use exports::llmring::plugin::transport::{Guest, TransportError};
use llmring::plugin::{channel, types::HostError};

struct Plugin;

impl Guest for Plugin {
    fn run(endpoint: String) -> Result<(), TransportError> {
        let ready = channel::subscribe().expect("a transport has a channel");
        loop {
            let outgoing = match channel::take() {
                Ok(Some(outgoing)) => outgoing,
                Ok(None) => {
                    ready.block();
                    continue;
                }
                Err(HostError::Closed) => return Ok(()),
                Err(error) => return Err(TransportError::Failed(format!("{error:?}"))),
            };
            match outgoing.message().as_str() {
                "lost" => _ = outgoing.failed(&TransportError::Interrupted(endpoint.clone())),
                "dropped" => {}
                "crash" => panic!("the transport crashed"),
                "spin" => loop {
                    std::hint::black_box(());
                },
                message => {
                    let headers: Vec<_> = outgoing
                        .headers()
                        .iter()
                        .map(|(n, v)| format!("{n}={v}"))
                        .collect();
                    outgoing.accepted().expect("somebody waits for it");
                    let echo = format!("{endpoint} {message} {}", headers.join(","));
                    if channel::deliver(&echo).is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }
}

export!(Plugin);
