//! A call in a fresh instance: its median, its 99th percentile, and calls per second on one core.
//!
//! `LLMRING_TEST_GUESTS=$(scripts/guests) cargo bench -p llmring-plugin-host`

use std::{
    hint::black_box,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use plugin_host::{Binding, Call, Grants, Host, Plugin, Settings, Transport};

const WARM_UP: usize = 2_000;
const CALLS: usize = 50_000;
const ARGUMENTS: &str = r#"{"city":"Paris","units":"metric"}"#;

fn guest(name: &str) -> Vec<u8> {
    let folder = std::env::var_os("LLMRING_TEST_GUESTS")
        .expect("set LLMRING_TEST_GUESTS to what scripts/guests prints");
    let path = PathBuf::from(folder)
        .join("examples")
        .join(name)
        .with_extension("wasm");
    std::fs::read(path).expect("scripts/guests built it")
}

fn call() -> Call {
    Call::new("bench", Arc::new(Binding::none()))
}

fn report(what: &str, mut times: Vec<Duration>) {
    let total: Duration = times.iter().sum();
    times.sort();
    let percentile = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e6;
    println!(
        "{what}: p50 {:.1} µs, p99 {:.1} µs, {:.0}/s",
        percentile(50),
        percentile(99),
        times.len() as f64 / total.as_secs_f64()
    );
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // `cargo test` runs benches too, once and for nothing but that they run.
    let (warm_up, calls) = if std::env::args().any(|argument| argument == "--bench") {
        (WARM_UP, CALLS)
    } else {
        (1, 1)
    };
    let host = Host::start(Settings::default()).expect("the host starts");

    let started = Instant::now();
    let echoes = Plugin::load(&host, "echoes", guest("echoes"), Grants::default())
        .await
        .expect("it loads");
    println!(
        "compile, link and describe: {:.1} ms",
        started.elapsed().as_secs_f64() * 1e3
    );

    let mut times = Vec::with_capacity(calls);
    for n in 0..warm_up + calls {
        let started = Instant::now();
        let execution = echoes.call_tool("run", black_box(ARGUMENTS), call()).await;
        if n >= warm_up {
            times.push(started.elapsed());
        }
        black_box(execution.outcome.expect("it answers"));
    }
    report("call in a fresh instance", times);

    let carries = Plugin::load(&host, "carries", guest("carries_echoes"), Grants::default())
        .await
        .expect("it loads");
    let mut transport = Transport::open(&carries, "here", call()).expect("it opens");
    let sender = transport.sender();
    let mut times = Vec::with_capacity(calls);
    for n in 0..warm_up + calls {
        let started = Instant::now();
        sender
            .send(black_box(ARGUMENTS).to_owned(), Vec::new())
            .await
            .expect("it is accepted");
        black_box(transport.receive().await.expect("it comes back"));
        if n >= warm_up {
            times.push(started.elapsed());
        }
    }
    report("message through a transport and back", times);
    transport.close().await.expect("it closes");

    let resident = resident_kib();
    let mut open = Vec::new();
    for _ in 0..if calls == 1 { 1 } else { 1_000 } {
        let mut transport = Transport::open(&carries, "here", call()).expect("it opens");
        transport
            .sender()
            .send("{}".to_owned(), Vec::new())
            .await
            .expect("it is accepted");
        transport.receive().await.expect("it comes back");
        open.push(transport);
    }
    if let (Some(before), Some(after)) = (resident, resident_kib()) {
        println!(
            "{} open transports: {} MiB",
            open.len(),
            after.saturating_sub(before) >> 10
        );
    }
}

/// Resident memory of this process, where the system tells.
fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| {
        line.strip_prefix("VmRSS:")?
            .trim()
            .strip_suffix(" kB")?
            .trim()
            .parse()
            .ok()
    })
}
