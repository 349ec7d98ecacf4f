//! Tries every import that has to be granted, and answers with what each said.

use llmring::plugin::{channel, configuration, websocket};
use wasi::http::{
    outgoing_handler::handle,
    types::{Fields, OutgoingRequest},
};

guests::tool!(|_arguments, _call| {
    let request = OutgoingRequest::new(Fields::new());
    _ = request.set_authority(Some("secrets.example"));
    _ = request.set_path_with_query(Some("/"));
    let request = handle(request, None).map(|pending| {
        pending.subscribe().block();
        pending
            .get()
            .map(|answer| answer.map(|answer| answer.map(|response| response.status())))
    });
    let socket = websocket::Connection::connect("wss://secrets.example/", &[], &[]).map(|_| "connected");
    text(format!(
        "setting: {:?}\nsecret: {:?}\nrequest: {request:?}\nwebsocket: {socket:?}\nchannel: {:?}\ndeliver: {:?}",
        configuration::get("region"),
        configuration::has_secret(),
        channel::take().map(|message| message.is_some()),
        channel::deliver("{}"),
    ))
});
