//! `llmring-server serve`.

use std::future::Future;

use llmring_server::config::AuthMode;
use llmring_server::{App, Config};
use poem::Server;
use poem::listener::{Acceptor, Listener, TcpListener};
use tokio::signal::unix::{SignalKind, signal};

use super::Outcome;

/// Serves until SIGINT or SIGTERM, then answers what was accepted.
pub(super) async fn run(config: Config) -> Outcome {
    let stop = stop_signal()?;
    let app = App::start(config.clone()).await?;
    let address = format!("{}:{}", bracketed(config.host), config.port);
    let acceptor = TcpListener::bind(address.clone())
        .into_acceptor()
        .await
        .map_err(|error| format!("LLMRING_HOST and LLMRING_PORT: cannot listen on {address}: {error}"))?;
    for address in acceptor.local_addr() {
        if let Some(address) = address.as_socket_addr() {
            tracing::info!(%address, "listening");
        }
    }
    if config.auth_mode == AuthMode::Open && !config.host.is_loopback() {
        tracing::warn!(
            "open mode on an address that others may reach: whoever reaches it can log under any key; \
             LLMRING_AUTH_MODE=strict admits only keys that you made"
        );
        if config.mcp.reaches_private_networks() {
            tracing::warn!(
                "whoever reaches it can also have it connect to MCP servers in your private networks; \
                 LLMRING_MCP_EGRESS=public keeps it to the internet"
            );
        } else {
            tracing::warn!(
                "whoever reaches it can also have it connect to MCP servers on the internet, but not in your private \
                 networks, unless LLMRING_MCP_EGRESS=private"
            );
        }
    }
    let served = Server::new_with_acceptor(app.watched(acceptor))
        .run_with_graceful_shutdown(app.endpoint(), stop, Some(config.http.shutdown_timeout))
        .await;
    if tokio::time::timeout(config.http.shutdown_timeout, app.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("the database did not answer in time: what it was sent last may not be committed");
    }
    tracing::info!("stopped");
    Ok(served?)
}

fn bracketed(host: std::net::IpAddr) -> String {
    match host {
        std::net::IpAddr::V4(host) => host.to_string(),
        std::net::IpAddr::V6(host) => format!("[{host}]"),
    }
}

fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("stopping");
    })
}
