//! Requests whose answers are read as they come, to destinations that callers chose.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use reqwest::redirect;
use url::Url;

use super::{CheckedResolver, EgressPolicy, OutboundError, USER_AGENT, client};

/// Below the five seconds after which common servers close an idle connection, so that a request seldom meets a closing one.
const IDLE: Duration = Duration::from_secs(4);
const KEEPALIVE: Duration = Duration::from_secs(30);

/// An HTTP client for exchanges: it follows no redirect, repeats nothing by itself, keeps no cookies, and sets no limit to the
/// time of an answer. Each exchange has a connection of its own (HTTP/1.1), so that a slow one holds up no other. Clones share
/// idle connections.
#[derive(Clone)]
pub(crate) struct Exchanges {
    client: reqwest::Client,
    policy: EgressPolicy,
}

impl fmt::Debug for Exchanges {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Exchanges")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl Exchanges {
    /// A client that connects where `policy` permits, within `connect_timeout`. It uses no proxy.
    ///
    /// # Errors
    /// [`OutboundError::Setup`] when TLS cannot be set up.
    pub(crate) fn new(policy: EgressPolicy, connect_timeout: Duration) -> Result<Self, OutboundError> {
        Self::resolving(Arc::new(CheckedResolver::new(policy)), connect_timeout)
    }

    pub(super) fn resolving(
        resolver: Arc<CheckedResolver>,
        connect_timeout: Duration,
    ) -> Result<Self, OutboundError> {
        let policy = resolver.policy;
        let client = client(|| {
            reqwest::Client::builder()
                .user_agent(USER_AGENT)
                .no_proxy()
                .dns_resolver(resolver.clone())
                .redirect(redirect::Policy::none())
                .retry(reqwest::retry::never())
                .referer(false)
                .http1_only()
                .connect_timeout(connect_timeout)
                .pool_idle_timeout(IDLE)
                .tcp_keepalive(KEEPALIVE)
        })?;
        Ok(Self { client, policy })
    }

    /// Sends one request and waits for the head of the answer, whatever its status.
    ///
    /// # Errors
    /// [`OutboundError`]; [`OutboundError::was_sent`] tells whether the other side may have seen the request.
    pub(crate) async fn send(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, OutboundError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(OutboundError::Scheme(url.scheme().to_owned()));
        }
        self.policy.check_literal(url)?;
        let request = self.client.request(method, url.clone()).headers(headers);
        let request = if body.is_empty() {
            request
        } else {
            request.body(body)
        };
        let response = request.send().await.map_err(OutboundError::from_reqwest)?;
        Ok(Answer(response))
    }
}

/// An answer whose body is still to be read.
#[derive(Debug)]
pub(crate) struct Answer(reqwest::Response);

impl Answer {
    /// Its status.
    pub(crate) fn status(&self) -> StatusCode {
        self.0.status()
    }

    /// Its headers.
    pub(crate) fn headers(&self) -> &HeaderMap {
        self.0.headers()
    }

    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// [`OutboundError::Connection`] when the body breaks off.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, OutboundError> {
        self.0.chunk().await.map_err(OutboundError::from_reqwest)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::super::{Lookup, Refusal};
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(5);

    /// Answers every request with `answer` and closes.
    async fn serve(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = vec![0; 8192];
                let _ = stream.read(&mut head).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        address
    }

    async fn get(exchanges: &Exchanges, url: &str) -> Result<Answer, OutboundError> {
        let url = Url::parse(url).expect(url);
        exchanges
            .send(Method::GET, &url, HeaderMap::new(), Bytes::new())
            .await
    }

    #[test]
    fn special_ranges_are_not_public_in_any_form() {
        for text in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "::8.8.8.8",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::8.8.8.8",
            "2002:7f00:1::",
            "2002:808:808::",
            "2001::1",
            "2001:db8::1",
            "3fff::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "5f00::1",
            "100::1",
        ] {
            let address = text.parse().expect(text);
            assert!(EgressPolicy::Public.check(address).is_err(), "{text}");
        }
        for text in [
            "1.1.1.1",
            "100.63.0.1",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
            "2606:4700::1111",
            "2a00:1450::1",
        ] {
            let address = text.parse().expect(text);
            assert_eq!(EgressPolicy::Public.check(address), Ok(()), "{text}");
        }
        for text in ["127.0.0.1", "10.0.0.1", "100.64.0.1", "::1", "fd12::1"] {
            let address = text.parse().expect(text);
            assert_eq!(EgressPolicy::Private.check(address), Ok(()), "{text}");
        }
        for text in ["169.254.169.254", "fd00:ec2::254", "::ffff:169.254.169.254"] {
            let address = text.parse().expect(text);
            assert!(EgressPolicy::Private.check(address).is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn every_spelling_of_loopback_is_refused_to_the_public() {
        let address = serve("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        let port = address.port();
        let exchanges = Exchanges::new(EgressPolicy::Public, TIMEOUT).expect("a client");
        for host in [
            "127.0.0.1",
            "0x7f.1",
            "2130706433",
            "017700000001",
            "127.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[64:ff9b::7f00:1]",
            "localhost",
        ] {
            let error = get(&exchanges, &format!("http://{host}:{port}/"))
                .await
                .expect_err(host);
            assert!(matches!(error, OutboundError::Refused(_)), "{host}: {error}");
            assert!(!error.was_sent(), "{host}");
        }
        let exchanges = Exchanges::new(EgressPolicy::Private, TIMEOUT).expect("a client");
        let answer = get(&exchanges, &format!("http://127.0.0.1:{port}/"))
            .await
            .expect("permitted");
        assert_eq!(answer.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn a_name_that_changes_its_answer_is_judged_by_what_is_dialled() {
        let address = serve("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let lookup: Lookup = Arc::new(move |_| {
            let turn = count.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move {
                let ip = if turn == 0 { "127.0.0.1" } else { "169.254.169.254" };
                Ok(vec![SocketAddr::new(ip.parse().expect("an address"), 0)])
            })
        });
        let resolver = CheckedResolver {
            policy: EgressPolicy::Private,
            lookup,
        };
        let exchanges = Exchanges::resolving(Arc::new(resolver), TIMEOUT).expect("a client");
        let url = format!("http://rebinding.example:{}/", address.port());
        get(&exchanges, &url)
            .await
            .expect("the first answer is permitted");
        let error = get(&exchanges, &url).await.expect_err("the second is not");
        assert!(
            matches!(error, OutboundError::Refused(Refusal::LinkLocal(_))),
            "{error}"
        );
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn one_forbidden_address_among_several_refuses_the_name() {
        let lookup: Lookup = Arc::new(|_| {
            Box::pin(async {
                Ok(["1.1.1.1", "10.0.0.1"]
                    .map(|ip| SocketAddr::new(ip.parse().expect("an address"), 0))
                    .into())
            })
        });
        let resolver = CheckedResolver {
            policy: EgressPolicy::Public,
            lookup,
        };
        let exchanges = Exchanges::resolving(Arc::new(resolver), TIMEOUT).expect("a client");
        let error = get(&exchanges, "http://mixed.example/")
            .await
            .expect_err("refused");
        assert!(
            matches!(error, OutboundError::Refused(Refusal::NotPublic(_))),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_and_not_followed() {
        let address = serve(
            "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n",
        )
        .await;
        let exchanges = Exchanges::new(EgressPolicy::Private, TIMEOUT).expect("a client");
        let answer = get(&exchanges, &format!("http://{address}/"))
            .await
            .expect("an answer");
        assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
    }

    #[tokio::test]
    async fn whether_a_request_was_sent_is_known() {
        let exchanges = Exchanges::new(EgressPolicy::Private, TIMEOUT).expect("a client");
        let nobody = {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            listener.local_addr().expect("an address")
        };
        let error = get(&exchanges, &format!("http://{nobody}/"))
            .await
            .expect_err("nobody there");
        assert!(!error.was_sent(), "{error}: {}", error.root_cause());
        assert!(error.root_cause().contains("refused"), "{}", error.root_cause());
        let silent = serve("").await;
        let error = get(&exchanges, &format!("http://{silent}/"))
            .await
            .expect_err("closed without an answer");
        assert!(error.was_sent(), "{error}");
    }
}
