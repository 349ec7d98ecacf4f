//! Real MCP servers behind the API: everything they offer comes through as they sent it.

use integration::{Actor, McpPeer, Server, on_both_databases};
use serde_json::{Value, json};

const ROOT: &str = "/api/v1/mcp";

async fn content(actor: &Actor, server: &str, uri: &str) -> Value {
    let resource = actor
        .offer("resources", server, |resource| resource["uri"] == uri)
        .await;
    let id = resource["id"].as_str().expect("an id");
    let read = actor
        .get(&format!("{ROOT}/resources/{id}/content"))
        .await
        .ok()
        .json();
    assert_eq!(read["resource"]["uri"], uri);
    read["content"].clone()
}

async fn template_content(actor: &Actor, server: &str, uri_template: &str, variables: Value) -> Value {
    let template = actor
        .offer("resource-templates", server, |template| {
            template["uri_template"] == uri_template
        })
        .await;
    let id = template["id"].as_str().expect("an id");
    let path = format!("{ROOT}/resource-templates/{id}/content");
    actor.post(&path, &variables).await.ok().json()["content"].clone()
}

async fn rendered(actor: &Actor, server: &str, name: &str, arguments: Value) -> Value {
    let prompt = actor
        .offer("prompts", server, |prompt| prompt["name"] == name)
        .await;
    let id = prompt["id"].as_str().expect("an id");
    actor
        .post(&format!("{ROOT}/prompts/{id}/render"), &arguments)
        .await
        .ok()
        .json()["rendered"]
        .clone()
}

/// Walks through all that server-everything offers.
async fn everything_works(alice: &Actor, url: &str) {
    let server = alice.registers("everything", url).await;
    let refreshed = alice.refreshes(&server).await.ok().json();
    let version = refreshed["server"]["protocol_version"]
        .as_str()
        .expect("a version");
    assert!(version.starts_with("202"), "{version}");
    for kind in ["tools", "resources", "prompts"] {
        assert!(
            !refreshed[kind].as_array().expect("a list").is_empty(),
            "{kind}: {refreshed:#}"
        );
    }
    assert_eq!(refreshed["changes"]["removed"], json!([]));

    let echo = alice.calls(&server, "echo", json!({"message": "Grüße"})).await;
    assert_eq!(echo["status"], "succeeded", "{echo:#}");
    assert_eq!(
        echo["output"]["content"],
        json!([{"type": "text", "text": "Echo: Grüße"}])
    );
    assert_eq!(echo["error"], Value::Null);

    let sum = alice.calls(&server, "get-sum", json!({"a": 2, "b": 40})).await;
    assert_eq!(sum["output"]["content"][0]["text"], "The sum of 2 and 40 is 42.");

    let weather = alice
        .calls(&server, "get-structured-content", json!({"location": "New York"}))
        .await;
    assert_eq!(weather["status"], "succeeded", "{weather:#}");
    assert_eq!(
        weather["output"]["structuredContent"],
        json!({"temperature": 33, "conditions": "Cloudy", "humidity": 82})
    );

    let annotated = alice
        .calls(
            &server,
            "get-annotated-message",
            json!({"messageType": "error", "includeImage": true}),
        )
        .await;
    assert_eq!(
        annotated["output"]["content"][0]["annotations"]["audience"],
        json!(["user", "assistant"])
    );

    let image = alice.calls(&server, "get-tiny-image", json!({})).await;
    let blocks = image["output"]["content"].as_array().expect("blocks");
    assert!(
        blocks
            .iter()
            .any(|block| block["type"] == "image" && block["mimeType"] == "image/png"),
        "{image:#}"
    );

    let links = alice
        .calls(&server, "get-resource-links", json!({"count": 2}))
        .await;
    assert_eq!(links["output"]["content"][1]["type"], "resource_link");

    let reference = alice
        .calls(
            &server,
            "get-resource-reference",
            json!({"resourceType": "Text", "resourceId": 1}),
        )
        .await;
    assert_eq!(reference["status"], "succeeded", "{reference:#}");
    assert_eq!(reference["output"]["content"][1]["type"], "resource");

    let steps = alice
        .calls(
            &server,
            "trigger-long-running-operation",
            json!({"duration": 0.4, "steps": 4}),
        )
        .await;
    assert_eq!(steps["status"], "succeeded", "{steps:#}");
    let progress = steps["progress"].as_array().expect("progress");
    assert_eq!(
        progress.last().expect("a notification")["total"],
        4.0,
        "{progress:?}"
    );

    let environment = alice.calls(&server, "get-env", json!({})).await;
    let text = environment["output"]["content"][0]["text"]
        .as_str()
        .expect("text");
    assert!(!text.contains("LLMRING_"), "{text}");

    let dynamic = "demo://resource/dynamic/text/{resourceId}";
    let text = template_content(alice, &server, dynamic, json!({"resourceId": "3"})).await;
    assert_eq!(text[0]["uri"], "demo://resource/dynamic/text/3");
    assert!(
        text[0]["text"]
            .as_str()
            .is_some_and(|text| text.contains("Resource 3")),
        "{text:#}"
    );
    let blob = template_content(
        alice,
        &server,
        "demo://resource/dynamic/blob/{resourceId}",
        json!({"resourceId": "4"}),
    )
    .await;
    assert!(blob[0]["blob"].is_string(), "{blob:#}");
    let resources = alice
        .get(&format!("{ROOT}/resources?server_id={server}"))
        .await
        .ok()
        .json();
    for resource in resources.as_array().expect("a list") {
        let uri = resource["uri"].as_str().expect("a URI");
        assert!(
            !content(alice, &server, uri)
                .await
                .as_array()
                .expect("contents")
                .is_empty(),
            "{uri}"
        );
    }

    let simple = rendered(alice, &server, "simple-prompt", json!({})).await;
    assert_eq!(simple["messages"][0]["role"], "user", "{simple:#}");
    let with_arguments = rendered(
        alice,
        &server,
        "args-prompt",
        json!({"city": "Graz", "state": "Styria"}),
    )
    .await;
    assert!(with_arguments.to_string().contains("Graz"), "{with_arguments:#}");
}

/// Walks through all that the server made with the Python SDK offers.
async fn python_peer_works(alice: &Actor, peer: &McpPeer) {
    let server = alice.registers("python", peer.url()).await;
    let refreshed = alice.refreshes(&server).await.ok().json();
    assert_eq!(
        refreshed["changes"]["added"].as_array().expect("names").len(),
        12,
        "{:#}",
        refreshed["changes"]
    );

    let weather = alice.calls(&server, "weather", json!({"city": "Graz"})).await;
    assert_eq!(weather["status"], "succeeded", "{weather:#}");
    assert_eq!(
        weather["output"]["structuredContent"],
        json!({"city": "Graz", "celsius": 21.5})
    );
    assert!(
        weather["duration_ms"]
            .as_i64()
            .is_some_and(|duration| duration >= 0),
        "{weather:#}"
    );

    let tool = alice.tool(&server, "weather").await;
    assert_eq!(
        alice
            .executes(&tool, &json!({"city": "G"}))
            .await
            .refused(422)
            .places(),
        ["body.input.city"]
    );
    assert_eq!(
        alice
            .executes(&tool, &json!({"city": 5}))
            .await
            .refused(422)
            .places(),
        ["body.input.city"]
    );
    alice.executes(&tool, &json!({})).await.refused(422);
    alice.executes(&tool, &json!([])).await.refused(422);
    assert_eq!(peer.journal(), ["weather Graz"], "what does not fit is not sent");

    let pixel = alice.calls(&server, "pixel", json!({})).await;
    assert_eq!(
        pixel["output"]["content"][0]["mimeType"], "image/png",
        "{pixel:#}"
    );

    let broken = alice.calls(&server, "broken", json!({"reason": "rust"})).await;
    assert_eq!(broken["status"], "tool_error", "{broken:#}");
    assert!(
        broken["error"]
            .as_str()
            .is_some_and(|error| error.contains("it broke: rust")),
        "{broken:#}"
    );
    assert_eq!(broken["output"]["isError"], true);

    let counted = alice.calls(&server, "count", json!({"to": 3})).await;
    assert_eq!(
        counted["output"]["structuredContent"],
        json!({"result": 3}),
        "{counted:#}"
    );
    let last = json!({"progress": 3.0, "total": 3.0, "message": "step 3"});
    assert_eq!(
        counted["progress"].as_array().and_then(|all| all.last()),
        Some(&last),
        "{counted:#}"
    );

    let greeting = content(alice, &server, "peer://greeting").await;
    assert_eq!(greeting[0]["text"], "Grüß Gott", "{greeting:#}");
    let blob = content(alice, &server, "peer://pixel").await;
    assert!(
        blob[0]["blob"]
            .as_str()
            .is_some_and(|blob| blob.starts_with("iVBOR")),
        "{blob:#}"
    );
    let user = template_content(alice, &server, "peer://users/{name}", json!({"name": "ada"})).await;
    assert_eq!(user[0]["text"], "ada is a user", "{user:#}");
    let review = rendered(alice, &server, "review", json!({"code": "1 + 1"})).await;
    assert_eq!(
        review["messages"][0]["content"]["text"],
        "Review this in a kind tone: 1 + 1"
    );
    let review = rendered(
        alice,
        &server,
        "review",
        json!({"arguments": {"code": "1", "tone": "grim"}}),
    )
    .await;
    assert_eq!(
        review["messages"][0]["content"]["text"],
        "Review this in a grim tone: 1"
    );

    // The same lists once more: nothing changed, and nothing has another id.
    let again = alice.refreshes(&server).await.ok().json();
    assert_eq!(
        again["changes"],
        json!({"added": [], "removed": [], "changed": []})
    );
    assert_eq!(alice.tool(&server, "weather").await, tool);
}

on_both_databases! {
    async fn server_everything_works_over_stdio(db: TestDatabase) {
        let peer = McpPeer::everything_stdio();
        let server = Server::with_peers(&db, &[&peer]).start().await;
        everything_works(&server.actor("alice"), peer.url()).await;
    }

    async fn server_everything_works_over_streamable_http(db: TestDatabase) {
        let peer = McpPeer::everything_http().await;
        let server = Server::on(&db).start().await;
        everything_works(&server.actor("alice"), peer.url()).await;
    }

    async fn a_python_server_works_over_stdio(db: TestDatabase) {
        let peer = McpPeer::python_stdio();
        let server = Server::with_peers(&db, &[&peer]).start().await;
        python_peer_works(&server.actor("alice"), &peer).await;
    }

    async fn a_python_server_works_over_streamable_http(db: TestDatabase) {
        let peer = McpPeer::python_http().await;
        let server = Server::on(&db).start().await;
        python_peer_works(&server.actor("alice"), &peer).await;
    }
}
