//! The smallest MCP server over Streamable HTTP (protocol version 2025-11-25, answers as JSON) with one tool, `echo`: the peer of
//! `benches/mcp.sh`. Prints its URL.

use poem::http::StatusCode;
use poem::listener::{Acceptor, Listener, TcpListener};
use poem::web::Json;
use poem::{IntoResponse, Response, Route, Server, handler, post};
use serde_json::{Value, json};

#[handler]
fn answer(Json(request): Json<Value>) -> Response {
    let Some(id) = request.get("id") else {
        return StatusCode::ACCEPTED.into_response();
    };
    let outcome = match request["method"].as_str().unwrap_or_default() {
        "initialize" => Ok(json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "echo", "version": "1"},
        })),
        "ping" => Ok(json!({})),
        "tools/list" => Ok(json!({"tools": [{
            "name": "echo",
            "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
        }]})),
        "tools/call" => {
            Ok(json!({"content": [{"type": "text", "text": request["params"]["arguments"]["text"]}]}))
        }
        _ => Err(json!({"code": -32601, "message": "Method not found"})),
    };
    let mut response = json!({"jsonrpc": "2.0", "id": id});
    match outcome {
        Ok(result) => response["result"] = result,
        Err(error) => response["error"] = error,
    }
    Json(response).into_response()
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let acceptor = TcpListener::bind("127.0.0.1:0").into_acceptor().await?;
    for address in acceptor
        .local_addr()
        .iter()
        .filter_map(|address| address.as_socket_addr())
    {
        println!("http://{address}/mcp");
    }
    Server::new_with_acceptor(acceptor)
        .run(Route::new().at("/mcp", post(answer)))
        .await
}
