//! What only the parts beside this one call: discovery, peers, reports.

use entity::ids::ProjectId;
use entity::tool_execution::Status;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Mcp;
use super::auth_config::AuthConfig;
use super::history::ExecutionReport;
use super::peer::{Auth, Discovery, Endpoint, Failure, Secret};
use super::secrets::SecretKeys;
use super::servers::{Selection, ServerFields};
use super::sessions::Sessions;
use crate::clock::Clock;
use crate::config::{Config, Settings};
use crate::error::Error;
use crate::storage::Storage;
use crate::usage::Page;

const ALICE: ProjectId = ProjectId(Uuid::from_u128(1));
const BOB: ProjectId = ProjectId(Uuid::from_u128(2));

async fn mcp(folder: &tempfile::TempDir) -> Mcp {
    let url = format!("sqlite://{}/llmring.db", folder.path().display());
    let settings = Settings::from_pairs(&[
        ("LLMRING_DATABASE_URL", &url),
        ("LLMRING_MCP_PIN_TOOLS", "true"),
        ("LLMRING_MCP_MAX_DEFINITIONS", "3"),
        ("LLMRING_MCP_MAX_DEFINITION_BYTES", "1024"),
    ]);
    let config = Config::from_settings(&settings).expect("a configuration");
    let storage = Storage::connect(&config.database).await.expect("a database");
    storage.migrate_up().await.expect("a schema");
    let keys = SecretKeys::open(&config.secrets, &config.database.location).expect("keys");
    let sessions = Sessions::start(&config.mcp, |_| None).expect("sessions");
    Mcp::new(storage, Clock::system(), keys, sessions, &config)
}

fn fields(transport: &str, url: &str) -> ServerFields {
    ServerFields {
        name: Some("n".to_owned()),
        url: Some(url.to_owned()),
        transport_type: Some(transport.to_owned()),
        ..ServerFields::default()
    }
}

fn members(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        other => panic!("{other} is no object"),
    }
}

fn discovery(tools: Vec<Value>) -> Discovery {
    Discovery {
        protocol_version: "2025-11-25".to_owned(),
        capabilities: json!({"tools": {}}),
        server_info: json!({"name": "s"}),
        instructions: Some("be\0ware".to_owned()),
        tools,
        ..Discovery::default()
    }
}

#[tokio::test]
async fn a_discovery_is_the_whole_truth() {
    let folder = tempfile::tempdir().expect("a folder");
    let mcp = mcp(&folder).await;
    let id = mcp
        .register(ALICE, fields("http", "https://a.example"))
        .await
        .expect("a server")
        .id;
    let full = json!({"name": "add", "title": "Add", "description": "Adds.", "inputSchema": {"type": "object"},
        "outputSchema": {"type": "object"}, "annotations": {"readOnlyHint": true}});
    let first = mcp
        .store_discovery(ALICE, id, discovery(vec![full]))
        .await
        .expect("stored");
    assert_eq!(first.changes.added.len(), 1);
    assert_eq!(first.server.protocol_version.as_deref(), Some("2025-11-25"));
    assert_eq!(first.server.instructions.as_deref(), Some("be\u{fffd}ware"));
    assert_eq!(
        (first.server.capabilities.as_str(), first.server.revision),
        (r#"{"tools":{}}"#, 1)
    );

    // What the server does not say is not there, unlike with a client's report.
    let bare = mcp
        .store_discovery(
            ALICE,
            id,
            discovery(vec![json!({"name": "add", "inputSchema": {}})]),
        )
        .await;
    let bare = bare.expect("stored");
    let tool = &bare.tools[0];
    assert_eq!(
        (bare.changes.changed.len(), tool.id, tool.version),
        (1, first.tools[0].id, 2)
    );
    assert_eq!(
        (
            &tool.title,
            &tool.description,
            &tool.output_schema,
            &tool.annotations
        ),
        (&None, &None, &None, &None)
    );
    assert_eq!(tool.input_schema, "{}");
    assert!(!mcp.is_approved(tool) && mcp.is_approved(&first.tools[0]));

    assert!(matches!(
        mcp.store_discovery(BOB, id, discovery(Vec::new())).await,
        Err(Error::NotFound { .. })
    ));
}

#[tokio::test]
async fn an_odd_definition_does_not_hide_the_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let mcp = mcp(&folder).await;
    let id = mcp
        .register(ALICE, fields("http", "https://a.example"))
        .await
        .expect("a server")
        .id;
    let tools = vec![
        json!("no tool"),
        json!({"name": "a"}),
        json!({"name": "nul\0"}),
        json!({"name": "a", "description": "again"}),
        json!({"name": "big", "description": "x".repeat(2000)}),
        json!({"description": "nameless", "annotations": []}),
        json!({"name": "b"}),
        json!({"name": "c"}),
        json!({"name": "d"}),
        json!({"name": "e"}),
    ];
    let stored = mcp
        .store_discovery(ALICE, id, discovery(tools))
        .await
        .expect("stored");
    let names: Vec<&str> = stored.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    let skipped: Vec<usize> = stored.skipped.iter().map(|skipped| skipped.position).collect();
    assert_eq!(skipped, [0, 2, 3, 4, 5, 8]);
    assert!(
        stored.skipped[4].reason.contains("name is required"),
        "{:?}",
        stored.skipped[4]
    );
    assert!(stored.skipped[5].reason.contains("LLMRING_MCP_MAX_DEFINITIONS"));
}

#[tokio::test]
async fn a_peer_has_its_secrets_in_clear_and_a_revision_that_follows_its_row() {
    let folder = tempfile::tempdir().expect("a folder");
    let mcp = mcp(&folder).await;
    let with_token = |token: &str| ServerFields {
        auth_config: Some(AuthConfig::new(members(
            json!({"type": "bearer", "token": token}),
        ))),
        ..ServerFields::default()
    };
    let row = mcp
        .register(
            ALICE,
            ServerFields {
                auth_config: with_token("hush").auth_config,
                ..fields("http", "https://a.example/mcp")
            },
        )
        .await
        .expect("a server");
    let peer = mcp.peer(&row).expect("a peer");
    assert_eq!(peer.auth, Some(Auth::Bearer(Secret::new("hush"))));
    assert_eq!(
        peer.endpoint,
        Endpoint::StreamableHttp("https://a.example/mcp".parse().expect("a URL"))
    );
    assert!(!format!("{peer:?}{row:?}").contains("hush"));

    let renamed = ServerFields {
        name: Some("m".to_owned()),
        ..ServerFields::default()
    };
    for (change, revision) in [
        (renamed, 1),
        (with_token("********"), 1),
        (with_token("other"), 2),
        (fields("http", "https://b.example"), 3),
    ] {
        let changed = mcp.change(ALICE, row.id, change).await.expect("a change");
        assert_eq!(mcp.peer(&changed).expect("a peer").revision, revision);
    }

    let stdio = mcp
        .register(ALICE, fields("stdio", "stdio://echo 'a b'"))
        .await
        .expect("a server");
    let words = ["echo", "a b"].map(str::to_owned).to_vec();
    assert_eq!(mcp.peer(&stdio).expect("a peer").endpoint, Endpoint::Stdio(words));
    let socket = mcp
        .register(ALICE, fields("websocket", "ws://a.example"))
        .await
        .expect("a server");
    assert!(matches!(mcp.peer(&socket), Err(Failure::Unreachable(reason)) if reason.contains("websocket")));

    let mut moved = row.clone();
    moved.project_id = BOB;
    let refused = mcp.peer(&moved).expect_err("another row's secret");
    assert!(
        matches!(&refused, Failure::Denied { .. }) && !refused.to_string().contains("hush"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_report_is_recorded_for_tools_and_conversations_of_the_caller() {
    let folder = tempfile::tempdir().expect("a folder");
    let mcp = mcp(&folder).await;
    let id = mcp
        .register(ALICE, fields("http", "https://a.example"))
        .await
        .expect("a server")
        .id;
    mcp.store_discovery(ALICE, id, discovery(vec![json!({"name": "add"})]))
        .await
        .expect("stored");
    let tool = mcp.tools(ALICE, Selection::default()).await.expect("tools")[0]
        .0
        .id;
    let report = ExecutionReport {
        input: Some(r#"{"a":1}"#.to_owned()),
        error: Some("it broke".to_owned()),
        duration_ms: Some(7),
        ..ExecutionReport::default()
    };
    let recorded = mcp
        .record_report(ALICE, tool, report.clone())
        .await
        .expect("a record");
    assert_eq!(
        (recorded.status, recorded.tool_name.as_str(), recorded.server_id),
        (Status::Recorded, "add", id)
    );
    let empty = mcp
        .record_report(ALICE, tool, ExecutionReport::default())
        .await
        .expect("a record");
    assert_eq!(empty.input, "{}");

    let page = Page { limit: 10, offset: 0 };
    let history = mcp.history(ALICE, tool, page).await.expect("a history");
    assert_eq!(history, [empty, recorded]);
    let elsewhere = ExecutionReport {
        conversation: Some(Uuid::from_u128(9)),
        ..report.clone()
    };
    for outcome in [
        mcp.record_report(BOB, tool, report).await.err(),
        mcp.record_report(ALICE, tool, elsewhere).await.err(),
        mcp.history(BOB, tool, page).await.err(),
    ] {
        assert!(matches!(outcome, Some(Error::NotFound { .. })), "{outcome:?}");
    }
}
