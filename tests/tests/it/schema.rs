//! The schema of the database: forward, back, and other people's.

use integration::{Server, TestDatabase, on_both_databases};
use serde_json::json;

/// What the Python server makes, as far as names go, with a row in it.
fn made_by_python(db: &TestDatabase) -> String {
    let tables = "
        CREATE TABLE usage_logs (id VARCHAR(36) PRIMARY KEY, api_key_id VARCHAR(255) NOT NULL, model VARCHAR(255) NOT NULL);
        CREATE TABLE receipts (id VARCHAR(36) PRIMARY KEY, api_key_id VARCHAR(255) NOT NULL);
        CREATE TABLE conversations (id VARCHAR(36) PRIMARY KEY, title VARCHAR(500));
        CREATE TABLE messages (id VARCHAR(36) PRIMARY KEY, conversation_id VARCHAR(36));
        CREATE TABLE conversation_templates (id VARCHAR(36) PRIMARY KEY, name VARCHAR(255));
        CREATE TABLE schema_migrations (filename VARCHAR(255), checksum VARCHAR(64));
        INSERT INTO usage_logs VALUES ('1', 'somebody', 'gpt-4');
    ";
    if db.is_postgres() {
        let schema = db.schema();
        format!("CREATE SCHEMA {schema}; SET search_path TO {schema}; {tables}")
    } else {
        tables.to_owned()
    }
}

on_both_databases! {
    async fn steps_go_back_and_forward_with_rows_in_the_tables(db: TestDatabase) {
        let server = Server::on(&db);
        let pending = server.run(&["migrate", "status"]).await.succeeded().stdout;
        assert!(
            pending.contains("pending") && !pending.contains("applied"),
            "{pending}"
        );
        let applied = server.run(&["migrate", "up"]).await.succeeded().stdout;
        assert!(
            applied.contains("applied") && !applied.contains("pending"),
            "{applied}"
        );
        let steps = applied.lines().filter(|line| line.starts_with("applied")).count();
        let empty = db.db_tables().await;

        let running = server.clone().start().await;
        running
            .actor("alice")
            .log_usage_once("k", &json!({"provider": "p", "model": "m", "cost": 1}))
            .await
            .ok();
        drop(running);
        assert_eq!(db.db_count("usage_logs").await, 1);

        let down = server
            .run(&["migrate", "down", "--steps", &steps.to_string()])
            .await
            .succeeded()
            .stdout;
        assert!(down.contains("pending") && !down.contains("applied"), "{down}");
        assert!(!db.db_tables().await.contains(&"usage_logs".to_owned()));

        server.run(&["migrate", "up"]).await.succeeded();
        server.run(&["migrate", "up"]).await.succeeded();
        assert_eq!(db.db_tables().await, empty);
        let running = server.start().await;
        let alice = running.actor("alice");
        alice.has_nothing().await;
        alice
            .log_usage_once("k", &json!({"provider": "p", "model": "m", "cost": 1}))
            .await
            .ok();
    }

    async fn asking_for_the_status_changes_nothing(db: TestDatabase) {
        Server::on(&db).run(&["migrate", "status"]).await.succeeded();
        assert_eq!(db.db_tables().await, Vec::<String>::new());
    }

    async fn replicas_start_at_once_on_an_empty_database(db: TestDatabase) {
        let (first, second, third) = tokio::join!(
            Server::on(&db).start(),
            Server::on(&db).start(),
            Server::on(&db).start()
        );
        let log = json!({"provider": "p", "model": "m", "cost": 1});
        let mut logged = Vec::new();
        for replica in [&first, &second, &third] {
            logged.push(replica.actor("alice").log_usage(log.clone()).await.ok().id());
        }
        for replica in [&first, &second, &third] {
            let alice = replica.actor("alice");
            for log in &logged {
                alice.can_see(log).await;
            }
            assert_eq!(alice.stats("").await.exact(&["summary", "total_requests"]), "3");
        }
    }

    async fn a_schema_that_the_python_server_made_is_recognised_and_left_alone(db: TestDatabase) {
        db.db_execute(&made_by_python(&db)).await;
        let before = db.db_tables().await;
        let said = Server::on(&db).refuses_to_start().await;
        let setting = if db.is_postgres() {
            "LLMRING_DATABASE_SCHEMA"
        } else {
            "LLMRING_DATABASE_URL"
        };
        assert!(said.contains("usage_logs") && said.contains(setting), "{said}");
        for command in [["migrate", "up"], ["migrate", "down"], ["keys", "list"]] {
            let finished = Server::on(&db).run(&command).await;
            assert!(!finished.status.success(), "{command:?} {finished:?}");
        }
        assert_eq!(db.db_tables().await, before);
        assert_eq!(
            db.db_value::<String>("SELECT model FROM usage_logs").await,
            "gpt-4"
        );
    }

    async fn a_schema_of_a_newer_server_is_refused_and_left_alone(db: TestDatabase) {
        Server::on(&db).run(&["migrate", "up"]).await.succeeded();
        db.db_execute(
            "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m29991231_000001_future', 0)",
        )
        .await;
        let said = Server::on(&db).refuses_to_start().await;
        assert!(said.contains("m29991231_000001_future"), "{said}");
        let down = Server::on(&db).run(&["migrate", "down"]).await;
        assert!(!down.status.success(), "{down:?}");
        assert!(db.db_tables().await.contains(&"usage_logs".to_owned()));
    }
}

#[tokio::test]
async fn the_python_servers_mcp_schema_is_recognised_too() {
    integration::database::play(TestDatabase::postgres(), |db| async move {
        let schema = format!("{}_mcp", db.schema());
        db.db_execute(&format!(
            "CREATE SCHEMA {schema}; CREATE TABLE {schema}.servers (id int)"
        ))
        .await;
        let said = Server::on(&db).refuses_to_start().await;
        assert!(
            said.contains("servers") && said.contains("LLMRING_DATABASE_MCP_SCHEMA"),
            "{said}"
        );
        assert_eq!(db.db_tables().await, ["servers"]);
    })
    .await;
}

#[tokio::test]
async fn people_who_query_postgresql_find_costs_as_numbers() {
    integration::database::play(TestDatabase::postgres(), |db| async move {
        let server = Server::on(&db).start().await;
        let body = r#"{"provider": "p", "model": "m", "cost": 1000000.000000000001}"#;
        server.actor("alice").post_text("/api/v1/log", body).await.ok();
        let cost: String = db
            .db_value("SELECT trim_scale(cost_usd)::text FROM usage_costs")
            .await;
        assert_eq!(cost, "1000000.000000000001");
    })
    .await;
}
