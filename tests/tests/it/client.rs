//! The Python client from PyPI, end to end, with stand-ins for the providers it calls.

use std::time::Duration;

use integration::{
    Actor, Finished, Incoming, RegistryFixture, Reply, Server, StandIn, TestDatabase, on_both_databases,
    python,
};
use serde_json::{Value, json};

/// Python imports for seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// Answers as OpenAI and Anthropic do, with counts that include a cached read.
fn provider(request: &Incoming) -> Reply {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let model = &body["model"];
    let usage = json!({
        "prompt_tokens": 1200, "completion_tokens": 350, "total_tokens": 1550,
        "prompt_tokens_details": {"cached_tokens": 1000},
        "completion_tokens_details": {"reasoning_tokens": 0},
    });
    let reply = match request.path.as_str() {
        "/v1/chat/completions" if body["stream"] == true => {
            let chunk = |delta: Value, finish: Value, usage: Value| {
                let chunk = json!({
                    "id": "c1", "object": "chat.completion.chunk", "created": 1, "model": model, "usage": usage,
                    "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
                });
                format!("data: {chunk}\n\n")
            };
            let stream = [
                chunk(
                    json!({"role": "assistant", "content": "Hel"}),
                    Value::Null,
                    Value::Null,
                ),
                chunk(json!({"content": "lo"}), json!("stop"), usage),
                "data: [DONE]\n\n".to_owned(),
            ]
            .concat();
            return Reply::Send(200, "text/event-stream", stream.into_bytes());
        }
        "/v1/chat/completions" => json!({
            "id": "c1", "object": "chat.completion", "created": 1, "model": model, "usage": usage,
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello"}}],
        }),
        "/v1/messages" => json!({
            "id": "m1", "type": "message", "role": "assistant", "model": model, "stop_reason": "end_turn",
            "stop_sequence": null, "content": [{"type": "text", "text": "Hello"}],
            "usage": {
                "input_tokens": 1200, "output_tokens": 350, "cache_read_input_tokens": 1000,
                "cache_creation_input_tokens": 0,
            },
        }),
        _ => return Reply::Send(404, "application/json", b"{}".to_vec()),
    };
    Reply::Send(200, "application/json", reply.to_string().into_bytes())
}

/// Runs Python with the client set up for this server and these stand-ins.
pub(super) async fn client(alice: &Actor, arguments: &[&str]) -> Finished {
    let provider = StandIn::start(|request| provider(&request)).await;
    let registry = RegistryFixture::start().await;
    let environment = [
        ("LLMRING_SERVER_URL", alice.base().to_owned()),
        ("LLMRING_API_KEY", alice.key().to_owned()),
        ("REGISTRY_URL", registry.url()),
        ("OPENAI_BASE_URL", format!("{}/v1", provider.url())),
        ("OPENAI_API_KEY", "not-a-key".to_owned()),
        ("ANTHROPIC_BASE_URL", provider.url()),
        ("ANTHROPIC_API_KEY", "not-a-key".to_owned()),
    ];
    let environment: Vec<(&str, &str)> = environment
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    python(arguments, &environment, PATIENCE).await.succeeded()
}

on_both_databases! {
    async fn calls_of_decorated_functions_are_priced_here_to_the_last_digit(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        server.has_prices().await;
        let alice = server.actor("alice");
        client(&alice, &["decorated_calls.py"]).await;
        let logs = alice.logs("").await.ok();
        let body = logs.json();
        let mut seen: Vec<(String, String, String)> = Vec::new();
        for (index, log) in body.as_array().expect("an array").iter().enumerate() {
            assert_eq!(log["cost_source"], "registry", "{log}");
            assert_eq!(
                (&log["input_tokens"], &log["output_tokens"]),
                (&json!(1200), &json!(350)),
                "{log}"
            );
            assert_eq!(log["cached_input_tokens"], 1000, "{log}");
            let text = |member: &str| log[member].as_str().unwrap_or_default().to_owned();
            seen.push((
                text("origin"),
                text("model"),
                logs.exact(&[&index.to_string(), "cost"]),
            ));
        }
        seen.sort();
        let expect =
            |origin: &str, model: &str, cost: &str| (origin.to_owned(), model.to_owned(), cost.to_owned());
        // OpenAI's input includes what was cached, Anthropic's does not.
        assert_eq!(
            seen,
            [
                expect("anthropic-call", "claude-sonnet-4-5-20250929", "0.00915"),
                expect("openai-call", "gpt-4o-mini", "0.000315"),
                expect("openai-stream", "gpt-4o-mini", "0.000315"),
            ]
        );
        assert_eq!(alice.stats("").await.exact(&["summary", "total_cost"]), "0.00978");
    }

    async fn a_chat_sends_its_own_cost_and_is_believed(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let said = client(&alice, &["chat.py"]).await;
        let told: Value = serde_json::from_str(said.stdout.lines().last().expect("a line")).expect("JSON");
        let logs = alice.logs("").await.ok();
        let log = &logs.json()[0];
        assert_eq!(log["cost_source"], "client", "{log}");
        assert_eq!(
            logs.exact(&["0", "cost"]),
            told["cost"].as_str().expect("a decimal")
        );
        assert_eq!(log["model"], "gpt-4o-mini");
        assert_eq!(log["provider"], "openai");
    }

    async fn the_clients_commands_show_what_was_logged(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        client(&alice, &["decorated_calls.py"]).await;

        let status = client(&alice, &["-m", "llmring.cli", "server", "status"])
            .await
            .stdout;
        assert!(status.contains("status=healthy database=connected"), "{status}");
        assert!(status.contains("API key accepted"), "{status}");

        let stats = client(&alice, &["-m", "llmring.cli", "server", "stats", "--json"])
            .await
            .stdout;
        let stats: Value = serde_json::from_str(&stats).unwrap_or_else(|error| panic!("{error}: {stats}"));
        assert_eq!(stats["summary"]["total_requests"], 3);
        assert_eq!(stats["summary"]["total_cost"], 0.00978);
        assert_eq!(stats["by_model"]["gpt-4o-mini"]["requests"], 2);

        let csv = client(
            &alice,
            &["-m", "llmring.cli", "server", "logs", "--output", "csv"],
        )
        .await
        .stdout;
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(
            lines[0],
            "logged_at,provider,model,alias,profile,origin,input_tokens,output_tokens,cost"
        );
        assert_eq!(lines.len(), 1 + 3, "{csv}");
        assert!(
            lines
                .iter()
                .any(|line| line.ends_with(",anthropic-call,1200,350,0.00915")),
            "{csv}"
        );

        let plain = client(&alice, &["-m", "llmring.cli", "server", "logs"])
            .await
            .stdout;
        assert!(plain.contains("1200→350"), "{plain}");
    }
}

#[tokio::test]
async fn the_client_is_told_when_its_key_is_refused() {
    let db = TestDatabase::sqlite();
    let server = Server::on(&db).with("LLMRING_AUTH_MODE", "strict").start().await;
    let status = client(
        &server.actor("stranger"),
        &["-m", "llmring.cli", "server", "status"],
    )
    .await
    .stdout;
    assert!(status.contains("API key was rejected (401)"), "{status}");
}
