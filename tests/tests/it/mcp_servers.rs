//! MCP servers: registered, changed, deleted; their secrets encrypted, masked and rotated.

use integration::{Actor, Answer, Server, ServerBuilder, TestDatabase, on_both_databases};
use reqwest::Method;
use serde_json::{Value, json};

const ROOT: &str = "/api/v1/mcp/servers";
const MASK: &str = "********";
/// 32 bytes each, base64url.
const KEYS: [&str; 2] = [
    "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
    "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI",
];
const HUSH: &str = "hush-5f1c2b7d-do-not-tell";

/// A server that can keep secrets on either database.
pub(super) fn with_secrets(db: &TestDatabase) -> ServerBuilder {
    Server::on(db).with("LLMRING_SECRET_KEY", KEYS[0])
}

pub(super) async fn register(actor: &Actor, fields: &Value) -> Answer {
    actor.post(ROOT, fields).await
}

pub(super) async fn put(actor: &Actor, id: &str, fields: &Value) -> Answer {
    let request = actor.request(Method::PUT, &format!("{ROOT}/{id}"));
    actor.send(request.json(fields)).await
}

async fn delete(actor: &Actor, id: &str) -> Answer {
    actor
        .send(actor.request(Method::DELETE, &format!("{ROOT}/{id}")))
        .await
}

async fn names(actor: &Actor, query: &str) -> Vec<String> {
    let list = actor.get(&format!("{ROOT}?{query}")).await.ok().json();
    let list = list.as_array().expect("an array").iter();
    list.map(|server| server["name"].as_str().expect("a name").to_owned())
        .collect()
}

fn bearer(token: &str) -> Value {
    json!({"name": "n", "url": "https://mcp.example/mcp", "auth_config": {"type": "bearer", "token": token}})
}

on_both_databases! {
    async fn a_server_is_registered_read_changed_and_deleted(db: TestDatabase) {
        let server = with_secrets(&db).start().await;
        let (alice, bob) = (server.actor("alice"), server.actor("bob"));
        // As the client sends it, absent members as null.
        let made = register(&alice, &json!({"name": "calc", "url": "http://calculator-mcp:8080", "transport_type": "http",
            "auth_config": null, "capabilities": null, "project_id": null})).await.ok();
        let (id, body) = (made.id(), made.json());
        for (member, value) in [
            ("name", json!("calc")), ("url", json!("http://calculator-mcp:8080")), ("transport_type", json!("http")),
            ("auth_config", Value::Null), ("capabilities", json!({})), ("project_id", Value::Null), ("adapter", Value::Null),
            ("is_active", json!(true)), ("protocol_version", Value::Null), ("refreshed_at", Value::Null),
        ] {
            assert_eq!(body[member], value, "{member}");
        }
        assert!(body["api_key_id"].is_string() && body["created_at"].is_string() && body["updated_at"].is_string());
        assert_eq!(alice.get(&format!("{ROOT}/{id}")).await.ok().text, made.text);

        let changed = put(&alice, &id, &json!({"name": "sums", "capabilities": {"tools": {}}, "url": null, "project_id": "p"})).await.ok().json();
        assert_eq!((&changed["name"], &changed["url"]), (&json!("sums"), &body["url"]));
        assert_eq!((&changed["capabilities"], &changed["project_id"]), (&json!({"tools": {}}), &json!("p")));
        let patched = alice.send(alice.request(Method::PATCH, &format!("{ROOT}/{id}")).json(&json!({"is_active": false}))).await.ok().json();
        assert_eq!((&patched["is_active"], &patched["name"]), (&json!(false), &json!("sums")));

        bob.get(&format!("{ROOT}/{id}")).await.refused(404);
        put(&bob, &id, &json!({"name": "mine"})).await.refused(404);
        delete(&bob, &id).await.refused(404);
        bob.post(&format!("{ROOT}/{id}/refresh"), &json!({"tools": []})).await.refused(404);
        assert_eq!(names(&bob, "").await, Vec::<String>::new());

        let deleted = delete(&alice, &id).await.ok().json();
        assert!(deleted["message"].is_string(), "{deleted}");
        alice.get(&format!("{ROOT}/{id}")).await.refused(404);
        delete(&alice, &id).await.refused(404);
    }

    async fn the_list_is_whole_unless_a_part_is_asked_for(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        for number in 0..120 {
            let project = if number == 7 { json!("p") } else { Value::Null };
            register(&alice, &json!({"name": format!("s{number}"), "url": "https://a.example", "project_id": project})).await.ok();
        }
        let all = names(&alice, "").await;
        assert_eq!((all.len(), all[0].as_str(), all[119].as_str()), (120, "s0", "s119"));
        assert_eq!(names(&alice, "limit=2&offset=118").await, ["s118", "s119"]);
        assert_eq!(names(&alice, "offset=119").await, ["s119"]);
        assert_eq!(names(&alice, "project_id=p").await, ["s7"]);
        assert!(names(&alice, "is_active=false").await.is_empty());
        for query in ["limit=0", "limit=10001", "offset=-1", "is_active=perhaps"] {
            alice.get(&format!("{ROOT}?{query}")).await.refused(422);
        }
    }

    async fn bad_registrations_are_refused_and_nothing_is_stored(db: TestDatabase) {
        let server = with_secrets(&db).start().await;
        let alice = server.actor("alice");
        let id = register(&alice, &json!({"name": "n", "url": "https://a.example/"})).await.ok().id();
        let before = alice.get(&format!("{ROOT}/{id}")).await.ok().text;
        for (fields, place) in [
            (json!({"name": ""}), "body.name"),
            (json!({"name": " "}), "body.name"),
            (json!({"name": "x".repeat(256)}), "body.name"),
            (json!({"url": ""}), "body.url"),
            (json!({"url": "no address"}), "body.url"),
            (json!({"url": "https://".to_owned() + &"x".repeat(4096)}), "body.url"),
            (json!({"transport_type": "pigeon"}), "body.transport_type"),
            (json!({"transport_type": "stdio", "url": "npx 'open"}), "body.url"),
            (json!({"transport_type": "stdio", "url": "stdio://"}), "body.url"),
            (json!({"transport_type": "plugin", "url": "json"}), "body.url"),
            (json!({"adapter": "x".repeat(256)}), "body.adapter"),
            (json!({"project_id": "x".repeat(256)}), "body.project_id"),
            (json!({"capabilities": []}), "body.capabilities"),
            (json!({"auth_config": "text"}), "body.auth_config"),
            (json!({"auth_config": {"type": "bearer"}}), "body.auth_config.token"),
            (json!({"auth_config": {"type": "bearer", "token": MASK}}), "body.auth_config.token"),
            (json!({"auth_config": {"x": "y".repeat(300_000)}}), "body.auth_config"),
        ] {
            let refused = put(&alice, &id, &fields).await.refused(422);
            assert_eq!(refused.places(), [place], "{refused:?}");
            let mut whole = json!({"name": "n", "url": "https://a.example/"});
            for (member, value) in fields.as_object().expect("members") {
                whole[member] = value.clone();
            }
            assert_eq!(register(&alice, &whole).await.refused(422).places(), [place]);
        }
        let unknown = register(&alice, &json!({"name": "n", "url": "x", "transport_type": "pigeon"})).await.refused(422);
        for known in ["stdio", "http", "sse", "websocket", "plugin"] {
            assert!(unknown.text.contains(known), "{unknown:?}");
        }
        assert_eq!(register(&alice, &json!({})).await.refused(422).places(), ["body.name"]);
        alice.get(&format!("{ROOT}/no-id")).await.refused(404);
        assert_eq!(alice.get(&format!("{ROOT}/{id}")).await.ok().text, before);
        assert_eq!(db.db_count("servers").await, 1);
    }

    async fn every_transport_can_be_registered(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        for (transport, url) in [
            ("stdio", "npx -y @modelcontextprotocol/server-everything"),
            ("stdio", "stdio://python -m 'my server'"),
            ("http", "http://10.0.0.1:8080/mcp"),
            ("http", "stdio://python -m llmring.mcp.server"),
            ("sse", "https://a.example/sse"),
            ("websocket", "ws://a.example/ws?version=1"),
            ("plugin", "plugin:json"),
        ] {
            let made = register(&alice, &json!({"name": transport, "url": url, "transport_type": transport})).await.ok().json();
            assert_eq!((&made["url"], &made["transport_type"]), (&json!(url), &json!(transport)));
        }
    }

    async fn secrets_are_masked_and_a_mask_keeps_them(db: TestDatabase) {
        let server = with_secrets(&db).start().await;
        let alice = server.actor("alice");
        for (auth, shown) in [
            (json!({"type": "bearer", "token": HUSH}), json!({"type": "bearer", "token": MASK})),
            (json!({"type": "header", "name": "X-Key", "value": HUSH}), json!({"type": "header", "name": "X-Key", "value": MASK})),
            (json!({"type": "basic", "username": "ada", "password": HUSH}), json!({"type": "basic", "username": "ada", "password": MASK})),
            (
                json!({"type": "oauth_client_credentials", "token_url": "https://a.example/token", "client_id": "c", "client_secret": HUSH, "scope": "s"}),
                json!({"type": "oauth_client_credentials", "token_url": "https://a.example/token", "client_id": "c", "client_secret": MASK, "scope": "s"}),
            ),
            (json!({"headers": {"X": [HUSH, true, null, 7]}}), json!({"headers": {"X": [MASK, true, null, MASK]}})),
        ] {
            let made = register(&alice, &json!({"name": "n", "url": "https://a.example", "auth_config": auth})).await.ok();
            let id = made.id();
            let secret_before = envelope(&db, &id).await;
            let kept = put(&alice, &id, &json!({"name": "m", "auth_config": made.json()["auth_config"]})).await.ok();
            for answer in [&made, &kept, &alice.get(&format!("{ROOT}/{id}")).await.ok(), &alice.get(ROOT).await.ok()] {
                assert!(!answer.text.contains(HUSH), "{answer:?}");
            }
            assert_eq!(made.json()["auth_config"], shown);
            assert_eq!(kept.json()["auth_config"], shown);
            assert_eq!(envelope(&db, &id).await, secret_before, "the secret is the same");
        }
        // A mask is worth what is behind it, in its place alone.
        let id = register(&alice, &bearer(HUSH)).await.ok().id();
        for auth in [
            json!({"type": "basic", "username": MASK, "password": "x"}),
            json!({"type": "header", "name": MASK, "value": "x"}),
            json!({"type": "bearer", "token": {"x": MASK}}),
            json!({"tokens": [MASK]}),
        ] {
            put(&alice, &id, &json!({"auth_config": auth})).await.refused(422);
        }
        let before = envelope(&db, &id).await;
        put(&alice, &id, &bearer("another")).await.ok();
        assert_ne!(envelope(&db, &id).await, before);
        let none = put(&alice, &id, &json!({"auth_config": {}})).await.ok().json();
        assert_eq!(none["auth_config"], json!({}));
        assert_eq!(db.db_value::<i64>(&format!("SELECT count(*) FROM servers WHERE auth_envelope IS NULL AND {}", is(&db, &id))).await, 1);
    }

    async fn a_url_with_a_secret_is_refused_without_repeating_it(db: TestDatabase) {
        let server = with_secrets(&db).start().await;
        let alice = server.actor("alice");
        for url in [
            format!("https://ada:{HUSH}@a.example/mcp"),
            format!("https://{HUSH}@a.example/mcp"),
            format!("https://a.example/mcp?api_key={HUSH}"),
            format!("wss://a.example/mcp?x=1&Access-Token={HUSH}"),
        ] {
            let refused = register(&alice, &json!({"name": "n", "url": url})).await.refused(422);
            assert_eq!(refused.places(), ["body.url"]);
            assert!(refused.text.contains("auth_config") && !refused.text.contains(HUSH), "{refused:?}");
        }
        assert_eq!(db.db_count("servers").await, 0);
        assert!(!server.log().text().contains(HUSH));
    }

    async fn a_secret_is_nowhere_but_in_its_envelope(db: TestDatabase) {
        let server = with_secrets(&db).with("LLMRING_LOG", "trace").start().await;
        let alice = server.actor("alice");
        let id = register(&alice, &bearer(HUSH)).await.ok().id();
        put(&alice, &id, &bearer(&format!("{HUSH}-2"))).await.ok();
        // Refusals repeat nothing, wherever the secret stands.
        for auth in [
            json!({"type": "basic", "username": "ada", "password": {"wrong": HUSH}}),
            json!({"type": "header", "name": "", "value": HUSH}),
            json!({"type": "oauth_client_credentials", "token_url": format!("https://x:{HUSH}@a.example"), "client_id": "c", "client_secret": HUSH}),
            json!([HUSH]),
            json!(HUSH),
        ] {
            let refused = register(&alice, &json!({"name": "n", "url": "https://a.example", "auth_config": auth})).await.refused(422);
            assert!(!refused.text.contains(HUSH), "{refused:?}");
        }
        let malformed = alice.post_text(ROOT, &format!(r#"{{"auth_config": {{"token": "{HUSH}", "token": "{HUSH}"}}}}"#)).await.refused(400);
        assert!(!malformed.text.contains(HUSH), "{malformed:?}");
        alice.get("/metrics").await.ok();
        assert!(!db.db_contains(HUSH).await, "a secret is stored in clear");
        assert!(!db.db_contains(KEYS[0]).await, "the key is stored in the database");
        assert!(!server.log().text().contains(HUSH), "a secret is logged");
        assert!(!server.log().text().contains(KEYS[0]), "the key is logged");
    }

    async fn a_ciphertext_of_another_row_opens_nothing(db: TestDatabase) {
        let server = with_secrets(&db).start().await;
        let (alice, bob) = (server.actor("alice"), server.actor("bob"));
        let (hers, his) = (register(&alice, &bearer(HUSH)).await.ok().id(), register(&bob, &bearer("his")).await.ok().id());
        let moved = format!(
            "UPDATE servers SET auth_envelope = (SELECT auth_envelope FROM servers WHERE {}) WHERE {}",
            is(&db, &hers), is(&db, &his)
        );
        db.db_execute(&moved).await;
        // Only a mask asks for what is stored.
        let refused = put(&bob, &his, &json!({"auth_config": {"type": "bearer", "token": MASK}})).await.refused(409);
        assert!(refused.text.contains("another row"), "{refused:?}");
        put(&bob, &his, &bearer("again")).await.ok();
        put(&bob, &his, &json!({"auth_config": {"type": "bearer", "token": MASK}})).await.ok();
    }

    async fn a_key_is_replaced_without_losing_a_secret(db: TestDatabase) {
        let old = with_secrets(&db);
        let running = old.clone().start().await;
        let alice = running.actor("alice");
        let mut ids = Vec::new();
        for number in 0..3 {
            ids.push(register(&alice, &bearer(&format!("{HUSH}{number}"))).await.ok().id());
        }
        drop(running);

        let alone = Server::on(&db).with("LLMRING_SECRET_KEY", KEYS[1]);
        let running = alone.clone().start().await;
        running.log().says("secrets under a key that is not known").await;
        let alice = running.actor("alice");
        // What needs no secret works.
        assert_eq!(names(&alice, "").await.len(), 3);
        put(&alice, &ids[0], &json!({"name": "renamed"})).await.ok();
        let masked = json!({"auth_config": {"type": "bearer", "token": MASK}, "url": "https://b.example"});
        let refused = put(&alice, &ids[0], &masked).await.refused(409);
        assert!(refused.text.contains("LLMRING_SECRET_KEY_PREVIOUS"), "{refused:?}");
        drop(running);
        let failed = alone.run(&["secrets", "rotate"]).await;
        assert!(!failed.status.success() && failed.stdout.contains(&ids[0]), "{failed:?}");

        let both = alone.clone().with("LLMRING_SECRET_KEY_PREVIOUS", KEYS[0]);
        let running = both.clone().start().await;
        let alice = running.actor("alice");
        put(&alice, &ids[0], &masked).await.ok();
        let rotated = both.run(&["secrets", "rotate"]).await.succeeded().stdout;
        assert!(rotated.starts_with("3 secrets were encrypted anew, 0 "), "{rotated}");
        let again = both.run(&["secrets", "rotate"]).await.succeeded().stdout;
        assert!(again.starts_with("0 secrets were encrypted anew, 3 "), "{again}");
        drop(running);

        let running = alone.start().await;
        let alice = running.actor("alice");
        for id in &ids {
            put(&alice, id, &masked).await.ok();
        }
        assert!(!running.log().text().contains("not known here"));
        assert!(!db.db_contains(HUSH).await);
    }

    async fn two_changes_at_once_are_both_made(db: TestDatabase) {
        let server = with_secrets(&db).start().await;
        let alice = server.actor("alice");
        let id = register(&alice, &bearer(HUSH)).await.ok().id();
        for round in 0..10 {
            let (name, adapter) = (format!("n{round}"), format!("a{round}"));
            let (first, second) = (json!({"name": name}), json!({"adapter": adapter}));
            let (first, second) = tokio::join!(put(&alice, &id, &first), put(&alice, &id, &second));
            first.ok();
            second.ok();
            let row = alice.get(&format!("{ROOT}/{id}")).await.ok().json();
            assert_eq!((&row["name"], &row["adapter"]), (&json!(name), &json!(adapter)));
        }
    }
}

async fn envelope(db: &TestDatabase, id: &str) -> String {
    db.db_value(&format!("SELECT auth_envelope FROM servers WHERE {}", is(db, id)))
        .await
}

fn is(db: &TestDatabase, id: &str) -> String {
    if db.is_postgres() {
        format!("id = '{id}'")
    } else {
        format!("id = x'{}'", id.replace('-', ""))
    }
}

#[tokio::test]
async fn the_tables_are_in_their_own_schema_on_postgresql() {
    integration::database::play(TestDatabase::postgres(), |db| async move {
        Server::on(&db).run(&["migrate", "up"]).await.succeeded();
        let tables: String = db
            .db_value(&format!(
                "SELECT string_agg(tablename::text, ' ' ORDER BY tablename) FROM pg_tables WHERE schemaname = '{}_mcp'",
                db.schema()
            ))
            .await;
        assert_eq!(
            tables,
            "prompts resource_templates resources servers tool_executions tool_versions tools"
        );
    })
    .await;
}

#[tokio::test]
async fn on_postgresql_a_key_is_needed_only_for_a_secret() {
    integration::database::play(TestDatabase::postgres(), |db| async move {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        register(
            &alice,
            &json!({"name": "n", "url": "https://a.example", "auth_config": {}}),
        )
        .await
        .ok();
        let refused = register(&alice, &bearer(HUSH)).await.refused(503);
        assert!(refused.text.contains("LLMRING_SECRET_KEY"), "{refused:?}");
        assert_eq!(db.db_count("servers").await, 1);
    })
    .await;
}

#[cfg(unix)]
#[tokio::test]
async fn on_sqlite_a_key_is_made_once_beside_the_database_and_kept() {
    use std::os::unix::fs::PermissionsExt;

    let db = TestDatabase::sqlite();
    let file = db.file().with_file_name("llmring.db.secret-key");
    let running = Server::on(&db).start().await;
    let key = std::fs::read_to_string(&file).expect("a key");
    let mode = std::fs::metadata(&file).expect("a key").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let id = register(&running.actor("alice"), &bearer(HUSH)).await.ok().id();
    drop(running);

    let masked = json!({"auth_config": {"type": "bearer", "token": MASK}, "url": "https://b.example"});
    let running = Server::on(&db).start().await;
    put(&running.actor("alice"), &id, &masked).await.ok();
    assert_eq!(std::fs::read_to_string(&file).expect("a key"), key);
    drop(running);
    assert!(!db.db_contains(HUSH).await);

    // A configured key takes over; the file's goes on decrypting until it is not needed.
    let configured = Server::on(&db).with("LLMRING_SECRET_KEY", KEYS[0]);
    let rotated = configured.run(&["secrets", "rotate"]).await.succeeded().stdout;
    assert!(rotated.starts_with("1 secrets"), "{rotated}");
    std::fs::remove_file(&file).expect("the key removed");
    let running = configured.start().await;
    put(&running.actor("alice"), &id, &masked).await.ok();
    assert!(!file.exists(), "a key that nobody needs");
}

#[tokio::test]
async fn keys_are_made_and_bad_ones_stop_the_start_without_being_shown() {
    let db = TestDatabase::sqlite();
    let made = Server::on(&db)
        .run(&["secrets", "keygen"])
        .await
        .succeeded()
        .stdout;
    let key = made
        .trim()
        .strip_prefix("LLMRING_SECRET_KEY=")
        .unwrap_or_else(|| panic!("{made}"));
    let running = Server::on(&db).with("LLMRING_SECRET_KEY", key).start().await;
    register(&running.actor("alice"), &bearer(HUSH)).await.ok();
    for (variable, value) in [
        ("LLMRING_SECRET_KEY", "hush-hush"),
        ("LLMRING_SECRET_KEY_PREVIOUS", "AQEB,hush-hush"),
    ] {
        let said = Server::on(&db).with(variable, value).refuses_to_start().await;
        assert!(said.contains(variable) && !said.contains("hush"), "{said}");
    }
}
