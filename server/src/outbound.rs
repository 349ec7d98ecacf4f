//! The one HTTP client, and the rules for where it may connect.
//!
//! A rule is checked against the address that is dialled, not against a name: after each resolution, for addresses written in
//! the URL, and again at every redirect. So neither a rebinding name nor an odd spelling of an address gets around it.

mod exchange;

use std::error::Error as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{StatusCode, redirect};
use url::{Host, Url};

pub(crate) use exchange::{Answer, Exchanges};

/// Redirects followed before giving up.
const MAX_REDIRECTS: usize = 5;
/// Connections kept open to one host.
const MAX_IDLE_PER_HOST: usize = 4;
const USER_AGENT: &str = concat!("llmring-server/", env!("CARGO_PKG_VERSION"));

/// Where a client may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EgressPolicy {
    /// Destinations that the operator chose: loopback and private networks too, but never link-local and cloud metadata
    /// addresses, which hand out credentials to whoever asks.
    Operator,
    /// Destinations that callers chose, who may reach the operator's own networks: as [`EgressPolicy::Operator`].
    Private,
    /// Destinations that callers chose, who may reach the internet and nothing else: no address of a special range (IANA's
    /// special-purpose address registries, RFC 6890).
    Public,
}

/// Why an address may not be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 169.254.0.0/16 or fe80::/10.
    #[error("{0} is a link-local address")]
    LinkLocal(IpAddr),
    /// An address at which a cloud serves credentials of the machine.
    #[error("{0} is a cloud metadata address")]
    Metadata(IpAddr),
    /// Loopback, private, shared, or of another range that is not the internet.
    #[error("{0} is not an address of the public internet")]
    NotPublic(IpAddr),
}

impl Refusal {
    /// What kind of address it is, without the address: whoever chose the name need not learn what it resolves to here.
    pub fn kind(self) -> &'static str {
        match self {
            Self::LinkLocal(_) => "a link-local address",
            Self::Metadata(_) => "a cloud metadata address",
            Self::NotPublic(_) => "an address that is not of the public internet",
        }
    }
}

/// Time limits of one request.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Until a connection stands.
    pub connect: Duration,
    /// Between two pieces of an answer.
    pub read: Duration,
    /// Everything, redirects and body included.
    pub total: Duration,
}

impl Timeouts {
    /// Everything within `total`; connecting and silence get at most half of it.
    #[must_use]
    pub fn within(total: Duration) -> Self {
        Self {
            connect: total / 2,
            read: total / 2,
            total,
        }
    }
}

/// An HTTP client that keeps to a policy. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Outbound {
    client: reqwest::Client,
    policy: EgressPolicy,
}

/// Why nothing came back. No variant shows the URL, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// The client cannot be made.
    #[error("cannot set up the HTTP client")]
    Setup(#[source] reqwest::Error),
    /// The destination is not permitted.
    #[error("refused to connect: {0}")]
    Refused(#[from] Refusal),
    /// Neither `http` nor `https`.
    #[error("cannot fetch a {0}: URL")]
    Scheme(String),
    /// A redirect that is not followed.
    #[error("{0}")]
    Redirect(RedirectProblem),
    /// An answer other than success.
    #[error("the answer was {0}")]
    Status(StatusCode),
    /// More bytes than permitted.
    #[error("the answer is larger than {max_bytes} bytes")]
    TooLarge {
        /// The limit.
        max_bytes: u64,
    },
    /// Nothing in time.
    #[error("no answer in time")]
    TimedOut(#[source] reqwest::Error),
    /// No connection, or a broken one.
    #[error("the connection failed")]
    Connection(#[source] reqwest::Error),
}

impl OutboundError {
    /// Whether the other side says that there is no such thing: 404 or 410 (RFC 9110 sections 15.5.5 and 15.5.11).
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Status(StatusCode::NOT_FOUND | StatusCode::GONE))
    }
}

/// A redirect that is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedirectProblem {
    /// A chain that is too long, or circular.
    #[error("more than {MAX_REDIRECTS} redirects")]
    TooMany,
    /// From `https` to anything else.
    #[error("a redirect away from https")]
    Downgrade,
}

impl EgressPolicy {
    /// Whether `address` may be dialled.
    ///
    /// # Errors
    /// [`Refusal`] with the address as a network would see it: IPv4 in any of its IPv6 forms is judged as IPv4.
    pub fn check(self, address: IpAddr) -> Result<(), Refusal> {
        [Some(address), embedded_ipv4(address).map(IpAddr::V4)]
            .into_iter()
            .flatten()
            .try_for_each(refuse_always)?;
        match self {
            Self::Operator | Self::Private => Ok(()),
            Self::Public if is_public(address) => Ok(()),
            Self::Public => Err(Refusal::NotPublic(address)),
        }
    }

    /// Whether the host of `url` may be dialled, as far as the URL itself tells: names are checked when they resolve.
    fn check_literal(self, url: &Url) -> Result<(), Refusal> {
        match url.host() {
            Some(Host::Ipv4(address)) => self.check(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => self.check(IpAddr::V6(address)),
            Some(Host::Domain(_)) | None => Ok(()),
        }
    }
}

fn refuse_always(address: IpAddr) -> Result<(), Refusal> {
    /// Alibaba Cloud; Oracle Cloud's older one; Azure's platform address.
    const METADATA_V4: [Ipv4Addr; 3] = [
        Ipv4Addr::new(100, 100, 100, 200),
        Ipv4Addr::new(192, 0, 0, 192),
        Ipv4Addr::new(168, 63, 129, 16),
    ];
    /// Google Cloud over IPv6.
    const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254);
    match address {
        IpAddr::V4(v4) if v4.is_link_local() => Err(Refusal::LinkLocal(address)),
        IpAddr::V4(v4) if METADATA_V4.contains(&v4) => Err(Refusal::Metadata(address)),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Err(Refusal::LinkLocal(address)),
        // Amazon's instance services live in fd00:ec2::/32.
        IpAddr::V6(v6) if v6.segments()[..2] == [0xfd00, 0xec2] || v6 == METADATA_V6 => {
            Err(Refusal::Metadata(address))
        }
        IpAddr::V4(_) | IpAddr::V6(_) => Ok(()),
    }
}

/// Whether an address belongs to the internet: none of the special-purpose ranges of IANA's registries (RFC 6890), nor multicast.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => match v6.segments() {
            // Mapped, and NAT64's well-known prefix, reach the IPv4 address itself.
            [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => {
                embedded_ipv4(address).is_some_and(is_public_v4)
            }
            // IETF protocol assignments (Teredo among them), documentation, 6to4.
            [0x2001, 0..0x200, ..] | [0x2001, 0xdb8, ..] | [0x2002, ..] | [0x3fff, 0..0x1000, ..] => false,
            [first, ..] => first & 0xe000 == 0x2000,
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        [0 | 10 | 127, ..]
            | [100, 64..128, ..]
            | [169, 254, ..]
            | [172, 16..32, ..]
            | [192, 0, 0 | 2, _]
            | [192, 88, 99, _]
            | [192, 168, ..]
            | [198, 18 | 19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
            | [224..=255, ..]
    )
}

/// The IPv4 address that an IPv6 address stands for: mapped or compatible (RFC 4291 section 2.5.5), behind NAT64 (RFC 6052
/// section 2.1, RFC 8215), or 6to4 (RFC 3056 section 2).
fn embedded_ipv4(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = address else {
        return None;
    };
    let from = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff | 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, _, _, high, low]
        | [0x2002, high, low, ..] => Some(from(high, low)),
        _ => None,
    }
}

impl Outbound {
    /// A client that connects where `policy` permits. It uses no proxy, whatever the environment says: through one, the
    /// dialled address could not be checked.
    ///
    /// # Errors
    /// [`OutboundError::Setup`] when TLS cannot be set up.
    pub fn new(policy: EgressPolicy, timeouts: Timeouts) -> Result<Self, OutboundError> {
        let client = client(|| builder(policy, timeouts))?;
        Ok(Self { client, policy })
    }

    /// Fetches the whole body at `url`, at most `max_bytes` of it.
    ///
    /// # Errors
    /// [`OutboundError`] for anything but a complete, successful answer.
    pub async fn fetch(&self, url: &Url, max_bytes: u64) -> Result<Bytes, OutboundError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(OutboundError::Scheme(url.scheme().to_owned()));
        }
        self.policy.check_literal(url)?;
        let too_large = || OutboundError::TooLarge { max_bytes };
        let mut response = self
            .client
            .get(url.clone())
            .send()
            .await
            .map_err(OutboundError::from_reqwest)?;
        if !response.status().is_success() {
            return Err(OutboundError::Status(response.status()));
        }
        if response.content_length().is_some_and(|length| length > max_bytes) {
            return Err(too_large());
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(OutboundError::from_reqwest)? {
            if (body.len() + chunk.len()) as u64 > max_bytes {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}

fn client(builder: impl Fn() -> reqwest::ClientBuilder) -> Result<reqwest::Client, OutboundError> {
    // reqwest is built without a cryptography provider of its own. Somebody may have installed one already: fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match builder().build() {
        Ok(client) => Ok(client),
        // A machine without certificate authorities, such as a minimal container.
        Err(_) => builder()
            .tls_backend_preconfigured(tls_with_bundled_roots())
            .build()
            .map_err(OutboundError::Setup),
    }
}

fn builder(policy: EgressPolicy, timeouts: Timeouts) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .no_proxy()
        .dns_resolver(Arc::new(CheckedResolver::new(policy)))
        .redirect(redirect::Policy::custom(move |attempt| {
            match check_redirect(policy, &attempt) {
                Ok(()) => attempt.follow(),
                Err(problem) => attempt.error(problem),
            }
        }))
        .connect_timeout(timeouts.connect)
        .read_timeout(timeouts.read)
        .timeout(timeouts.total)
        .pool_max_idle_per_host(MAX_IDLE_PER_HOST)
}

fn tls_with_bundled_roots() -> rustls::ClientConfig {
    let roots = rustls::RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// Why a hop is not taken; a source inside reqwest's own error.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum HopProblem {
    #[error(transparent)]
    Refused(Refusal),
    #[error(transparent)]
    Redirect(RedirectProblem),
}

fn check_redirect(policy: EgressPolicy, attempt: &redirect::Attempt<'_>) -> Result<(), HopProblem> {
    if attempt.previous().len() > MAX_REDIRECTS {
        return Err(HopProblem::Redirect(RedirectProblem::TooMany));
    }
    if attempt
        .previous()
        .last()
        .is_some_and(|from| from.scheme() == "https")
        && attempt.url().scheme() != "https"
    {
        return Err(HopProblem::Redirect(RedirectProblem::Downgrade));
    }
    policy.check_literal(attempt.url()).map_err(HopProblem::Refused)
}

/// What turns a name into addresses.
type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// Resolves as the system does, and refuses the whole answer when one of its addresses may not be dialled.
struct CheckedResolver {
    policy: EgressPolicy,
    lookup: Lookup,
}

impl CheckedResolver {
    fn new(policy: EgressPolicy) -> Self {
        let lookup: Lookup =
            Arc::new(|name| Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) }));
        Self { policy, lookup }
    }
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.policy;
        let addresses = (self.lookup)(name.as_str().to_owned());
        Box::pin(async move {
            let addresses = addresses.await?;
            for address in &addresses {
                policy.check(address.ip()).map_err(HopProblem::Refused)?;
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

impl OutboundError {
    /// Whether the other side may have seen the request, and so may have acted on it.
    pub fn was_sent(&self) -> bool {
        match self {
            Self::Setup(_) | Self::Refused(_) | Self::Scheme(_) => false,
            Self::Redirect(_) | Self::Status(_) | Self::TooLarge { .. } => true,
            Self::TimedOut(error) | Self::Connection(error) => !error.is_connect() && !error.is_builder(),
        }
    }

    /// The innermost reason, such as `Connection refused (os error 111)`; without the URL.
    pub fn root_cause(&self) -> String {
        let mut cause: &dyn std::error::Error = self;
        while let Some(source) = cause.source() {
            cause = source;
        }
        cause.to_string()
    }

    fn from_reqwest(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let mut source = error.source();
        while let Some(cause) = source {
            if let Some(problem) = cause.downcast_ref::<HopProblem>() {
                return match *problem {
                    HopProblem::Refused(refusal) => Self::Refused(refusal),
                    HopProblem::Redirect(problem) => Self::Redirect(problem),
                };
            }
            source = cause.source();
        }
        if error.is_timeout() {
            Self::TimedOut(error)
        } else {
            Self::Connection(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn outbound(total: Duration) -> Outbound {
        Outbound::new(EgressPolicy::Operator, Timeouts::within(total)).expect("a client")
    }

    /// Answers each connection with what `answer` makes of the request head; an empty answer means silence.
    async fn serve(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> Url {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            let mut silent = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = vec![0; 8192];
                let length = stream.read(&mut head).await.unwrap_or(0);
                let answer = answer(&String::from_utf8_lossy(&head[..length]));
                if answer.is_empty() {
                    silent.push(stream);
                } else {
                    let _ = stream.write_all(&answer).await;
                }
            }
        });
        Url::parse(&format!("http://{address}/")).expect("a URL")
    }

    fn ok(body: &str) -> Vec<u8> {
        format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
        .into()
    }

    fn redirect_to(location: &str) -> Vec<u8> {
        format!(
            "HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )
        .into()
    }

    #[test]
    fn link_local_and_metadata_addresses_are_refused_in_every_form() {
        for text in [
            "169.254.169.254",
            "169.254.0.1",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::169.254.169.254",
            "2002:a9fe:a9fe::1",
            "fe80::1",
            "febf::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "100.100.100.200",
            "::ffff:100.100.100.200",
            "168.63.129.16",
        ] {
            let address = text.parse().expect(text);
            assert!(EgressPolicy::Operator.check(address).is_err(), "{text}");
        }
    }

    #[test]
    fn the_operators_own_networks_are_permitted() {
        for text in [
            "127.0.0.1",
            "::1",
            "10.0.0.1",
            "192.168.1.1",
            "172.16.0.1",
            "fd00::1",
            "1.1.1.1",
            "2606:4700::1",
        ] {
            let address = text.parse().expect(text);
            assert_eq!(EgressPolicy::Operator.check(address), Ok(()), "{text}");
        }
    }

    #[tokio::test]
    async fn odd_spellings_of_a_refused_address_are_refused() {
        let outbound = outbound(Duration::from_secs(5));
        for url in [
            "http://169.254.169.254/latest/meta-data",
            "http://0xa9fea9fe/",
            "http://2852039166/",
            "http://0251.0376.0251.0376/",
            "http://[::ffff:169.254.169.254]/",
            "http://[64:ff9b::a9fe:a9fe]/",
            "http://[fd00:ec2::254]/",
        ] {
            let error = outbound
                .fetch(&Url::parse(url).expect(url), 100)
                .await
                .expect_err(url);
            assert!(matches!(error, OutboundError::Refused(_)), "{url}: {error}");
        }
    }

    #[tokio::test]
    async fn a_redirect_to_a_refused_address_is_refused() {
        for location in [
            "http://169.254.169.254/",
            "http://[::ffff:a9fe:a9fe]/",
            "//2852039166/",
        ] {
            let url = serve(move |_| redirect_to(location)).await;
            let error = outbound(Duration::from_secs(5))
                .fetch(&url, 100)
                .await
                .expect_err(location);
            assert!(
                matches!(error, OutboundError::Refused(Refusal::LinkLocal(_))),
                "{location}: {error}"
            );
        }
    }

    #[tokio::test]
    async fn a_name_is_judged_by_what_it_resolves_to() {
        let address = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254));
        let name: Name = "169.254.169.254".parse().expect("a name");
        let error = CheckedResolver::new(EgressPolicy::Operator)
            .resolve(name)
            .await
            .err()
            .expect("refused");
        assert_eq!(error.to_string(), Refusal::LinkLocal(address).to_string());
        let name: Name = "localhost".parse().expect("a name");
        assert!(
            CheckedResolver::new(EgressPolicy::Operator)
                .resolve(name)
                .await
                .is_ok()
        );
    }

    #[tokio::test]
    async fn redirects_are_followed_up_to_a_limit() {
        let url = serve(|head| match head.split(' ').nth(1) {
            Some("/") => redirect_to("/there"),
            Some("/there") => ok("found"),
            _ => redirect_to("/round"),
        })
        .await;
        let outbound = outbound(Duration::from_secs(5));
        assert_eq!(outbound.fetch(&url, 100).await.expect("the body"), "found");
        let error = outbound
            .fetch(&url.join("/round").expect("a URL"), 100)
            .await
            .expect_err("circular");
        assert!(
            matches!(error, OutboundError::Redirect(RedirectProblem::TooMany)),
            "{error}"
        );
    }

    #[tokio::test]
    async fn bodies_above_the_limit_are_refused_with_and_without_a_length() {
        let outbound = outbound(Duration::from_secs(5));
        let url = serve(|head| {
            if head.starts_with("GET /length") {
                ok("12345")
            } else {
                b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n12345".to_vec()
            }
        })
        .await;
        for path in ["length", "stream"] {
            let url = url.join(path).expect("a URL");
            assert_eq!(outbound.fetch(&url, 5).await.expect("the body"), "12345");
            let error = outbound.fetch(&url, 4).await.expect_err("too large");
            assert!(
                matches!(error, OutboundError::TooLarge { max_bytes: 4 }),
                "{error}"
            );
        }
    }

    #[tokio::test]
    async fn statuses_and_schemes() {
        let url =
            serve(|_| b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec())
                .await;
        let outbound = outbound(Duration::from_secs(5));
        let error = outbound.fetch(&url, 100).await.expect_err("404");
        assert!(
            matches!(error, OutboundError::Status(StatusCode::NOT_FOUND)),
            "{error}"
        );
        let error = outbound
            .fetch(&Url::parse("file:///etc/passwd").expect("a URL"), 100)
            .await
            .expect_err("file");
        assert!(matches!(error, OutboundError::Scheme(_)), "{error}");
    }

    #[tokio::test]
    async fn a_cut_off_body_is_an_error() {
        let url =
            serve(|_| b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\nconnection: close\r\n\r\n{}".to_vec())
                .await;
        let error = outbound(Duration::from_secs(5))
            .fetch(&url, 1000)
            .await
            .expect_err("cut off");
        assert!(matches!(error, OutboundError::Connection(_)), "{error}");
    }

    #[tokio::test]
    async fn silence_ends_at_the_time_limit_and_errors_hide_the_url() {
        let mut url = serve(|_| Vec::new()).await;
        url.set_password(Some("hush")).expect("a password");
        let error = outbound(Duration::from_millis(100))
            .fetch(&url, 100)
            .await
            .expect_err("silence");
        assert!(matches!(error, OutboundError::TimedOut(_)), "{error}");
        let mut text = format!("{error:?}{error}");
        if let Some(source) = error.source() {
            text.push_str(&source.to_string());
        }
        assert!(!text.contains("hush"), "{text}");
    }
}
