//! Over standard input and output.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Instant;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use super::*;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/mcp/sessions/tests/peer.py");

pub(super) fn words(arguments: &[&str]) -> Vec<String> {
    ["python3", SCRIPT]
        .iter()
        .chain(arguments)
        .map(|word| (*word).to_owned())
        .collect()
}

/// A server that is permitted, and sessions that permit it.
pub(super) fn permitted(arguments: &[&str], adjust: impl FnOnce(&mut McpConfig)) -> (Sessions, Peer) {
    let mut config = config();
    config.stdio_allow.push(words(arguments));
    adjust(&mut config);
    let sessions = start(&config);
    (sessions, peer(Endpoint::Stdio(words(arguments))))
}

pub(super) async fn pid(sessions: &Sessions, peer: &Peer) -> Value {
    said(&call(sessions, peer, "pid").await.expect("a process id"))
}

/// Where processes keep connections, so that their end is seen.
pub(super) async fn lifelines() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address: SocketAddr = listener.local_addr().expect("an address");
    (listener, address.to_string())
}

pub(super) async fn accept(listener: &TcpListener) -> TcpStream {
    let accepted = tokio::time::timeout(LONG, listener.accept());
    accepted.await.expect("in time").expect("a connection").0
}

/// Waits until the process at the other end is gone.
pub(super) async fn gone(mut lifeline: TcpStream) {
    let mut nothing = [0];
    let read = tokio::time::timeout(LONG, lifeline.read(&mut nothing)).await;
    // A killed process may reset the connection instead of closing it.
    assert!(matches!(read.expect("in time"), Ok(0) | Err(_)));
}

#[tokio::test]
async fn what_a_server_says_arrives_unchanged() {
    let (sessions, peer) = permitted(&["legacy"], |_| {});
    let discovery = sessions.discover(&peer).await.expect("a discovery");
    assert_eq!(discovery.protocol_version, "2025-11-25");
    assert_eq!(
        discovery.capabilities,
        json!({"tools": {"listChanged": true}, "x": {"y": 1}})
    );
    assert_eq!(
        discovery.server_info,
        json!({"name": "peer", "version": "9", "x": 1})
    );
    assert_eq!(discovery.instructions.as_deref(), Some("be legacy"));
    let expected: Vec<Value> = (0..3)
        .map(|n| json!({"name": format!("tool {n}"), "inputSchema": {"type": "object"}, "x-unknown": n}))
        .collect();
    assert_eq!(discovery.tools, expected);

    let arguments = json!({"größe": [1, 2.5, null, "\u{1f600}"], "deep": {"er": {}}});
    let result = sessions
        .call_tool(&peer, tool("echo", arguments.clone()), |_| {})
        .await
        .expect("a result");
    assert_eq!(
        result,
        json!({
            "content": [{"type": "hologram", "beam": arguments}],
            "structuredContent": arguments,
            "isError": true,
            "futureMember": {"a": [1.5, null]},
            "_meta": {"x": "y"},
        })
    );
    let refusal = call(&sessions, &peer, "refuse").await.expect_err("an error");
    assert_eq!(
        refusal,
        Failure::Rpc {
            code: -32000,
            message: "no".into(),
            data: Some(json!({"why": [1]}))
        }
    );
    sessions.shutdown().await;
    assert_eq!(sessions.open_sessions(), 0);
}

#[tokio::test]
async fn only_listed_command_lines_start() {
    let (sessions, permitted) = permitted(&["legacy", "a"], |_| {});
    call(&sessions, &permitted, "pid").await.expect("the listed one");
    let with = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    for other in [
        words(&["legacy"]),
        words(&["legacy", "a", "b"]),
        words(&["legacy", "a "]),
        words(&["legacy a"]),
        with(&["/usr/bin/python3", SCRIPT, "legacy", "a"]),
        with(&["sh", "-c", "true"]),
        Vec::new(),
    ] {
        let failure = sessions
            .discover(&peer(Endpoint::Stdio(other.clone())))
            .await
            .expect_err("not permitted");
        assert!(
            matches!(
                failure,
                Failure::Denied {
                    setting: "LLMRING_MCP_STDIO_ALLOW",
                    ..
                }
            ),
            "{other:?}: {failure}"
        );
    }
    sessions.shutdown().await;
}

#[tokio::test]
async fn a_child_sees_nothing_of_the_environment_but_what_is_listed() {
    let mut config = config();
    config.stdio_allow.push(words(&["legacy"]));
    // Whatever is asked for, is there; this process has an environment of its own besides.
    let sessions =
        Sessions::start(&config, |name| inherited(name).or(Some("given".into()))).expect("sessions");
    let peer = peer(Endpoint::Stdio(words(&["legacy"])));
    let names = said(&call(&sessions, &peer, "environment").await.expect("names"));
    let names: Vec<&str> = names
        .as_array()
        .expect("an array")
        .iter()
        .filter_map(Value::as_str)
        // Set by Python (PEP 538) and, where python3 is a script, by what runs it.
        .filter(|name| {
            !["LC_CTYPE", "OLDPWD", "PWD", "SHLVL", "_"].contains(name) && !name.contains("PYENV_")
        })
        .collect();
    assert_eq!(names, ["HOME", "LANG", "LC_ALL", "PATH", "TMPDIR", "TZ"]);
    sessions.shutdown().await;
}

#[tokio::test]
async fn every_version_is_negotiated() {
    for (greeting, remembered, version) in [
        ("legacy", None, "2025-11-25"),
        ("legacy", Some("2025-06-18"), "2025-11-25"),
        ("legacy", Some("2026-07-28"), "2025-11-25"),
        ("modern", None, "2026-07-28"),
        ("fragile", None, "2025-11-25"),
        ("silent", Some("2024-11-05"), "2024-11-05"),
    ] {
        let (sessions, mut peer) = permitted(&[greeting], |_| {});
        peer.protocol_version = remembered.map(ToOwned::to_owned);
        let begun = Instant::now();
        let discovery = sessions.discover(&peer).await.expect(greeting);
        assert_eq!(discovery.protocol_version, version, "{greeting} {remembered:?}");
        assert_eq!(discovery.server_info["name"], "peer");
        assert_eq!(discovery.tools.len(), 3);
        // A silent one is not waited for when its version is remembered.
        assert!(begun.elapsed() < Duration::from_secs(8), "{greeting}");
        pid(&sessions, &peer).await;
        sessions.shutdown().await;
    }
}

#[tokio::test]
async fn a_call_that_hangs_times_out_and_is_cancelled_at_the_server() {
    let (sessions, peer) = permitted(&["legacy"], |_| {});
    pid(&sessions, &peer).await;
    let mut hanging = tool("hang", json!({}));
    hanging.timeout = Duration::from_millis(300);
    let failure = sessions.call_tool(&peer, hanging, |_| {}).await;
    assert_eq!(failure, Err(Failure::TimedOut(Duration::from_millis(300))));
    // Over one pipe what is sent first is read first.
    let cancelled = call(&sessions, &peer, "cancelled").await.expect("a count");
    assert_eq!(said(&cancelled), json!(1));
    sessions.shutdown().await;
}

#[tokio::test]
async fn dropping_a_call_cancels_it_at_the_server() {
    let (sessions, peer) = permitted(&["legacy"], |_| {});
    pid(&sessions, &peer).await;
    {
        let dropped = call(&sessions, &peer, "hang");
        let hanging = std::pin::pin!(dropped);
        let answered = call(&sessions, &peer, "pid");
        // The call is under way as soon as a later one is answered.
        tokio::select! {
            biased;
            _ = hanging => panic!("it hangs"),
            answer = answered => answer.expect("an answer"),
        };
    }
    let cancelled = call(&sessions, &peer, "cancelled").await.expect("a count");
    assert_eq!(said(&cancelled), json!(1));
    sessions.shutdown().await;
}

#[tokio::test]
async fn a_server_that_dies_loses_the_call_and_is_started_again() {
    let (sessions, peer) = permitted(&["legacy"], |_| {});
    let first = pid(&sessions, &peer).await;
    let failure = call(&sessions, &peer, "die").await.expect_err("dead");
    assert!(matches!(failure, Failure::Lost(_)), "{failure}");
    assert_ne!(pid(&sessions, &peer).await, first);
    // Nothing was sent twice: the new process has only heard these two.
    let calls = call(&sessions, &peer, "calls").await.expect("a count");
    assert_eq!(said(&calls), json!(2));
    sessions.shutdown().await;
}

#[tokio::test]
async fn a_flood_ends_its_own_session_alone() {
    let (sessions, flooding) = permitted(&["legacy"], |config| config.max_notifications = 50);
    let mut neighbour = flooding.clone();
    neighbour.server = Uuid::now_v7();
    let before = pid(&sessions, &neighbour).await;
    let failure = call(&sessions, &flooding, "flood").await.expect_err("a flood");
    assert_eq!(
        failure,
        Failure::LimitExceeded(
            "the MCP server sent more than 50 notifications per second (LLMRING_MCP_MAX_NOTIFICATIONS)"
                .into()
        )
    );
    assert_eq!(pid(&sessions, &neighbour).await, before);
    pid(&sessions, &flooding).await;
    sessions.shutdown().await;
}

#[tokio::test]
async fn a_message_that_is_too_large_fails_its_call_alone() {
    let (sessions, peer) = permitted(&["legacy"], |config| config.max_message_bytes = 10_000);
    let before = pid(&sessions, &peer).await;
    let call_with = |bytes: u64| sessions.call_tool(&peer, tool("huge", json!({"bytes": bytes})), |_| {});
    call_with(9_000).await.expect("within the limit");
    for bytes in [10_000, 100_000] {
        let failure = call_with(bytes).await.expect_err("too large");
        assert!(matches!(failure, Failure::LimitExceeded(_)), "{failure}");
    }
    assert_eq!(pid(&sessions, &peer).await, before);
    let failure = call(&sessions, &peer, "endless")
        .await
        .expect_err("a line without end");
    assert!(matches!(failure, Failure::LimitExceeded(_)), "{failure}");
    assert_ne!(pid(&sessions, &peer).await, before);
    sessions.shutdown().await;
}

#[tokio::test]
async fn malformed_answers_are_errors_of_their_calls_and_noise_is_none() {
    let (sessions, peer) = permitted(&["legacy"], |_| {});
    let before = pid(&sessions, &peer).await;
    for name in ["broken", "no result"] {
        let failure = call(&sessions, &peer, name).await.expect_err(name);
        assert!(matches!(failure, Failure::Malformed(_)), "{name}: {failure}");
    }
    let result = call(&sessions, &peer, "noise")
        .await
        .expect("the answer in the noise");
    assert_eq!(said(&result), "done");
    assert_eq!(pid(&sessions, &peer).await, before);
    sessions.shutdown().await;
}

#[tokio::test]
async fn progress_is_reported_in_order_before_the_answer() {
    let (sessions, peer) = permitted(&["legacy"], |_| {});
    let heard = Mutex::new(Vec::new());
    sessions
        .call_tool(&peer, tool("progress", json!({})), |progress| {
            assert_eq!(progress.total, Some(5.0));
            heard.lock().expect("a lock").push(progress.message);
        })
        .await
        .expect("a result");
    let expected: Vec<_> = (0..5).map(|step| Some(format!("step {step}"))).collect();
    assert_eq!(heard.into_inner().expect("a lock"), expected);
    sessions.shutdown().await;
}

#[tokio::test]
async fn what_a_server_asks_for_is_declined() {
    let (sessions, peer) = permitted(&["legacy"], |_| {});
    let replies = said(&call(&sessions, &peer, "ask").await.expect("replies"));
    assert_eq!(
        replies,
        json!({"a": -32601, "b": -32601, "c": -32601, "d": "answered", "e": -32601})
    );
    sessions.shutdown().await;
}

#[tokio::test]
async fn a_changed_list_is_noted_until_it_is_read() {
    let (sessions, peer) = permitted(&["legacy"], |_| {});
    assert!(!sessions.lists_changed(&peer));
    call(&sessions, &peer, "change").await.expect("a result");
    assert!(sessions.lists_changed(&peer));
    sessions.discover(&peer).await.expect("a discovery");
    assert!(!sessions.lists_changed(&peer));
    sessions.shutdown().await;
}

#[tokio::test]
async fn lists_end_somewhere() {
    for (arguments, adjust) in [
        (
            ["legacy", "endless"],
            (|config| config.max_pages = 5) as fn(&mut McpConfig),
        ),
        (["legacy", "endless"], |config| config.max_items = 5),
        (["legacy", "endless"], |config| config.max_discovery_bytes = 1024),
    ] {
        let (sessions, peer) = permitted(&arguments, adjust);
        let failure = sessions.discover(&peer).await.expect_err("endless");
        assert!(matches!(failure, Failure::LimitExceeded(_)), "{failure}");
        sessions.shutdown().await;
    }
    let (sessions, peer) = permitted(&["legacy", "stuck"], |_| {});
    let failure = sessions.discover(&peer).await.expect_err("stuck");
    assert!(matches!(failure, Failure::Malformed(_)), "{failure}");
    sessions.shutdown().await;
}

#[tokio::test]
async fn many_calls_share_one_process_and_too_many_are_refused() {
    let (sessions, peer) = permitted(&["legacy"], |config| {
        config.max_calls = 4;
        config.call_queue = 2;
    });
    let pids = futures_util::future::join_all((0..6).map(|_| pid(&sessions, &peer))).await;
    assert!(pids.iter().all(|pid| *pid == pids[0]), "{pids:?}");

    let mut hanging: Vec<_> = (0..4).map(|_| Box::pin(call(&sessions, &peer, "hang"))).collect();
    let mut waiting: Vec<_> = (0..2).map(|_| Box::pin(call(&sessions, &peer, "pid"))).collect();
    for call in hanging.iter_mut().chain(&mut waiting) {
        assert!(futures_util::poll!(call.as_mut()).is_pending());
    }
    let failure = call(&sessions, &peer, "pid").await.expect_err("too many");
    assert!(matches!(failure, Failure::Busy { .. }), "{failure}");
    drop(hanging);
    for result in futures_util::future::join_all(waiting).await {
        result.expect("its turn");
    }
    sessions.shutdown().await;
}

#[tokio::test]
async fn projects_share_no_session_and_a_changed_row_gets_a_new_one() {
    let (sessions, peer) = permitted(&["legacy"], |_| {});
    let mut other_project = peer.clone();
    other_project.project = ProjectId(Uuid::now_v7());
    let mut changed = peer.clone();
    changed.revision += 1;
    let first = pid(&sessions, &peer).await;
    assert_eq!(pid(&sessions, &peer).await, first);
    assert_ne!(pid(&sessions, &other_project).await, first);
    assert_eq!(sessions.open_sessions(), 2);
    let second = pid(&sessions, &changed).await;
    assert_ne!(second, first);
    sessions.forget(peer.server);
    assert_ne!(pid(&sessions, &changed).await, second);
    sessions.shutdown().await;
    assert_eq!(sessions.open_sessions(), 0);
    let failure = call(&sessions, &peer, "pid").await.expect_err("stopped");
    assert!(matches!(failure, Failure::Unreachable(_)), "{failure}");
}

#[tokio::test]
async fn calls_under_way_survive_a_change_of_the_row() {
    let (sessions, peer) = permitted(&["legacy"], |_| {});
    pid(&sessions, &peer).await;
    let mut under_way = Box::pin(call(&sessions, &peer, "hang"));
    assert!(futures_util::poll!(under_way.as_mut()).is_pending());
    sessions.forget(peer.server);
    pid(&sessions, &peer).await;
    assert!(futures_util::poll!(under_way.as_mut()).is_pending());
    drop(under_way);
    sessions.shutdown().await;
}

#[tokio::test]
async fn a_full_pool_closes_the_longest_idle_session_and_never_a_busy_one() {
    let (lifelines, address) = lifelines().await;
    let (sessions, first) = permitted(&["legacy", &address], |config| config.max_sessions = 2);
    let [mut second, mut third] = [first.clone(), first.clone()];
    second.server = Uuid::now_v7();
    third.server = Uuid::now_v7();
    pid(&sessions, &first).await;
    let lifeline = accept(&lifelines).await;
    pid(&sessions, &second).await;
    pid(&sessions, &third).await;
    gone(lifeline).await;
    assert_eq!(sessions.open_sessions(), 2);
    let forbidden = super::peer(Endpoint::Stdio(words(&["forbidden"])));
    call(&sessions, &forbidden, "pid").await.expect_err("denied");
    assert_eq!(sessions.open_sessions(), 2, "what is refused takes no place");

    let mut busy = [&second, &third].map(|peer| Box::pin(call(&sessions, peer, "hang")));
    for call in &mut busy {
        assert!(futures_util::poll!(call.as_mut()).is_pending());
    }
    let failure = call(&sessions, &first, "pid").await.expect_err("a full pool");
    assert!(matches!(failure, Failure::Busy { .. }), "{failure}");
    drop(busy);
    sessions.shutdown().await;
}

#[tokio::test]
async fn a_server_that_does_not_start_is_not_tried_again_and_again() {
    let (lifelines, address) = lifelines().await;
    let (sessions, peer) = permitted(&["exits", &address], |_| {});
    let mut later = false;
    for _ in 0..50 {
        let failure = call(&sessions, &peer, "pid").await.expect_err("it exits");
        assert!(matches!(failure, Failure::Unreachable(_)), "{failure}");
        later = failure.to_string().contains("the next attempt is due in");
        if later {
            break;
        }
    }
    assert!(later, "every call started a process");
    let missing = vec!["/nowhere/to/be/found".to_owned()];
    let mut config = config();
    config.stdio_allow.push(missing.clone());
    let sessions = start(&config);
    let failure = sessions
        .discover(&super::peer(Endpoint::Stdio(missing)))
        .await
        .expect_err("no such program");
    assert!(matches!(failure, Failure::Unreachable(_)), "{failure}");
    drop(lifelines);
}

#[tokio::test]
async fn a_whole_group_ends_when_idle_and_the_next_call_starts_another() {
    let (lifelines, address) = lifelines().await;
    let (sessions, peer) = permitted(&["legacy", &address, "family"], |config| {
        config.idle_timeout = Duration::from_millis(100);
    });
    let first = pid(&sessions, &peer).await;
    let family = [accept(&lifelines).await, accept(&lifelines).await];
    for member in family {
        gone(member).await;
    }
    assert_ne!(pid(&sessions, &peer).await, first);
    sessions.shutdown().await;
}

#[tokio::test]
async fn a_whole_group_ends_on_shutdown_on_failure_and_when_dropped() {
    for how in ["shutdown", "failure", "dropped"] {
        let (lifelines, address) = lifelines().await;
        let (sessions, peer) = permitted(&["legacy", &address, "family"], |_| {});
        pid(&sessions, &peer).await;
        let family = [accept(&lifelines).await, accept(&lifelines).await];
        match how {
            "shutdown" => sessions.shutdown().await,
            "failure" => {
                call(&sessions, &peer, "die").await.expect_err("dead");
            }
            _ => drop(sessions),
        }
        for member in family {
            gone(member).await;
        }
    }
}
