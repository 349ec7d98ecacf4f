//! Logs and metrics.

use std::io::IsTerminal;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt;

use crate::config::{ConfigError, Settings};

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LogFormat {
    Text,
    Json,
}

/// Sends log lines to standard error, as the settings say. Only the program itself calls this: a library leaves it to its host.
pub fn start_logging(settings: &Settings) -> Result<(), ConfigError> {
    let filter = settings.get("LLMRING_LOG").unwrap_or_default();
    let filter: EnvFilter = filter.parse().map_err(|error: ParseError| ConfigError {
        variable: "LLMRING_LOG",
        problem: format!("is {filter:?}, which is not a log filter ({error})"),
    })?;
    let format = match settings.get("LLMRING_LOG_FORMAT").unwrap_or_default() {
        "text" => LogFormat::Text,
        "json" => LogFormat::Json,
        other => {
            return Err(ConfigError {
                variable: "LLMRING_LOG_FORMAT",
                problem: format!("is {other:?}, expected `text` or `json`"),
            });
        }
    };
    let lines = fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().init(),
    }
    Ok(())
}

/// What `/metrics` shows. One set per [`App`](crate::App), so that several can live in one program.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    /// Requests answered, by method, route and status.
    pub(crate) requests: IntCounterVec,
    /// Seconds to answer, by method and route.
    pub(crate) request_seconds: HistogramVec,
    /// Usage rows committed.
    pub(crate) ledger_rows: IntCounter,
    /// Requests waiting for their rows to be committed.
    pub(crate) ledger_waiting: IntGauge,
    /// Seconds for one of the ledger's transactions.
    pub(crate) ledger_commit_seconds: Histogram,
}

impl Metrics {
    /// All at zero.
    ///
    /// # Errors
    ///
    /// When two metrics share a name: a mistake in this file.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        Ok(Self {
            requests: registered(
                &registry,
                IntCounterVec::new(
                    Opts::new("llmring_http_requests_total", "Requests answered."),
                    &["method", "route", "status"],
                )?,
            )?,
            request_seconds: registered(
                &registry,
                HistogramVec::new(
                    HistogramOpts::new("llmring_http_request_seconds", "Seconds to answer a request."),
                    &["method", "route"],
                )?,
            )?,
            ledger_rows: registered(
                &registry,
                IntCounter::new("llmring_ledger_rows_total", "Usage rows committed.")?,
            )?,
            ledger_waiting: registered(
                &registry,
                IntGauge::new(
                    "llmring_ledger_waiting",
                    "Requests waiting for their usage rows to be committed.",
                )?,
            )?,
            ledger_commit_seconds: registered(
                &registry,
                Histogram::with_opts(
                    HistogramOpts::new(
                        "llmring_ledger_commit_seconds",
                        "Seconds for one transaction of the usage ledger.",
                    )
                    .buckets(vec![
                        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0,
                    ]),
                )?,
            )?,
            registry,
        })
    }

    /// The Prometheus text format, version 0.0.4.
    pub(crate) fn text(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

fn registered<M: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    metric: M,
) -> prometheus::Result<M> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
