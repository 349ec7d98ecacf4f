//! A small HTTP server on loopback that stands in for somebody else's.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A request that came in.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// Such as `GET`.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// By lower-case name.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

/// What to do with it.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Answer with status, content type and body.
    Send(u16, &'static str, Vec<u8>),
    /// Say nothing and keep the connection open.
    Hang,
    /// Break the connection off.
    Reset,
}

/// A server that goes away with this.
#[derive(Debug)]
pub struct StandIn {
    address: String,
    accepting: JoinHandle<()>,
}

impl StandIn {
    /// Answers every request with what `respond` makes of it.
    pub async fn start(respond: impl Fn(Incoming) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address").to_string();
        let respond = Arc::new(respond);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let respond = respond.clone();
                tokio::spawn(async move {
                    // A client that goes away early is its own business.
                    let _ = serve(stream, &*respond).await;
                });
            }
        });
        Self { address, accepting }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// One request per connection.
async fn serve(stream: TcpStream, respond: &(impl Fn(Incoming) -> Reply + Sync)) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Ok(());
    };
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.trim().to_owned()),
            None => break,
        };
    }
    let length = headers
        .get("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    match respond(Incoming {
        method,
        path,
        headers,
        body,
    }) {
        Reply::Send(status, content_type, body) => {
            let head = format!(
                "HTTP/1.1 {status} .\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&body).await?;
            stream.shutdown().await
        }
        Reply::Hang => std::future::pending().await,
        Reply::Reset => Ok(()),
    }
}
