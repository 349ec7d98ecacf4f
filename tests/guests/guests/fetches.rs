//! Sends a GET to `http://<its arguments>/`, with a header of its own, and answers with the status, the headers and the body.

use wasi::{
    http::{
        outgoing_handler::handle,
        types::{Fields, IncomingBody, OutgoingRequest, Scheme},
    },
    io::streams::StreamError,
};

guests::tool!(|arguments, _call| {
    let authority = arguments.trim_matches('"');
    let headers = Fields::from_list(&[("x-own".to_owned(), b"1".to_vec())]).expect("a header");
    let request = OutgoingRequest::new(headers);
    _ = request.set_scheme(Some(&Scheme::Http));
    _ = request.set_authority(Some(authority));
    _ = request.set_path_with_query(Some("/"));
    let pending = match handle(request, None) {
        Ok(pending) => pending,
        Err(error) => return Err(ToolError::Failed(format!("not sent: {error:?}"))),
    };
    pending.subscribe().block();
    let response = match pending.get().expect("it is ready").expect("it is asked once") {
        Ok(response) => response,
        Err(error) => return Err(ToolError::Failed(format!("no answer: {error:?}"))),
    };
    let mut answer = format!("{}\n", response.status());
    for (name, value) in response.headers().entries() {
        answer.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(&value)));
    }
    let body: IncomingBody = response.consume().expect("it is consumed once");
    let stream = body.stream().expect("it is read once");
    let mut bytes = 0;
    loop {
        match stream.blocking_read(1 << 16) {
            Ok(chunk) if bytes < 100 => {
                bytes += chunk.len();
                answer.push_str(&String::from_utf8_lossy(&chunk));
            }
            Ok(chunk) => bytes += chunk.len(),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => {
                return Err(ToolError::Failed(format!(
                    "the body broke off: {}",
                    error.to_debug_string()
                )));
            }
        }
    }
    text(answer)
});
