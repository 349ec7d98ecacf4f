//! What was acknowledged is kept, whatever happens to the process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use integration::{Actor, Server, eventually, on_both_databases};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

const WRITERS: usize = 16;

fn call(number: usize) -> Value {
    json!({"provider": "acme", "model": format!("m{}", number % 3), "input_tokens": 1, "cost": 0.000_001})
}

/// Idempotency keys that were sent, each with the answer when there was one.
type Sent = Arc<Mutex<BTreeMap<String, Option<String>>>>;

fn start_writers(alice: &Actor, round: usize, sent: &Sent) -> JoinSet<()> {
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (alice, sent) = (alice.clone(), sent.clone());
        writers.spawn(async move {
            for number in 0.. {
                let key = format!("{round}-{writer}-{number}");
                sent.lock().expect("the record").insert(key.clone(), None);
                let request = alice
                    .request(reqwest::Method::POST, "/api/v1/log")
                    .header("Idempotency-Key", &key)
                    .json(&call(number));
                let Some(answer) = alice.try_send(request).await else {
                    return;
                };
                let text = answer.ok().text;
                sent.lock().expect("the record").insert(key, Some(text));
            }
        });
    }
    writers
}

fn acknowledged(sent: &Sent) -> usize {
    sent.lock()
        .expect("the record")
        .values()
        .filter(|answer| answer.is_some())
        .count()
}

on_both_databases! {
    async fn killed_under_load_it_loses_no_acknowledged_row_and_doubles_none(db: TestDatabase) {
        const ROUNDS: usize = 3;
        const AT_LEAST: usize = 200;
        let sent = Sent::default();
        let mut server = Server::on(&db).start().await;
        for round in 0..ROUNDS {
            let mut writers = start_writers(&server.actor("alice"), round, &sent);
            let before = acknowledged(&sent);
            eventually("some acknowledged logs", async || {
                (acknowledged(&sent) >= before + AT_LEAST).then_some(())
            })
            .await;
            server = server.crash_and_restart().await;
            while let Some(writer) = writers.join_next().await {
                writer.expect("a writer that asserts nothing in vain");
            }
        }
        let sent = sent.lock().expect("the record").clone();
        let alice = server.actor("alice");
        let stored = db.db_count("usage_logs").await;
        let known = sent.values().filter(|answer| answer.is_some()).count();
        assert!(
            i64::try_from(known).expect("a count") <= stored,
            "{known} acknowledged, {stored} stored"
        );
        assert!(sent.len() > known, "nothing was under way when it was killed");
        // Everybody asks again, as a caller does who does not know what happened.
        for (key, first) in &sent {
            let number = key
                .rsplit('-')
                .next()
                .and_then(|number| number.parse().ok())
                .expect("a number");
            let again = alice.log_usage_once(key, &call(number)).await.ok().text;
            if let Some(first) = first {
                assert_eq!(&again, first);
            }
        }
        assert_eq!(
            db.db_count("usage_logs").await,
            i64::try_from(sent.len()).expect("a count")
        );
        let stats = alice.stats("").await;
        assert_eq!(
            stats.exact(&["summary", "total_requests"]),
            sent.len().to_string()
        );
        assert_eq!(stats.exact(&["summary", "total_tokens"]), sent.len().to_string());
        let micros = format!("{:07}", sent.len());
        let cost = format!("{}.{}", &micros[..micros.len() - 6], &micros[micros.len() - 6..]);
        assert_eq!(
            stats.exact(&["summary", "total_cost"]),
            cost.trim_end_matches('0')
        );
    }

    async fn a_commit_is_durable_on_this_database(db: TestDatabase) {
        let status = Server::on(&db)
            .run(&["migrate", "status"])
            .await
            .succeeded()
            .stdout;
        let settings = if db.is_postgres() {
            "fsync=on synchronous_commit=on full_page_writes=on"
        } else {
            "journal_mode=wal synchronous=full"
        };
        assert!(status.contains(settings), "{status}");
    }

    async fn asked_to_stop_it_answers_what_it_accepted(db: TestDatabase) {
        let mut server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let body = call(0).to_string();
        let (first_half, second_half) = body.split_at(body.len() / 2);
        let mut stream = tokio::net::TcpStream::connect(server.address())
            .await
            .expect("a connection");
        let head = format!(
            "POST /api/v1/log HTTP/1.1\r\nHost: x\r\nX-API-Key: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            alice.key(),
            body.len()
        );
        stream
            .write_all(format!("{head}{first_half}").as_bytes())
            .await
            .expect("bytes sent");
        // Connections are accepted in order: when a later one is answered, this one is in the server's hands.
        server.actor("bob").logs("").await.ok();
        server.terminate();
        server.log().says("stopping").await;
        stream
            .write_all(second_half.as_bytes())
            .await
            .expect("bytes sent");
        let mut answer = vec![0; 4096];
        let length = stream.read(&mut answer).await.expect("an answer");
        let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        drop(stream);
        assert!(server.ended().await.success(), "{}", server.log().text());
        assert_eq!(db.db_count("usage_logs").await, 1);
    }

    async fn stopped_under_load_it_keeps_every_acknowledged_row(db: TestDatabase) {
        let sent = Sent::default();
        let mut server = Server::on(&db).start().await;
        let mut writers = start_writers(&server.actor("alice"), 0, &sent);
        eventually("some acknowledged logs", async || {
            (acknowledged(&sent) >= 100).then_some(())
        })
        .await;
        server.terminate();
        assert!(server.ended().await.success(), "{}", server.log().text());
        while let Some(writer) = writers.join_next().await {
            writer.expect("only 200 or a connection that ends");
        }
        // It answered all that it took: nothing is stored that nobody was told of.
        assert_eq!(
            db.db_count("usage_logs").await,
            i64::try_from(acknowledged(&sent)).expect("a count")
        );
    }
}
