//! Receipts: issued, stored, generated from usage logs, verified by others, and watched for tampering.

use std::collections::BTreeSet;

use integration::database::play;
use integration::{
    Actor, Answer, DEADLINE, Server, ServerBuilder, TestDatabase, on_both_databases, python_with_input,
};
use reqwest::Method;
use sea_orm::{ConnectionTrait, TransactionTrait};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;
use uuid::Uuid;

// RFC 8032 section 7.1, tests 1 and 2.
const SEED: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
const PUBLIC: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
const NEXT_SEED: &str = "TM0Imyj_ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U-4pvs";
const NEXT_PUBLIC: &str = "PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw";

/// A server that signs.
fn signing(db: &TestDatabase) -> ServerBuilder {
    Server::on(db)
        .with("LLMRING_RECEIPTS_PRIVATE_KEY_B64", SEED)
        .with("LLMRING_RECEIPTS_KEY_ID", "first")
}

fn unsigned() -> Value {
    json!({"model": "gpt-4o-mini", "tokens": {"input": 1200, "output": 350}, "cost": {"amount": "0.00039"}})
}

async fn issue(actor: &Actor, members: &Value) -> Answer {
    actor.post("/api/v1/receipts/issue", members).await
}

async fn generate(actor: &Actor, selection: Value) -> Answer {
    actor.post("/api/v1/receipts/generate", &selection).await
}

async fn store(actor: &Actor, receipt: &str) -> Answer {
    actor
        .post_text("/api/v1/receipts/", &format!("{{\"receipt\": {receipt}}}"))
        .await
}

async fn verdict(actor: &Actor, receipt: &str) -> Value {
    actor
        .post_text("/api/v1/receipts/verify", receipt)
        .await
        .ok()
        .json()
}

async fn fetch(actor: &Actor, id: &str) -> Answer {
    actor.get(&format!("/api/v1/receipts/{id}")).await
}

fn receipt_id(answer: &Answer) -> String {
    answer.json()["id"].as_str().expect("an id").to_owned()
}

/// The receipt in an answer of `generate`, byte for byte, and its members.
fn generated(answer: &Answer) -> (String, Value) {
    let text = answer.exact(&["receipt"]);
    let members = serde_json::from_str(&text).expect("JSON");
    (text, members)
}

/// All entries of a list of logs, page by page.
async fn all_logs(actor: &Actor, path: &str) -> Vec<Value> {
    let mut logs = Vec::new();
    loop {
        let page = actor
            .get(&format!("{path}?limit=500&offset={}", logs.len()))
            .await
            .ok()
            .json();
        let entries = page["logs"].as_array().expect("logs").clone();
        if entries.is_empty() {
            assert_eq!(page["total"], json!(logs.len()));
            return logs;
        }
        logs.extend(entries);
    }
}

/// What a reader computes from the listed logs to compare with `logs_sha256`.
fn digest(logs: &[Value]) -> String {
    let mut hash = Sha256::new();
    for log in logs {
        hash.update(log["id"].as_str().expect("an id"));
        hash.update("\n");
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn log(actor: &Actor, members: Value) -> String {
    let mut call =
        json!({"provider": "acme", "model": "m1", "input_tokens": 10, "output_tokens": 5, "cost": 0.25});
    for (name, value) in members.as_object().expect("members") {
        call[name] = value.clone();
    }
    actor.log_usage(call).await.ok().id()
}

on_both_databases! {
    async fn an_issued_receipt_is_kept_byte_for_byte_and_anybody_verifies_it(db: TestDatabase) {
        let server = signing(&db).start().await;
        let (alice, anybody) = (server.actor("alice"), server.anybody());
        let mut members = unsigned();
        members["team"] = json!({"name": "Süd", "weights": [1.5, 1e21], "none": null});
        let issued = issue(&alice, &members).await.ok();
        let receipt = issued.json();
        assert!(receipt["id"].as_str().is_some_and(|id| id.starts_with("rcpt_") && id.len() == 37), "{issued:?}");
        assert_eq!((&receipt["key_id"], &receipt["team"]["name"]), (&json!("first"), &json!("Süd")));
        assert!(receipt.get("batch_summary").is_none() && receipt.get("profile").is_none(), "nothing is added: {issued:?}");

        let id = receipt_id(&issued);
        assert_eq!(fetch(&alice, &id).await.ok().text, issued.text);
        let list = alice.get("/api/v1/receipts").await.ok();
        assert_eq!(list.exact(&["receipts", "0"]), issued.text);
        assert_eq!((list.exact(&["total"]), list.exact(&["limit"]), list.exact(&["offset"])), ("1".into(), "50".into(), "0".into()));

        let genuine = verdict(&anybody, &issued.text).await;
        assert_eq!(
            genuine,
            json!({"receipt_id": id, "valid": true, "key_id": "first", "algorithm": "Ed25519", "reason": null})
        );
        for (from, to) in [("1200", "1201"), ("0.00039", "0.0004"), ("Süd", "Nord"), ("\"none\":null", "\"none\":1"), ("first", "second")] {
            let forged = issued.text.replace(from, to);
            assert_ne!(forged, issued.text);
            let refused = verdict(&anybody, &forged).await;
            assert_eq!(refused["valid"], json!(false), "{from} -> {to}");
            assert!(refused["reason"].as_str().is_some_and(|reason| !reason.is_empty()));
        }
    }

    async fn the_same_receipt_again_is_fine_and_another_of_its_id_is_not(db: TestDatabase) {
        let server = signing(&db).start().await;
        let (alice, bob) = (server.actor("alice"), server.actor("bob"));
        let mut members = unsigned();
        members["id"] = json!("rcpt_mine");
        members["timestamp"] = json!("2026-07-01T12:00:00Z");
        let first = issue(&alice, &members).await.ok();
        assert_eq!(issue(&alice, &members).await.ok().text, first.text);
        let with_spaces = first.text.replace(',', " ,\n");
        assert_eq!(store(&alice, &with_spaces).await.ok().json(), json!({"receipt_id": "rcpt_mine", "status": "verified"}));
        assert_eq!(fetch(&alice, "rcpt_mine").await.ok().text, first.text);

        members["model"] = json!("another");
        issue(&alice, &members).await.refused(409);
        // Ids are unique within a project only, and say nothing across projects.
        fetch(&bob, "rcpt_mine").await.refused(404);
        let of_bob = issue(&bob, &members).await.ok();
        assert_eq!(store(&alice, &of_bob.text).await.refused(409).status, 409);
        assert_eq!(fetch(&alice, "rcpt_mine").await.ok().text, first.text);
        assert_eq!(db.db_count("receipts").await, 2);
    }

    async fn python_verifies_what_is_issued_here_and_is_believed_here(db: TestDatabase) {
        let signed = python_with_input(&["receipt_interop.py", "sign"], "", DEADLINE).await.succeeded().stdout;
        let signed: Value = serde_json::from_str(&signed).expect("JSON");
        let theirs = json!([{"kty": "OKP", "crv": "Ed25519", "kid": signed["key_id"], "x": signed["public_key_b64"]}]);
        let server = signing(&db).with("LLMRING_RECEIPTS_OTHER_KEYS", &theirs.to_string()).start().await;
        let alice = server.actor("alice");

        // As Python printed it: its member order, its number forms, its escapes.
        let printed = python_with_input(&["receipt_interop.py", "sign"], "", DEADLINE).await.succeeded().stdout;
        let text = printed.split_once("\"receipt\": ").expect("a receipt").1.trim_end().strip_suffix('}').expect("an object").trim_end();
        store(&alice, text).await.ok();
        assert_eq!(fetch(&alice, "rcpt_python_0001").await.ok().text, text);

        log(&alice, json!({})).await;
        log(&alice, json!({"model": "m2", "alias": "zweite Wahl"})).await;
        let (batch, _) = generated(&generate(&alice, json!({"since_last_receipt": true})).await.ok());
        let mut members = unsigned();
        members["\u{fb33}"] = json!({"\u{1f600}": 1, "€": [1e30, 5e-324, 9_007_199_254_740_991_u64]});
        let issued = issue(&alice, &members).await.ok().text;
        let jwk = alice.get("/receipts/public-key.jwk").await.ok().text;
        for receipt in [batch, issued] {
            let given = format!("{{\"receipt\": {receipt}, \"jwk\": {jwk}}}");
            let answer = python_with_input(&["receipt_interop.py", "verify"], &given, DEADLINE).await.succeeded();
            assert_eq!(answer.stdout.trim(), "{\"valid\": true}");
            let forged = given.replace("tokens", "Tokens");
            let answer = python_with_input(&["receipt_interop.py", "verify"], &forged, DEADLINE).await;
            assert!(!answer.status.success(), "{answer:?}");
        }
    }

    async fn what_is_no_genuine_receipt_is_refused_and_not_stored(db: TestDatabase) {
        let server = signing(&db).start().await;
        let alice = server.actor("alice");
        let mut members = unsigned();
        members["id"] = json!("rcpt_good");
        let good = issue(&server.actor("bob"), &members).await.ok().text;
        let stored = db.db_count("receipts").await;
        for (receipt, status) in [
            (good.replace("1200", "1201"), 400),
            (good.replace("\"first\"", "\"unknown\""), 400),
            (good.replace("ed25519:", "rs256:"), 400),
            (good.replace("\"model\"", "\"model\":\"x\",\"model\""), 400),
            (good.replace("1200", "9007199254740992"), 400),
            (good.replace("1200", "1e999"), 400),
            (good.replace("1200", "NaN"), 400),
            (good.replace("gpt-4o-mini", "\\ud800"), 400),
            ("[1]".to_owned(), 400),
            (good.replace("1200", "-1"), 422),
            (good.replace("\"model\"", "\"modell\""), 422),
            (good.replace("\"signature\"", "\"sign\""), 422),
            (good.replace("\"0.00039\"", "\"cheap\""), 422),
            (good.replace("\"model\"", &format!("\"filler\":\"{}\",\"model\"", "x".repeat(1 << 18))), 400),
        ] {
            store(&alice, &receipt).await.refused(status);
        }
        alice.post("/api/v1/receipts", &json!({"id": "bare"})).await.refused(422);
        for (members, status) in [
            ("{\"signature\":\"ed25519:AA\",\"model\":\"m\"}".to_owned(), 422),
            (unsigned().to_string().replace("1200", "9007199254740992"), 400),
            (unsigned().to_string().replace("\"model\"", "\"timestamp\":\"9999-12-31T23:59:59-23:59\",\"model\""), 422),
            (unsigned().to_string().replace("\"model\"", "\"key_id\":\"unknown\",\"model\""), 400),
            (unsigned().to_string().replace("\"model\"", "\"id\":\"a\\u0000b\",\"model\""), 422),
            (unsigned().to_string().replace("\"model\"", &format!("\"filler\":\"{}\",\"model\"", "x".repeat(1 << 18))), 422),
            ("{}".to_owned(), 422),
            ("{".to_owned(), 400),
        ] {
            alice.post_text("/api/v1/receipts/issue", &members).await.refused(status);
        }
        server.anybody().post_text("/api/v1/receipts/verify", "{\"a\":1,\"a\":2}").await.refused(400);
        assert_eq!(verdict(&server.anybody(), "{\"id\":\"x\"}").await["valid"], json!(false));
        for id in ["rcpt_good", "%00", "unheard-of"] {
            fetch(&alice, id).await.refused(404);
            alice.get(&format!("/api/v1/receipts/{id}/logs")).await.refused(404);
        }
        alice.get("/api/v1/receipts?limit=0").await.refused(422);
        alice.get("/api/v1/receipts?limit=501").await.refused(422);
        assert_eq!(db.db_count("receipts").await, stored);
    }

    async fn a_caller_cannot_have_it_signed_that_the_server_certified_logs(db: TestDatabase) {
        let server = signing(&db).start().await;
        let alice = server.actor("alice");
        let id = log(&alice, json!({})).await;
        for (member, value) in [
            ("receipt_type", json!("single")),
            ("log_id", json!(id)),
            ("batch_summary", json!({"logs_count": 1})),
        ] {
            let mut members = unsigned();
            members[member] = value;
            assert_eq!(issue(&alice, &members).await.refused(422).places(), [format!("body.{member}")]);
        }
        assert_eq!(db.db_count("receipts").await, 0);
        // Null is absent, and every other member is the caller's.
        let mut members = unsigned();
        members["batch_summary"] = Value::Null;
        members["log"] = json!(id);
        let issued = issue(&alice, &members).await.ok();
        assert_eq!(issued.json()["log"], json!(id));
        // Made here, it is signed.
        generate(&alice, json!({"log_ids": [id]})).await.ok();
    }

    async fn one_log_has_a_receipt_that_explains_its_cost(db: TestDatabase) {
        let server = signing(&db).start().await;
        server.has_prices().await;
        let alice = server.actor("alice");
        let id = alice
            .log_usage(json!({"provider": "openai", "model": "gpt-4o-mini", "input_tokens": 1200, "output_tokens": 350, "alias": "fast"}))
            .await
            .ok()
            .id();
        let answer = generate(&alice, json!({"log_ids": [id], "description": "July", "tags": ["a", "b"]})).await.ok();
        assert_eq!(answer.exact(&["certified_count"]), "1");
        let (text, receipt) = generated(&answer);
        assert_eq!(
            (&receipt["receipt_type"], &receipt["log_id"], &receipt["alias"], &receipt["provider"], &receipt["description"], &receipt["tags"]),
            (&json!("single"), &json!(id), &json!("fast"), &json!("openai"), &json!("July"), &json!(["a", "b"]))
        );
        assert_eq!(receipt["tokens"], json!({"input": 1200, "output": 350, "cached_input": 0}));

        // Everything that the explanation of the cost has is in the receipt's text.
        let explained = alice.cost_of(&id).await.ok().json();
        let calculation = receipt["cost"]["calculation"].as_str().expect("text");
        assert_eq!(receipt["registry_version"], explained["registry_version"]);
        assert!(calculation.contains(explained["registry_sha256"].as_str().expect("a digest")), "{calculation}");
        let lines = explained["lines"].as_array().expect("lines");
        assert_eq!(lines.len(), 2);
        for line in lines {
            let member = |name: &str| line[name].as_str().expect("text").to_owned();
            let expected = format!(
                "{} {} × ${} / 1000000 = ${}",
                member("token_class"), line["tokens"], member("usd_per_million_tokens"), member("amount")
            );
            assert!(calculation.contains(&expected), "{expected} is not in {calculation}");
        }
        assert_eq!(receipt["cost"]["amount"].as_str().expect("text"), alice.cost_of(&id).await.ok().exact(&["cost"]));
        assert_eq!(fetch(&alice, receipt["id"].as_str().expect("an id")).await.ok().text, text);
    }

    async fn each_selection_certifies_what_it_names_and_says_what_it_adds_up_to(db: TestDatabase) {
        const CONVERSATION: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
        let server = signing(&db).start().await;
        let (alice, bob) = (server.actor("alice"), server.actor("bob"));
        let first = log(&alice, json!({"alias": "a", "conversation_id": CONVERSATION, "cost": 0.1})).await;
        let second = log(&alice, json!({"alias": "b", "conversation_id": CONVERSATION, "cached_input_tokens": 3, "cost": 0.2})).await;
        let unpriced = log(&alice, json!({"provider": "nobody", "model": "m2", "cost": null})).await;
        let of_bob = log(&bob, json!({})).await;
        let today = chrono::Utc::now().date_naive();
        let yesterday = today.pred_opt().expect("a day");

        let preview = alice.post("/api/v1/receipts/preview", &json!({"since_last_receipt": true})).await.ok();
        assert_eq!(preview.exact(&["total_cost"]), "0.3");
        let summary = preview.json();
        assert_eq!(
            (&summary["total_logs"], &summary["total_conversations"], &summary["total_tokens"], &summary["unpriced_logs"], &summary["receipt_type"]),
            (&json!(3), &json!(1), &json!(45), &json!(1), &json!("batch"))
        );
        assert_eq!(db.db_count("receipts").await, 0);

        let (_, receipt) = generated(&generate(&alice, json!({"start_date": yesterday, "end_date": today.succ_opt()})).await.ok());
        let batch = &receipt["batch_summary"];
        assert_eq!((&receipt["model"], &receipt["alias"], &receipt["provider"], &receipt["profile"]), (&json!("mixed"), &json!("mixed"), &json!("mixed"), &json!("default")));
        assert_eq!(receipt["tokens"], json!({"input": 30, "output": 15, "cached_input": 3}));
        assert_eq!((&receipt["cost"]["amount"], &batch["total_cost"]), (&json!("0.3"), &json!("0.3")));
        assert!(receipt["cost"]["calculation"].as_str().is_some_and(|text| text.contains("3 usage logs") && text.contains("(1)")), "{receipt}");
        assert_eq!(batch["by_model"], json!({"m1": {"calls": 2, "tokens": 30, "cost": "0.3"}, "m2": {"calls": 1, "tokens": 15, "cost": "0"}}));
        assert_eq!(batch["by_alias"], json!({"a": {"calls": 1, "tokens": 15, "cost": "0.1"}, "b": {"calls": 1, "tokens": 15, "cost": "0.2"}}));
        let path = format!("/api/v1/receipts/{}/logs", receipt["id"].as_str().expect("an id"));
        let logs = all_logs(&alice, &path).await;
        let ids: BTreeSet<&str> = logs.iter().filter_map(|log| log["id"].as_str()).collect();
        assert_eq!(ids, [first.as_str(), second.as_str(), unpriced.as_str()].into());
        assert_eq!((&batch["logs_sha256"], &batch["logs_count"]), (&json!(digest(&logs)), &json!(3)));
        bob.get(&path).await.refused(404);

        // What has a receipt is in no later selection of what has none; it may be named again all the same.
        generate(&alice, json!({"since_last_receipt": true})).await.refused(400);
        let last = log(&alice, json!({})).await;
        let uncertified = alice.get("/api/v1/receipts/uncertified").await.ok().json();
        assert_eq!((&uncertified["total"], &uncertified["logs"][0]["id"]), (&json!(1), &json!(last)));
        let (_, receipt) = generated(&generate(&alice, json!({"since_last_receipt": true})).await.ok());
        assert_eq!((&receipt["receipt_type"], &receipt["log_id"]), (&json!("single"), &json!(last)));
        let conversation = generate(&alice, json!({"conversation_id": CONVERSATION})).await.ok();
        assert_eq!(conversation.exact(&["certified_count"]), "2");
        assert_eq!(generated(&conversation).1["provider"], json!("acme"));

        for (selection, status) in [
            (json!({}), 422),
            (json!({"since_last_receipt": false}), 422),
            (json!({"since_last_receipt": true, "log_ids": [first]}), 422),
            (json!({"start_date": today}), 422),
            (json!({"end_date": today}), 422),
            (json!({"start_date": today, "end_date": yesterday}), 422),
            (json!({"start_date": "soon", "end_date": today}), 422),
            (json!({"log_ids": []}), 422),
            (json!({"log_ids": (0..=10_000).map(Uuid::from_u128).collect::<Vec<_>>()}), 422),
            (json!({"log_ids": ["x"]}), 422),
            (json!({"log_ids": [first, of_bob]}), 404),
            (json!({"log_ids": [first, CONVERSATION]}), 404),
            (json!({"conversation_id": of_bob}), 400),
            (json!({"start_date": "2020-01-01", "end_date": "2020-01-31"}), 400),
        ] {
            for operation in ["generate", "preview"] {
                alice.post(&format!("/api/v1/receipts/{operation}"), &selection).await.refused(status);
            }
        }
        assert_eq!(db.db_count("receipts").await, 3);
        assert_eq!(db.db_count("receipt_logs").await, 6);
    }

    async fn a_logged_call_has_its_receipt_at_once_and_keeps_what_it_says(db: TestDatabase) {
        let server = signing(&db).start().await;
        let alice = server.actor("alice");
        let call = json!({
            "messages": [{"role": "user", "content": "Hello"}],
            "response": {"content": "Hi", "model": "gpt-4o-mini"},
            "metadata": {"provider": "openai", "model": "gpt-4o-mini", "input_tokens": 10, "output_tokens": 2, "cost": 0.25}
        });
        let logged = alice.post("/api/v1/conversations/log", &call).await.ok();
        let text = logged.exact(&["receipt"]);
        assert_eq!(verdict(&alice, &text).await["valid"], json!(true));
        let receipt: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(receipt["cost"]["amount"], json!("0.25"));
        let id = receipt["id"].as_str().expect("an id");
        assert_eq!(fetch(&alice, id).await.ok().text, text);

        let conversation = logged.json()["conversation_id"].as_str().expect("an id").to_owned();
        let messages = alice.get(&format!("/conversations/{conversation}/messages")).await.ok().json();
        assert_eq!(messages[1]["receipt_id"], json!(id));
        let uncertified = alice.get("/api/v1/receipts/uncertified").await.ok().json();
        assert_eq!(uncertified["total"], json!(0));

        // The client's own log of the same call follows: it is no second call, and what was signed stays.
        let log = json!({
            "provider": "openai", "model": "gpt-4o-mini", "input_tokens": 10, "output_tokens": 2, "cost": 0.5,
            "origin": "app", "id_at_origin": conversation
        });
        alice.post("/api/v1/log", &log).await.ok();
        let logs = alice.get("/api/v1/logs").await.ok();
        assert_eq!(logs.json().as_array().map(Vec::len), Some(1));
        assert_eq!((logs.exact(&["0", "cost"]), &logs.json()[0]["origin"]), ("0.25".to_owned(), &json!("app")));
        generate(&alice, json!({"since_last_receipt": true})).await.refused(400);
    }

    async fn concurrent_receipts_never_certify_a_log_twice_and_miss_none(db: TestDatabase) {
        const WRITERS: usize = 4;
        const CERTIFIERS: usize = 4;
        const BATCHES: usize = 15;
        let server = signing(&db).start().await;
        let alice = server.actor("alice");
        let mut writers = JoinSet::new();
        for _ in 0..WRITERS {
            let alice = alice.clone();
            writers.spawn(async move {
                let calls = vec![json!({"provider": "acme", "model": "m", "input_tokens": 1, "cost": 0.000_001}); 10];
                for _ in 0..BATCHES {
                    alice.log_batch(&calls).await.ok();
                }
            });
        }
        let mut certifiers = JoinSet::new();
        for _ in 0..CERTIFIERS {
            let alice = alice.clone();
            certifiers.spawn(async move {
                let mut certified: Vec<Value> = Vec::new();
                for _ in 0..BATCHES {
                    let answer = generate(&alice, json!({"since_last_receipt": true})).await;
                    // 400: there is nothing to certify; 503: others have waited longer.
                    if !matches!(answer.status, 400 | 503) {
                        certified.push(answer.ok().json());
                    }
                }
                certified
            });
        }
        writers.join_all().await;
        let mut receipts: Vec<Value> = certifiers.join_all().await.into_iter().flatten().collect();
        let rest = generate(&alice, json!({"since_last_receipt": true})).await;
        if rest.status != 400 {
            receipts.push(rest.ok().json());
        }
        assert!(receipts.len() > 1, "nothing ran side by side");

        let logged = WRITERS * BATCHES * 10;
        let mut seen = BTreeSet::new();
        for receipt in &receipts {
            let (certified, receipt) = (&receipt["certified_count"], &receipt["receipt"]);
            let logs = all_logs(&alice, &format!("/api/v1/receipts/{}/logs", receipt["id"].as_str().expect("an id"))).await;
            assert_eq!(certified, &json!(logs.len()));
            if let Some(batch) = receipt.get("batch_summary") {
                assert_eq!(batch["logs_sha256"], json!(digest(&logs)));
                assert_eq!((&batch["total_calls"], &batch["total_tokens"]), (certified, certified));
            }
            for log in logs {
                assert!(seen.insert(log["id"].as_str().expect("an id").to_owned()), "{log} is certified twice");
            }
        }
        assert_eq!(seen.len(), logged);
        assert_eq!(alice.get("/api/v1/receipts/uncertified").await.ok().json()["total"], json!(0));
    }

    async fn a_hundred_thousand_logs_fit_one_receipt(db: TestDatabase) {
        const LOGS: usize = 100_000;
        let server = signing(&db).start().await;
        let alice = server.actor("alice");
        let calls = vec![json!({"provider": "acme", "model": "m", "input_tokens": 7, "output_tokens": 3, "cost": 0.000_000_000_001}); 1000];
        let mut logs: Vec<Value> = Vec::new();
        for _ in 0..LOGS / calls.len() {
            let acknowledged = alice.log_batch(&calls).await.ok().json();
            let acknowledged = acknowledged.as_array().expect("an array");
            logs.extend(acknowledged.iter().map(|log| json!({"id": log["log_id"]})));
        }
        let (text, receipt) = generated(&generate(&alice, json!({"since_last_receipt": true})).await.ok());
        assert!(text.len() < 2000, "the logs are not in the receipt itself: {} bytes", text.len());
        assert_eq!(receipt["tokens"], json!({"input": 700_000, "output": 300_000, "cached_input": 0}));
        assert_eq!(receipt["cost"]["amount"], json!("0.0000001"));
        assert_eq!(logs.len(), LOGS);
        // UUIDv7: the order in which they were made is that of their text.
        assert_eq!(receipt["batch_summary"]["logs_sha256"], json!(digest(&logs)));
        let path = format!("/api/v1/receipts/{}/logs?limit=500", receipt["id"].as_str().expect("an id"));
        for offset in [0, 50_000, LOGS - 500] {
            let page = alice.get(&format!("{path}&offset={offset}")).await.ok().json();
            assert_eq!(page["total"], json!(LOGS));
            let ids = |logs: &[Value]| -> Vec<Value> { logs.iter().map(|log| log["id"].clone()).collect() };
            assert_eq!(ids(page["logs"].as_array().expect("logs")), ids(&logs[offset..offset + 500]));
        }
        let audit = signing(&db).run(&["receipts", "audit"]).await.succeeded();
        assert!(audit.stdout.contains("1 receipts checked, 0 faults"), "{audit:?}");
    }

    async fn a_project_that_statistics_know_nothing_of_is_certified_all_the_same(db: TestDatabase) {
        let server = signing(&db).start().await;
        let (old, new) = (server.actor("old"), server.actor("new"));
        let calls = vec![json!({"provider": "acme", "model": "m", "input_tokens": 7, "output_tokens": 3, "cost": 0.5}); 1000];
        old.log_batch(&calls).await.ok();
        generate(&old, json!({"since_last_receipt": true})).await.ok();
        db.db_execute("ANALYZE").await;
        const LOGS: usize = 15_000;
        for _ in 0..LOGS / calls.len() {
            new.log_batch(&calls).await.ok();
        }
        let uncertified = new.get("/api/v1/receipts/uncertified").await.ok().json();
        assert_eq!(uncertified["total"], json!(LOGS));
        new.post("/api/v1/receipts/preview", &json!({"since_last_receipt": true})).await.ok();
        // A loop over what is taken for one row would be given up after the request's time.
        let certified = generate(&new, json!({"since_last_receipt": true})).await.ok().json();
        assert_eq!(certified["certified_count"], json!(LOGS));
        assert_eq!(new.get("/api/v1/receipts/uncertified").await.ok().json()["total"], json!(0));
    }

    async fn an_id_that_means_something_else_in_a_path_is_refused(db: TestDatabase) {
        let server = signing(&db).start().await;
        let alice = server.actor("alice");
        for id in ["uncertified", "public-keys.json", "generate", "..", "."] {
            let receipt = json!({"id": id, "model": "m", "tokens": {"input": 1, "output": 1}, "cost": {"amount": "1"}});
            let refused = alice.post("/api/v1/receipts/issue", &receipt).await.refused(422);
            assert_eq!(refused.places(), ["body.id"], "{id}");
        }
    }

    async fn tampering_is_noticed_by_reading_and_by_the_audit(db: TestDatabase) {
        let server = signing(&db).start().await;
        let alice = server.actor("alice");
        log(&alice, json!({})).await;
        log(&alice, json!({"model": "m2"})).await;
        let (_, receipt) = generated(&generate(&alice, json!({"since_last_receipt": true})).await.ok());
        let id = receipt["id"].as_str().expect("an id").to_owned();
        let audit = async || signing(&db).run(&["receipts", "audit"]).await;
        audit().await.succeeded();

        // The original is kept aside, and put back after each attack on the text and on the columns beside it.
        db.db_execute("CREATE TABLE original AS SELECT * FROM receipts").await;
        let forget_digest = if db.is_postgres() {
            "UPDATE receipts SET sha256 = decode('00', 'hex')"
        } else {
            "UPDATE receipts SET sha256 = x'00'"
        };
        let restore = "DELETE FROM receipts; INSERT INTO receipts SELECT * FROM original";
        let later = if db.is_postgres() {
            "UPDATE receipts SET stored_at = stored_at + interval '1 microsecond'"
        } else {
            "UPDATE receipts SET stored_at = '2026-01-01 00:00:00+00:00'"
        };
        for attack in [
            "UPDATE receipts SET text = replace(text, '0.5', '0.4')",
            "UPDATE receipts SET text = replace(text, ',\"id\"', ', \"id\"')",
            "UPDATE receipts SET text = replace(text, '\"id\"', '\"\\u0069d\"')",
            "UPDATE receipts SET text = substr(text, 2)",
            "UPDATE receipts SET text = ''",
            "UPDATE receipts SET key_id = 'second'",
            forget_digest,
            "UPDATE receipts SET logs_count = 1",
            "UPDATE receipts SET logs_count = NULL",
            later,
        ] {
            db.db_execute(attack).await;
            let answer = fetch(&alice, &id).await;
            assert!(answer.refused(500).json()["detail"].as_str().is_some_and(|text| text.contains(&id)), "{attack}");
            alice.get("/api/v1/receipts").await.refused(500);
            alice.get(&format!("/api/v1/receipts/{id}/logs")).await.refused(500);
            let audit = audit().await;
            assert!(!audit.status.success() && audit.stdout.contains(&id), "{attack}: {audit:?}");
            db.db_execute(restore).await;
            fetch(&alice, &id).await.ok();
        }
        server.log().says("damaged or was tampered with").await;

        let links = "DELETE FROM receipt_logs; INSERT INTO receipt_logs SELECT * FROM links";
        db.db_execute("CREATE TABLE links AS SELECT * FROM receipt_logs").await;
        log(&alice, json!({})).await;
        let swap = format!(
            "UPDATE receipt_logs SET log_id = (SELECT id FROM usage_logs WHERE id NOT IN (SELECT log_id FROM links)) \
             WHERE log_id = (SELECT min(CAST(log_id AS {0})) FROM links){1}",
            if db.is_postgres() { "text" } else { "blob" },
            if db.is_postgres() { "::uuid" } else { "" },
        );
        for attack in [
            swap.as_str(),
            "INSERT INTO receipt_logs SELECT project_id, id, (SELECT id FROM receipts) FROM usage_logs WHERE id NOT IN (SELECT log_id FROM links)",
            "DELETE FROM receipt_logs",
            "DELETE FROM receipt_logs; UPDATE receipts SET logs_count = NULL",
            "DELETE FROM receipts",
        ] {
            db.db_execute(attack).await;
            let gone = attack == "DELETE FROM receipts";
            alice.get(&format!("/api/v1/receipts/{id}/logs")).await.refused(if gone { 404 } else { 500 });
            let audit = audit().await;
            assert!(!audit.status.success() && audit.stdout.contains(&id), "{attack}: {audit:?}");
            db.db_execute(links).await;
            db.db_execute(restore).await;
        }
        audit().await.succeeded();
    }

    async fn an_audit_changes_no_schema(db: TestDatabase) {
        let audit = signing(&db).run(&["receipts", "audit"]).await;
        assert!(!audit.status.success() && audit.stderr.contains("migrate up"), "{audit:?}");
        assert_eq!(db.db_tables().await, Vec::<String>::new());
        signing(&db).run(&["migrate", "up"]).await.succeeded();
        signing(&db).run(&["migrate", "down", "--steps", "1"]).await.succeeded();
        let before = db.db_tables().await;
        let audit = signing(&db).run(&["receipts", "audit"]).await;
        assert!(!audit.status.success() && audit.stderr.contains("lacks the schema step"), "{audit:?}");
        assert_eq!(db.db_tables().await, before);
        signing(&db).run(&["migrate", "up"]).await.succeeded();
        signing(&db).run(&["receipts", "audit"]).await.succeeded();
    }

    async fn very_dear_logs_are_added_up_exactly(db: TestDatabase) {
        let server = signing(&db).start().await;
        let alice = server.actor("alice");
        let calls = vec![json!({"provider": "acme", "model": "m", "cost": 1_000_000_000}); 20];
        alice.log_batch(&calls).await.ok();
        // As after as many calls as the database's integers do not hold.
        db.db_execute("UPDATE usage_logs SET cost_micros = 9223372036854775807, cost_picos = 1").await;
        let (_, receipt) = generated(&generate(&alice, json!({"since_last_receipt": true})).await.ok());
        assert_eq!(receipt["cost"]["amount"], json!("184467440737095.51614000002"));
    }

    async fn a_receipt_without_its_logs_is_one_from_elsewhere_or_a_fault(db: TestDatabase) {
        let (server, elsewhere) = (signing(&db).start().await, TestDatabase::sqlite());
        let alice = server.actor("alice");
        log(&alice, json!({})).await;
        let (single, members) = generated(&generate(&alice, json!({"since_last_receipt": true})).await.ok());
        let id = members["id"].as_str().expect("an id");

        let other = signing(&elsewhere).start().await;
        store(&other.actor("alice"), &single).await.ok();
        let audit = signing(&elsewhere).run(&["receipts", "audit"]).await.succeeded();
        assert!(audit.stdout.contains("1 of them certify usage logs that are not linked here"), "{audit:?}");

        // As by somebody who can compute the digest anew.
        db.db_execute("DELETE FROM receipt_logs; DELETE FROM receipts").await;
        store(&alice, &single).await.ok();
        let audit = signing(&db).run(&["receipts", "audit"]).await;
        assert!(!audit.status.success() && audit.stdout.contains(id), "{audit:?}");
    }

    async fn old_receipts_verify_after_the_key_was_replaced(db: TestDatabase) {
        let jwk = |kid: &str, x: &str, window: Value| {
            let mut jwk = json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x});
            for (name, value) in window.as_object().expect("a window") {
                jwk[name] = value.clone();
            }
            jwk
        };
        let now = chrono::Utc::now();
        let (past, soon) = (now - chrono::Days::new(1), now + chrono::Days::new(1));

        // The next key is published before it signs.
        let upcoming = json!([jwk("second", NEXT_PUBLIC, json!({"not_before": soon}))]);
        let server = signing(&db).with("LLMRING_RECEIPTS_OTHER_KEYS", &upcoming.to_string()).start().await;
        let alice = server.actor("alice");
        let mut members = unsigned();
        members["timestamp"] = json!(past - chrono::Days::new(1));
        let old = issue(&alice, &members).await.ok();
        let kids = |set: &Answer| -> Vec<Value> { set.json().as_array().expect("a set").iter().map(|key| key["kid"].clone()).collect() };
        let set = server.anybody().get("/receipts/public-keys.json").await.ok();
        assert_eq!(kids(&set), ["first", "second"]);
        assert!(set.json()[1]["not_before"].is_string() && set.json()[1].get("not_after").is_none(), "{set:?}");

        // It signs; the old one is retired, and signed nothing after its end.
        let retired = json!([jwk("first", PUBLIC, json!({"not_after": past}))]);
        drop(server);
        let server = signing(&db)
            .with("LLMRING_RECEIPTS_PRIVATE_KEY_B64", NEXT_SEED)
            .with("LLMRING_RECEIPTS_KEY_ID", "second")
            .with("LLMRING_RECEIPTS_OTHER_KEYS", &retired.to_string())
            .start()
            .await;
        let (alice, anybody) = (server.actor("alice"), server.anybody());
        assert_eq!(kids(&anybody.get("/receipts/public-keys.json").await.ok()), ["second", "first"]);
        assert_eq!(fetch(&alice, &receipt_id(&old)).await.ok().text, old.text);
        assert_eq!(verdict(&anybody, &old.text).await["valid"], json!(true));
        let new = issue(&alice, &unsigned()).await.ok();
        assert_eq!(new.json()["key_id"], json!("second"));
        let mut late = unsigned();
        late["timestamp"] = json!(now);
        let elsewhere = TestDatabase::sqlite();
        let thief = signing(&elsewhere).start().await;
        let late = issue(&thief.actor("alice"), &late).await.ok();
        let verdict = verdict(&anybody, &late.text).await;
        assert_eq!(verdict["valid"], json!(false));
        assert!(verdict["reason"].as_str().is_some_and(|reason| reason.contains("window")), "{verdict}");
        store(&alice, &late.text).await.refused(400);

        // A forgotten key is no proof: what it signed is not shown until it is published again.
        let forgetful = signing(&db).with("LLMRING_RECEIPTS_PRIVATE_KEY_B64", NEXT_SEED).with("LLMRING_RECEIPTS_KEY_ID", "second");
        let server = forgetful.start().await;
        fetch(&server.actor("alice"), &receipt_id(&old)).await.refused(500);
        server.log().says("damaged or was tampered with").await;
        fetch(&server.actor("alice"), &receipt_id(&new)).await.ok();
    }

    async fn a_key_outside_its_window_signs_nothing_however_it_is_dated(db: TestDatabase) {
        let now = chrono::Utc::now();
        let day = chrono::Days::new(1);
        for (window, within) in [
            (json!({"not_after": now - day}), now - day - day),
            (json!({"not_before": now + day}), now + day + day),
        ] {
            let mut jwk = json!({"kty": "OKP", "crv": "Ed25519", "kid": "first", "x": PUBLIC});
            for (name, instant) in window.as_object().expect("a window") {
                jwk[name] = instant.clone();
            }
            let server = signing(&db).with("LLMRING_RECEIPTS_OTHER_KEYS", &json!([jwk]).to_string()).start().await;
            let alice = server.actor("alice");
            let mut dated = unsigned();
            dated["timestamp"] = json!(within);
            for members in [dated, unsigned()] {
                let refused = issue(&alice, &members).await.refused(503);
                assert!(refused.text.contains("LLMRING_RECEIPTS_OTHER_KEYS"), "{refused:?}");
            }
        }
        assert_eq!(db.db_count("receipts").await, 0);
    }

    async fn without_a_key_nothing_is_signed_and_none_is_published(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let id = log(&alice, json!({})).await;
        issue(&alice, &unsigned()).await.refused(503);
        generate(&alice, json!({"log_ids": [id]})).await.refused(503);
        for file in ["public-key.pem", "public-key.jwk", "public-keys.json"] {
            for prefix in ["/receipts", "/api/v1/receipts"] {
                alice.get(&format!("{prefix}/{file}")).await.refused(404);
            }
        }
        alice.post("/api/v1/receipts/preview", &json!({"since_last_receipt": true})).await.ok();
        assert_eq!(db.db_count("receipt_logs").await, 0);
    }
}

#[tokio::test]
async fn a_crowd_that_waits_to_certify_leaves_connections_to_others() {
    async fn scenario(db: TestDatabase) {
        let small = signing(&db)
            .with("LLMRING_DATABASE_POOL_SIZE", "2")
            .with("LLMRING_DATABASE_POOL_OVERFLOW", "0");
        let server = small.start().await;
        let (alice, bob) = (server.actor("alice"), server.actor("bob"));
        log(&alice, json!({})).await;
        let begun = alice.post("/api/v1/conversations", &json!({})).await.ok().json();
        let project: Uuid = begun["api_key_id"]
            .as_str()
            .and_then(|id| id.parse().ok())
            .expect("a project's id");

        // As if another replica certified for a long time.
        let elsewhere = db.db_connect().await;
        let transaction = elsewhere.begin().await.expect("a transaction");
        let [.., a, b, c, d] = *project.as_bytes();
        let key = i32::from_be_bytes([a, b, c, d]);
        let lock = format!("SELECT pg_advisory_xact_lock(x'72637074'::int, {key})");
        transaction.execute_unprepared(&lock).await.expect("the lock");

        let mut crowd = JoinSet::new();
        for _ in 0..12 {
            let alice = alice.clone();
            crowd.spawn(async move { generate(&alice, json!({"since_last_receipt": true})).await });
        }
        while crowd.try_join_next().is_none() {
            bob.stats("").await.ok();
            log(&bob, json!({})).await;
        }
        for refused in crowd.join_all().await {
            let refused = refused.refused(503);
            assert!(refused.header("retry-after").is_some(), "{refused:?}");
        }
        transaction.rollback().await.expect("the lock given up");
        elsewhere.close().await.expect("a closed connection");
        generate(&alice, json!({"since_last_receipt": true})).await.ok();
    }
    play(TestDatabase::postgres(), scenario).await;
}

#[tokio::test]
async fn public_keys_are_published_at_both_places_and_may_be_cached() {
    let db = TestDatabase::sqlite();
    let server = signing(&db).start().await;
    let anybody = server.anybody();
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "kid": "first", "x": PUBLIC});
    for prefix in ["/receipts", "/api/v1/receipts"] {
        let pem = anybody.get(&format!("{prefix}/public-key.pem")).await.ok();
        assert!(pem.text.starts_with("-----BEGIN PUBLIC KEY-----\n"), "{pem:?}");
        let current = anybody.get(&format!("{prefix}/public-key.jwk")).await.ok();
        assert_eq!(current.json(), jwk);
        assert_eq!(current.header("content-type"), Some("application/jwk+json"));
        let path = format!("{prefix}/public-keys.json");
        let set = anybody.get(&path).await.ok();
        assert_eq!(set.json(), json!([jwk]));
        let tag = set.header("etag").expect("an entity tag");
        assert!(
            set.header("cache-control")
                .is_some_and(|value| value.contains("max-age"))
        );
        let again = anybody.request(Method::GET, &path).header("If-None-Match", tag);
        let again = anybody.send(again).await;
        assert_eq!((again.status, again.text.as_str()), (304, ""));
    }
}

#[tokio::test]
async fn a_receipt_is_verified_without_a_server() {
    let db = TestDatabase::sqlite();
    let builder = signing(&db);
    let directory = builder.directory().to_owned();
    let server = builder.clone().start().await;
    let receipt = issue(&server.actor("alice"), &unsigned()).await.ok().text;
    let keys = server.anybody().get("/receipts/public-keys.json").await.ok().text;
    std::fs::write(directory.join("receipt.json"), &receipt).expect("a file");
    std::fs::write(directory.join("forged.json"), receipt.replace("1200", "1201")).expect("a file");
    std::fs::write(directory.join("keys.json"), keys).expect("a file");

    // Neither a setting nor a database is needed.
    let alone = Server::without_settings();
    let path = |name: &str| directory.join(name).display().to_string();
    let (good, forged, keys) = (path("receipt.json"), path("forged.json"), path("keys.json"));
    let url = format!("{}/receipts/public-keys.json", server.url());
    for source in [&keys, &url] {
        let genuine = alone
            .run(&["receipts", "verify", &good, "--keys", source])
            .await
            .succeeded();
        assert!(genuine.stdout.starts_with("genuine"), "{genuine:?}");
        let refused = alone
            .run(&["receipts", "verify", &forged, "--keys", source])
            .await;
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        assert!(refused.stderr.contains("signature"), "{refused:?}");
    }
    let piped = alone
        .run_with_input(&["receipts", "verify", "-", "--keys", &keys], &receipt)
        .await;
    piped.succeeded();
    let missing = alone
        .run(&["receipts", "verify", "nowhere.json", "--keys", &keys])
        .await;
    assert_eq!(missing.status.code(), Some(1));
}

#[tokio::test]
async fn a_fresh_key_is_ready_to_use_and_never_logged() {
    let made = Server::without_settings()
        .run(&["receipts", "keygen", "--key-id", "2026-b"])
        .await
        .succeeded();
    let db = TestDatabase::sqlite();
    let mut builder = Server::on(&db).with("LLMRING_LOG", "trace");
    for line in made.stdout.lines() {
        let (variable, value) = line.split_once('=').expect("a setting");
        builder = builder.with(variable, value);
    }
    let server = builder.start().await;
    let issued = issue(&server.actor("alice"), &unsigned()).await.ok();
    assert_eq!(issued.json()["key_id"], json!("2026-b"));
    let secret = made
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("LLMRING_RECEIPTS_PRIVATE_KEY_B64="))
        .expect("a private key");
    assert!(!made.stderr.contains(secret));
    assert!(!server.log().text().contains(&secret[..16]));
    assert!(!db.db_contains(&secret[..16]).await);
}
