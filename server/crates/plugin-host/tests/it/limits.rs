//! Every limit, and a guest that tries to break it.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use plugin_host::{CallError, Limit, LimitExceeded, Limits, Usage};

use crate::{call, guests, host, load, text};

/// Runs the guest's tool under these limits.
async fn run(limits: Limits, guest: Vec<u8>, arguments: &str) -> (Result<String, CallError>, Usage) {
    let plugin = load(&host(limits), guest).await;
    let execution = plugin.call_tool("run", arguments, call()).await;
    (
        execution.outcome.map(|result| text(&result).to_owned()),
        execution.usage,
    )
}

fn limit(limit: Limit) -> CallError {
    CallError::Limit(LimitExceeded(limit))
}

const HALF_A_SECOND: Duration = Duration::from_millis(500);

#[tokio::test]
async fn an_endless_loop_ends_when_its_cpu_time_is_over() {
    let limits = Limits {
        cpu_time: HALF_A_SECOND,
        ..Limits::default()
    };
    let (outcome, usage) = run(limits, guests::spins(), "{}").await;
    assert_eq!(outcome, Err(limit(Limit::CpuTime(HALF_A_SECOND))));
    assert!(
        (HALF_A_SECOND..HALF_A_SECOND * 2).contains(&usage.cpu_time),
        "{usage:?}"
    );
}

#[tokio::test]
async fn an_endless_loop_of_host_calls_ends_when_its_cpu_time_is_over() {
    let limits = Limits {
        cpu_time: HALF_A_SECOND,
        ..Limits::default()
    };
    let (outcome, usage) = run(limits, guests::spins_in_host_calls(), "{}").await;
    assert_eq!(outcome, Err(limit(Limit::CpuTime(HALF_A_SECOND))));
    assert!(
        (HALF_A_SECOND..HALF_A_SECOND * 2).contains(&usage.cpu_time),
        "{usage:?}"
    );
}

#[tokio::test]
async fn waiting_for_ever_in_the_host_ends_when_the_time_is_over() {
    let limits = Limits {
        wall_time: HALF_A_SECOND,
        ..Limits::default()
    };
    let (outcome, usage) = run(limits, guests::waits(), "{}").await;
    assert_eq!(outcome, Err(limit(Limit::WallTime(HALF_A_SECOND))));
    assert!(
        usage.wall_time >= HALF_A_SECOND && usage.cpu_time < HALF_A_SECOND / 2,
        "{usage:?}"
    );
}

#[tokio::test]
async fn a_loop_that_is_slower_than_its_cpu_time_ends_when_the_time_is_over() {
    let limits = Limits {
        wall_time: HALF_A_SECOND,
        ..Limits::default()
    };
    let (outcome, _) = run(limits, guests::spins(), "{}").await;
    assert_eq!(outcome, Err(limit(Limit::WallTime(HALF_A_SECOND))));
}

#[tokio::test]
async fn waiting_is_not_cpu_time() {
    let limits = Limits {
        cpu_time: Duration::from_millis(100),
        ..Limits::default()
    };
    let (outcome, _) = run(limits, guests::sleeps(), "300").await;
    assert_eq!(outcome.unwrap(), "300");
}

#[tokio::test]
async fn a_memory_bomb_meets_its_limit() {
    let (outcome, usage) = run(Limits::default(), guests::allocates_everything(), "{}").await;
    assert_eq!(outcome, Err(limit(Limit::Memory(64 << 20))));
    assert!((60 << 20..=64 << 20).contains(&usage.memory_bytes), "{usage:?}");
}

#[tokio::test]
async fn a_stack_overflow_is_a_trap() {
    // Rust's own stack is at the bottom of the memory; WebAssembly's is the host's.
    let in_memory = guests::recurses();
    let in_the_host = guests::from_text("(func $descend (call $descend))", "(call $descend)");
    for (guest, message) in [
        (in_memory, "out of bounds memory access"),
        (in_the_host, "call stack exhausted"),
    ] {
        let plugin = load(&host(Limits::default()), guest).await;
        let error = plugin.call_tool("run", "{}", call()).await.outcome.unwrap_err();
        assert!(
            matches!(&error, CallError::Trap(trap) if trap.contains(message)),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_growing_table_meets_its_limit() {
    let guest = guests::from_text(
        "(table $table 1 funcref)",
        "(loop $again (br_if $again (i32.ne (table.grow $table (ref.null func) (i32.const 1000)) (i32.const -1))))",
    );
    let plugin = load(&host(Limits::default()), guest).await;
    let error = plugin.call_tool("run", "{}", call()).await.outcome.unwrap_err();
    assert_eq!(error, limit(Limit::TableElements(20_000)));
}

#[tokio::test]
async fn a_gigabyte_is_not_read() {
    let started = Instant::now();
    let (outcome, _) = run(Limits::default(), guests::answers_a_gigabyte(), "{}").await;
    assert_eq!(outcome, Err(limit(Limit::Result(8 << 20))));
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn a_result_is_as_long_as_permitted_and_no_longer() {
    let limits = || Limits {
        result_bytes: 1 << 20,
        ..Limits::default()
    };
    let (outcome, _) = run(limits(), guests::answers_at_length(), "1000000").await;
    assert_eq!(outcome.unwrap().len(), 1_000_000);
    let (outcome, _) = run(limits(), guests::answers_at_length(), "1048577").await;
    assert_eq!(outcome.unwrap_err(), limit(Limit::Result(1 << 20)));
}

#[tokio::test]
async fn of_a_million_log_lines_a_thousand_are_written() {
    let (outcome, usage) = run(Limits::default(), guests::chats(), "{}").await;
    assert_eq!(outcome.unwrap(), "999", "the first was a long one");
    assert_eq!((usage.log_lines, usage.log_lines_dropped), (1_000, 999_000));
}

#[tokio::test]
async fn standard_output_counts_as_log_lines() {
    let limits = Limits {
        log_lines: 100,
        ..Limits::default()
    };
    let (outcome, usage) = run(limits, guests::prints(), "{}").await;
    assert_eq!(outcome.unwrap(), "done");
    assert_eq!((usage.log_lines, usage.log_lines_dropped), (100, 9_903));
}

#[tokio::test]
async fn handles_meet_their_limit() {
    let (outcome, _) = run(Limits::default(), guests::hoards(), "{}").await;
    assert_eq!(outcome, Err(limit(Limit::Handles(1_000))));
}

#[tokio::test]
async fn progress_arrives_up_to_its_limit() {
    let plugin = load(&host(Limits::default()), guests::reports()).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = seen.clone();
    let mut call = call();
    call.progress = Some(Arc::new(move |progress| sink.lock().unwrap().push(progress)));
    let result = plugin.call_tool("run", "false", call).await.outcome.unwrap();
    assert_eq!(text(&result), "1000 reports taken in call-1");
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 1_000);
    assert_eq!(
        (seen[2].progress, seen[2].total, seen[2].message.as_deref()),
        (2.0, Some(5_000.0), Some("step 2"))
    );
}

#[tokio::test]
async fn a_panic_is_a_trap_with_its_message() {
    let (outcome, _) = run(Limits::default(), guests::panics(), "{}").await;
    let Err(CallError::Trap(message)) = outcome else {
        panic!("{outcome:?}")
    };
    assert!(
        message.contains("unreachable") && message.contains("these are not good manners"),
        "{message}"
    );
}

#[tokio::test]
async fn leaving_is_a_trap() {
    let (outcome, _) = run(Limits::default(), guests::exits(), "{}").await;
    assert_eq!(outcome, Err(CallError::Trap("it called exit(1)".to_owned())));
}

#[tokio::test]
async fn a_trap_in_any_export_is_that_call_s_alone() {
    let plugin = load(&host(Limits::default()), guests::panics_in_calls()).await;
    let tool = plugin.call_tool("run", "{}", call()).await.outcome.unwrap_err();
    let resource = plugin.read_resource("a:b", call()).await.outcome.unwrap_err();
    let prompt = plugin.get_prompt("p", "{}", call()).await.outcome.unwrap_err();
    for (error, place) in [
        (tool, "in a tool"),
        (resource, "in a resource"),
        (prompt, "in a prompt"),
    ] {
        assert!(
            matches!(&error, CallError::Trap(message) if message.contains(place)),
            "{error}"
        );
    }
    plugin.describe(call()).await.outcome.unwrap();
    assert_eq!(plugin.counters().traps, 3);
}

#[tokio::test]
async fn what_breaks_the_protocol_is_a_failure() {
    for arguments in ["[1]", "not JSON", "\"text\""] {
        let plugin = load(&host(Limits::default()), guests::breaks_the_protocol()).await;
        let error = plugin
            .call_tool("run", arguments, call())
            .await
            .outcome
            .unwrap_err();
        assert!(
            matches!(&error, CallError::Failed(message) if message.contains("structured content")),
            "{error}"
        );
    }
}

#[tokio::test]
async fn each_kind_of_error_is_told_apart() {
    let plugin = load(&host(Limits::default()), guests::refuses()).await;
    let mut errors = Vec::new();
    for arguments in ["1", "2", "3", "4"] {
        errors.push(
            plugin
                .call_tool("run", arguments, call())
                .await
                .outcome
                .unwrap_err(),
        );
    }
    assert_eq!(
        errors,
        [
            CallError::InvalidArguments {
                path: "/city".to_owned(),
                message: "is missing".to_owned()
            },
            CallError::NotFound("no such thing".to_owned()),
            CallError::Denied("not for you".to_owned()),
            CallError::Failed("it broke".to_owned()),
        ]
    );
    let unknown = plugin.call_tool("walk", "{}", call()).await.outcome.unwrap_err();
    assert_eq!(
        unknown,
        CallError::NotFound("there is no tool \"walk\"".to_owned())
    );
    let prompt = plugin.get_prompt("p", "{}", call()).await.outcome.unwrap_err();
    assert_eq!(
        prompt,
        CallError::NotFound("the plugin has no prompts".to_owned())
    );
}
