//! Sends ten thousand requests to the URL in its arguments, without waiting for an answer.

use wasi::http::{
    outgoing_handler::handle,
    types::{Fields, OutgoingRequest, Scheme},
};

guests::tool!(|arguments, _call| {
    let authority = arguments.trim_matches('"');
    let mut waiting = Vec::new();
    for _ in 0..10_000 {
        let request = OutgoingRequest::new(Fields::new());
        _ = request.set_scheme(Some(&Scheme::Http));
        _ = request.set_authority(Some(authority));
        _ = request.set_path_with_query(Some("/"));
        if let Ok(response) = handle(request, None) {
            waiting.push(response);
        }
        // The handles are given back, so that only the requests count.
        if waiting.len() == 16 {
            waiting.clear();
        }
    }
    text("sent")
});
