//! The OpenAPI document, walked operation by operation.

use std::time::Duration;

use integration::{Actor, DEADLINE, Server, TestDatabase, on_both_databases, python};
use reqwest::Method;
use serde_json::{Value, json};

/// What anybody may call, on purpose.
const PUBLIC: &[&str] = &[
    "GET /",
    "GET /health",
    "GET /metrics",
    "GET /registry",
    "GET /registry.json",
    "GET /registry/v/{version}/registry.json",
    "GET /receipts/public-key.pem",
    "GET /receipts/public-key.jwk",
    "GET /receipts/public-keys.json",
    "GET /api/v1/receipts/public-key.pem",
    "GET /api/v1/receipts/public-key.jwk",
    "GET /api/v1/receipts/public-keys.json",
    "POST /api/v1/receipts/verify",
];

/// RFC 8032 section 7.1, test 1.
const SIGNING_KEY: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";

struct Operation {
    method: Method,
    path: String,
    description: Value,
}

impl Operation {
    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// The path with these values in the place of its parameters.
    fn filled(&self, mut value: impl FnMut(&str) -> String) -> String {
        let steps = self.path.split('/').map(|step| {
            match step.strip_prefix('{').and_then(|step| step.strip_suffix('}')) {
                Some(name) => value(name),
                None => step.to_owned(),
            }
        });
        steps.collect::<Vec<_>>().join("/")
    }

    fn is_public(&self) -> bool {
        PUBLIC.contains(&self.name().as_str())
    }
}

async fn operations(anybody: &Actor) -> Vec<Operation> {
    let document = anybody.get("/openapi.json").await.ok().json();
    let paths = document["paths"].as_object().expect("paths").clone();
    let operations: Vec<Operation> = paths
        .into_iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().expect("methods").clone();
            methods.into_iter().map(move |(method, description)| Operation {
                method: method.to_uppercase().parse().expect("a method"),
                path: path.clone(),
                description,
            })
        })
        .collect();
    assert!(
        operations.len() > PUBLIC.len(),
        "the document has hardly any operations"
    );
    operations
}

/// The id of something that this actor owns, for a parameter of a path.
async fn owned(actor: &Actor, parameter: &str) -> String {
    match parameter {
        "log_id" => actor
            .log_usage(json!({"provider": "p", "model": "m", "cost": 1}))
            .await
            .ok()
            .id(),
        "conversation_id" => actor.post("/api/v1/conversations", &json!({})).await.ok().id(),
        "template_id" => {
            let template = json!({"name": "a template"});
            actor.post("/api/v1/templates", &template).await.ok().id()
        }
        "receipt_id" => actor
            .post(
                "/api/v1/receipts/issue",
                &json!({"model": "m", "tokens": {"input": 1, "output": 1}, "cost": {"amount": "1"}}),
            )
            .await
            .ok()
            .id(),
        "server_id" => {
            let server = json!({"name": "a server", "url": "https://mcp.example"});
            actor.post("/api/v1/mcp/servers", &server).await.ok().id()
        }
        "tool_id" => offered(actor, "tools").await,
        "resource_id" => offered(actor, "resources").await,
        "resource_template_id" => offered(actor, "resource_templates").await,
        "prompt_id" => offered(actor, "prompts").await,
        _ => panic!("no scenario makes something for {{{parameter}}} yet: add it here"),
    }
}

/// The id of something that a MCP server of this actor offers.
async fn offered(actor: &Actor, list: &str) -> String {
    let server = json!({"name": "a server", "url": "https://mcp.example"});
    let server = actor.post("/api/v1/mcp/servers", &server).await.ok().id();
    let offer = json!({
        "tools": [{"name": "t"}], "resources": [{"uri": "a:b"}],
        "resource_templates": [{"uri_template": "a:{b}"}], "prompts": [{"name": "p"}],
    });
    let path = format!("/api/v1/mcp/servers/{server}/refresh");
    let stored = actor.post(&path, &offer).await.ok().json();
    stored[list][0]["id"].as_str().expect("an id").to_owned()
}

/// A body that breaks no rule of the operation.
fn acceptable_body(path: &str) -> Value {
    let message = json!({"role": "user"});
    if path.ends_with("/messages/batch") {
        json!({ "messages": [message] })
    } else if path.ends_with("/messages") {
        message
    } else {
        json!({})
    }
}

on_both_databases! {
    async fn every_operation_without_a_key_is_401_unless_it_is_public_on_purpose(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let anybody = server.anybody();
        let operations = operations(&anybody).await;
        for name in PUBLIC {
            assert!(
                operations.iter().any(|operation| operation.name() == *name),
                "{name} is not in the document"
            );
        }
        for operation in operations {
            let path = operation.filled(|_| "1".to_owned());
            let answer = anybody
                .send(anybody.request(operation.method.clone(), &path))
                .await;
            let secured = operation.description["security"]
                .as_array()
                .is_some_and(|schemes| !schemes.is_empty());
            assert_eq!(
                secured,
                !operation.is_public(),
                "{}: what the document says",
                operation.name()
            );
            assert_eq!(
                answer.status == 401,
                !operation.is_public(),
                "{}: {answer:?}",
                operation.name()
            );
        }
    }

    async fn an_id_of_another_project_is_404_in_every_operation(db: TestDatabase) {
        let server = Server::on(&db).with("LLMRING_RECEIPTS_PRIVATE_KEY_B64", SIGNING_KEY).start().await;
        let (alice, bob) = (server.actor("alice"), server.actor("bob"));
        let mut walked = 0;
        for operation in operations(&alice).await {
            if operation.is_public() || !operation.path.contains('{') {
                continue;
            }
            let mut ids = std::collections::BTreeMap::new();
            for step in operation.path.split('/').filter(|step| step.starts_with('{')) {
                let name = step.trim_matches(['{', '}']).to_owned();
                let id = owned(&alice, &name).await;
                ids.insert(name, id);
            }
            let path = operation.filled(|name| ids[name].clone());
            let send = async |actor: &Actor, path: &str| {
                let mut request = actor.request(operation.method.clone(), path);
                if operation.description.get("requestBody").is_some() {
                    request = request.json(&acceptable_body(path));
                }
                actor.send(request).await
            };
            let refusal = send(&bob, &path).await.refused(404);
            // Not distinguishable from an id that nobody has.
            let nowhere = operation.filled(|_| "01890a5d-ac96-774b-bcce-b302099a8057".to_owned());
            let unknown = send(&bob, &nowhere).await.refused(404);
            let detail = |answer: &integration::Answer, id: &str| {
                answer.json()["detail"]
                    .as_str()
                    .expect("a detail")
                    .replace(id, "ID")
            };
            let first = ids.values().next().expect("an id");
            assert_eq!(
                detail(&refusal, first),
                detail(&unknown, "01890a5d-ac96-774b-bcce-b302099a8057")
            );
            assert_ne!(send(&alice, &path).await.status, 404, "{}", operation.name());
            walked += 1;
        }
        assert!(walked > 0);
    }
}

/// The document in the repository; `make openapi` writes it anew.
const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");

#[tokio::test]
async fn openapi_document_is_the_one_in_the_repository() {
    let db = TestDatabase::sqlite();
    let server = Server::on(&db).start().await;
    let served = server.anybody().get("/openapi.json").await.ok();
    let printed = Server::on(&db).run(&["openapi"]).await.succeeded();
    let printed: Value = serde_json::from_str(&printed.stdout).expect("JSON");
    let mut served = served.json();
    assert_eq!(
        served, printed,
        "what `openapi` prints differs from what is served"
    );
    // A release changes nothing in the contract.
    served["info"]["version"] = json!("[version]");
    let text = format!("{}\n", serde_json::to_string_pretty(&served).expect("text"));
    if std::env::var_os("LLMRING_TEST_UPDATE_OPENAPI").is_some() {
        std::fs::write(SNAPSHOT, &text).expect("the snapshot written");
    }
    let stored = std::fs::read_to_string(SNAPSHOT).unwrap_or_default();
    let difference = stored
        .lines()
        .zip(text.lines())
        .find(|(stored, served)| stored != served);
    assert!(
        stored == text,
        "the contract changed at {difference:?}: read the difference, then `make openapi`"
    );
}

#[tokio::test]
async fn openapi_document_is_valid() {
    let db = TestDatabase::sqlite();
    let document = Server::on(&db).run(&["openapi"]).await.succeeded().stdout;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("openapi.json");
    std::fs::write(&file, document).expect("the document written");
    let arguments = [
        "-m",
        "openapi_spec_validator",
        "--subschema-errors",
        "all",
        file.to_str().expect("a path"),
    ];
    let validated = python(&arguments, &[], DEADLINE).await.succeeded();
    assert!(validated.stdout.contains("OK"), "{validated:?}");
}

/// Requests of all kinds, right and wrong, made from the document.
#[tokio::test]
async fn openapi_document_tells_the_truth_to_a_fuzzer() {
    const AT_MOST: Duration = Duration::from_secs(1200);
    let db = TestDatabase::sqlite();
    let server = Server::on(&db)
        .with("LLMRING_AUTH_MODE", "strict")
        .with("LLMRING_RECEIPTS_PRIVATE_KEY_B64", SIGNING_KEY);
    let key = server
        .run(&["keys", "create", "--project", "fuzzer"])
        .await
        .succeeded();
    let server = server.start().await;
    server.has_prices().await;
    let url = format!("{}/openapi.json", server.url());
    let header = format!("X-API-Key: {}", key.stdout.trim());
    // Not everything that the schemas allow is accepted: empty names, for one, or dates in the wrong order.
    let options = "--checks all --exclude-checks positive_data_acceptance --phases examples,coverage,fuzzing,stateful \
                   --max-examples 30 --request-timeout 60 --seed 1 --suppress-health-check all --no-color";
    let mut arguments = vec!["-m", "schemathesis.cli", "run", &url, "--header", &header];
    arguments.extend(options.split_whitespace());
    let hooks = concat!(env!("CARGO_MANIFEST_DIR"), "/python/fuzzer_hooks.py");
    let fuzzed = python(&arguments, &[("SCHEMATHESIS_HOOKS", hooks)], AT_MOST).await;
    assert!(fuzzed.status.success(), "{}\n{}", fuzzed.stdout, fuzzed.stderr);
    server.anybody().get("/health").await.ok();
}
