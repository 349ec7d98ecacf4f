//! A TCP proxy that makes a service go away, hang, and come back.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use url::Url;

/// What happens to connections, those that are open included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// They reach the service.
    Flows,
    /// They are closed at once.
    IsRefused,
    /// They stay open and nothing comes through.
    Hangs,
}

/// Stands between the server and a service, and goes away with this.
#[derive(Debug)]
pub struct Proxy {
    url: Url,
    traffic: watch::Sender<Traffic>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// In front of the service at this URL.
    pub async fn before(service: &Url) -> Self {
        let target = format!(
            "{}:{}",
            service.host_str().expect("a host"),
            service
                .port()
                .or_else(|| (service.scheme() == "redis").then_some(6379))
                .unwrap_or(5432)
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let mut url = service.clone();
        url.set_host(Some("127.0.0.1")).expect("a host can be set");
        url.set_port(Some(address.port())).expect("a port can be set");
        let (traffic, watched) = watch::channel(Traffic::Flows);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, target.clone(), watched.clone()));
            }
        });
        Self {
            url,
            traffic,
            accepting,
        }
    }

    /// The service's URL by way of this proxy.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// Changes what happens from now on.
    pub fn set(&self, traffic: Traffic) {
        self.traffic.send_replace(traffic);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pass(mut client: TcpStream, target: String, mut traffic: watch::Receiver<Traffic>) {
    let now = *traffic.borrow_and_update();
    if now == Traffic::Flows {
        let Ok(mut service) = TcpStream::connect(&target).await else {
            return;
        };
        tokio::select! {
            _ = copy_bidirectional(&mut client, &mut service) => return,
            _ = traffic.wait_for(|traffic| *traffic != Traffic::Flows) => {}
        }
    }
    // Held open without a word until connections are refused or pass again: then this one is lost.
    if *traffic.borrow() == Traffic::Hangs {
        let _ = traffic.wait_for(|traffic| *traffic != Traffic::Hangs).await;
    }
}
