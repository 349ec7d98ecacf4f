//! What a request shows of who is asking. Nothing of it reaches a log, an error or a redirect.

use std::fmt;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

use super::http::failure;
use crate::mcp::peer::{Auth, Failure, Secret};
use crate::outbound::Exchanges;

/// Longest answer of a token endpoint.
const MAX_TOKEN_ANSWER: usize = 1 << 20;
/// A token is renewed this long before it expires, or after nine tenths of a short life.
const EARLY: Duration = Duration::from_secs(30);

/// How requests are signed.
pub(super) enum Credentials {
    /// Not at all.
    None,
    /// The same header on each.
    Fixed(HeaderName, HeaderValue),
    /// A token that expires.
    Oauth(Box<Oauth>),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::None => "None",
            Self::Fixed(..) => "Fixed(…)",
            Self::Oauth(_) => "Oauth(…)",
        })
    }
}

/// Which token a request carried, so that a refusal of it can be told from the refusal of an older one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Generation(u64);

impl Credentials {
    /// From a server row's settings.
    ///
    /// # Errors
    /// [`Failure::Unreachable`] when they cannot be put into a header.
    pub(super) fn new(auth: Option<&Auth>, exchanges: &Exchanges) -> Result<Self, Failure> {
        Ok(match auth {
            None => Self::None,
            Some(Auth::Bearer(token)) => Self::Fixed(AUTHORIZATION, bearer(token.expose())?),
            Some(Auth::Header { name, value }) => Self::Fixed(custom_name(name)?, sensitive(value.expose())?),
            Some(Auth::Basic { username, password }) => {
                Self::Fixed(AUTHORIZATION, basic(username, password.expose())?)
            }
            Some(Auth::OauthClientCredentials {
                token_url,
                client_id,
                client_secret,
                scope,
                resource,
            }) => Self::Oauth(Box::new(Oauth {
                exchanges: exchanges.clone(),
                token_url: token_url.clone(),
                client_id: client_id.clone(),
                client_secret: client_secret.clone(),
                scope: scope.clone(),
                resource: resource.clone(),
                token: Mutex::default(),
            })),
        })
    }

    /// Adds what shows who is asking. `refused` is what a 401 answered: it is not used again.
    ///
    /// # Errors
    /// When no token is to be had.
    pub(super) async fn sign(
        &self,
        headers: &mut HeaderMap,
        refused: Option<Generation>,
    ) -> Result<Option<Generation>, Failure> {
        match self {
            Self::None => Ok(None),
            Self::Fixed(name, value) => {
                headers.insert(name, value.clone());
                Ok(None)
            }
            Self::Oauth(oauth) => {
                let (value, generation) = oauth.token(refused).await?;
                headers.insert(AUTHORIZATION, value);
                Ok(Some(generation))
            }
        }
    }
}

fn unusable(what: &str) -> Failure {
    Failure::Unreachable(format!(
        "its auth_config has {what} that no HTTP header can carry"
    ))
}

fn sensitive(text: &str) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(text).map_err(|_| unusable("a secret"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn bearer(token: &str) -> Result<HeaderValue, Failure> {
    sensitive(&Zeroizing::new(format!("Bearer {token}")))
}

fn basic(username: &str, password: &str) -> Result<HeaderValue, Failure> {
    let pair = Zeroizing::new(format!("{username}:{password}"));
    let encoded = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
    sensitive(&Zeroizing::new(format!("Basic {}", *encoded)))
}

/// A header that the transport itself does not need.
fn custom_name(name: &str) -> Result<HeaderName, Failure> {
    const TAKEN: [&str; 11] = [
        "accept",
        "connection",
        "content-length",
        "content-type",
        "expect",
        "host",
        "last-event-id",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    HeaderName::from_bytes(name.as_bytes())
        .ok()
        .filter(|name| !TAKEN.contains(&name.as_str()) && !name.as_str().starts_with("mcp-"))
        .ok_or_else(|| unusable("a header name"))
}

/// Client credentials (RFC 6749 section 4.4) and the token they last gave.
pub(super) struct Oauth {
    exchanges: Exchanges,
    token_url: Url,
    client_id: String,
    client_secret: Secret,
    scope: Option<String>,
    resource: Option<String>,
    token: Mutex<Option<Token>>,
}

struct Token {
    value: HeaderValue,
    renew_at: Option<Instant>,
    generation: Generation,
}

/// RFC 6749 section 5.1.
#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    token_type: Option<String>,
    expires_in: Option<f64>,
}

/// Longest wait for a token.
const LONGEST_FETCH: Duration = Duration::from_secs(10);

/// RFC 6749 section 5.2.
#[derive(Deserialize)]
struct TokenError {
    error: String,
}

impl Oauth {
    /// A good token: the one at hand, unless it is about to expire or was `refused`. One request at a time fetches a new one.
    async fn token(&self, refused: Option<Generation>) -> Result<(HeaderValue, Generation), Failure> {
        let mut held = self.token.lock().await;
        let last = held.as_ref().map(|token| token.generation);
        if let Some(token) = held.as_ref()
            && refused != last
            && token.renew_at.is_none_or(|at| Instant::now() < at)
        {
            return Ok((token.value.clone(), token.generation));
        }
        let asked = Instant::now();
        // The lock is held meanwhile: an authorization server that is silent must not stop everybody for ever.
        let answer = tokio::time::timeout(LONGEST_FETCH, self.fetch())
            .await
            .map_err(|_| Failure::Unreachable("its authorization server did not answer in time".into()))??;
        let life = answer
            .expires_in
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let token = Token {
            value: bearer(&Zeroizing::new(answer.access_token))?,
            renew_at: life.and_then(|life| asked.checked_add(life - EARLY.min(life / 10))),
            generation: Generation(last.map_or(0, |last| last.0 + 1)),
        };
        let given = (token.value.clone(), token.generation);
        *held = Some(token);
        Ok(given)
    }

    async fn fetch(&self) -> Result<TokenAnswer, Failure> {
        // RFC 6749 section 2.3.1: every server must understand Basic; some only know the parameters.
        let (status, body) = self.ask(true).await?;
        let (status, body) = match status {
            StatusCode::UNAUTHORIZED | StatusCode::BAD_REQUEST => self.ask(false).await?,
            _ => (status, body),
        };
        if !status.is_success() {
            let code = serde_json::from_slice(&body).map(|TokenError { error }| error);
            let code = code.ok().filter(|code| {
                code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
            });
            let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
            return Err(Failure::Unreachable(format!(
                "its authorization server answered {status}{code}"
            )));
        }
        let answer: TokenAnswer = serde_json::from_slice(&body)
            .map_err(|_| Failure::Unreachable("its authorization server's answer holds no token".into()))?;
        match &answer.token_type {
            Some(kind) if !kind.eq_ignore_ascii_case("bearer") => Err(Failure::Unreachable(
                "its authorization server gave a token that is not a bearer token".into(),
            )),
            _ => Ok(answer),
        }
    }

    fn form(&self, with_client: bool) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        for (name, value) in [("scope", &self.scope), ("resource", &self.resource)] {
            if let Some(value) = value {
                form.append_pair(name, value);
            }
        }
        if with_client {
            form.append_pair("client_id", &self.client_id);
            form.append_pair("client_secret", self.client_secret.expose());
        }
        form.finish()
    }

    async fn ask(&self, with_basic: bool) -> Result<(StatusCode, Bytes), Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        headers.insert(http::header::ACCEPT, HeaderValue::from_static("application/json"));
        if with_basic {
            let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let secret = Zeroizing::new(encode(self.client_secret.expose()));
            headers.insert(AUTHORIZATION, basic(&encode(&self.client_id), &secret)?);
        }
        // Asking for a token is no call of a tool: if its fate is unknown, the session is simply not there.
        let unreachable = |error| match failure(&error) {
            Failure::Lost(reason) | Failure::Unreachable(reason) => {
                Failure::Unreachable(format!("its authorization server: {reason}"))
            }
            other => other,
        };
        let mut answer = self
            .exchanges
            .send(
                Method::POST,
                &self.token_url,
                headers,
                self.form(!with_basic).into(),
            )
            .await
            .map_err(unreachable)?;
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > MAX_TOKEN_ANSWER {
                return Err(Failure::Unreachable(
                    "its authorization server's answer is too large".into(),
                ));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((answer.status(), body.freeze()))
    }
}
