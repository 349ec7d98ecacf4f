//! `/receipts` and `/api/v1/receipts`: the public keys with which anybody verifies receipts.

use poem::http::{HeaderValue, StatusCode, header};
use poem::{IntoResponse, Request, Response};
use poem_openapi::param::Header;
use poem_openapi::payload::{Json, Payload, PlainText};
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::{ApiResponse, OpenApi};
use receipt::PublicKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::api::problem::Problem;
use crate::api::{Tag, conditional};
use crate::app::App;

const PEM: &str = "application/x-pem-file";
/// RFC 7517 section 8.5.1.
const JWK: &str = "application/jwk+json";
const JSON: &str = "application/json";

/// An upcoming key is published at least this long before it signs.
const CACHE_CONTROL: &str = "public, max-age=3600";

pub(in crate::api) struct PublicKeysApi;

#[OpenApi(tag = "Tag::Receipts")]
impl PublicKeysApi {
    /// The current public key as PEM
    #[oai(
        path = "/receipts/public-key.pem",
        method = "get",
        operation_id = "public_key_pem"
    )]
    async fn pem(
        &self,
        request: &Request,
        /// An entity tag: 304 when the keys still have it.
        #[oai(name = "If-None-Match")]
        if_none_match: Header<Option<String>>,
    ) -> Result<Pem, Problem> {
        let key = current(request)?;
        Ok(Pem(Published::new(if_none_match.0, PEM, key.key().to_pem())))
    }

    /// The current public key as JWK
    #[oai(
        path = "/receipts/public-key.jwk",
        method = "get",
        operation_id = "public_key_jwk"
    )]
    async fn jwk(
        &self,
        request: &Request,
        /// An entity tag: 304 when the keys still have it.
        #[oai(name = "If-None-Match")]
        if_none_match: Header<Option<String>>,
    ) -> Result<Jwk, Problem> {
        Ok(Jwk(Published::json(if_none_match.0, JWK, current(request)?)?))
    }

    /// All public keys
    ///
    /// The current one first, then retired and upcoming ones, with the time in which each signs.
    #[oai(
        path = "/receipts/public-keys.json",
        method = "get",
        operation_id = "public_keys"
    )]
    async fn set(
        &self,
        request: &Request,
        /// An entity tag: 304 when the keys still have it.
        #[oai(name = "If-None-Match")]
        if_none_match: Header<Option<String>>,
    ) -> Result<JwkSet, Problem> {
        match App::of(request).receipts().public_keys() {
            [] => Err(none()),
            keys => Ok(JwkSet(Published::json(if_none_match.0, JSON, keys)?)),
        }
    }

    /// The current public key as PEM, as at `/receipts/public-key.pem`
    #[oai(
        path = "/api/v1/receipts/public-key.pem",
        method = "get",
        operation_id = "public_key_pem_v1"
    )]
    async fn pem_v1(
        &self,
        request: &Request,
        /// An entity tag: 304 when the keys still have it.
        #[oai(name = "If-None-Match")]
        if_none_match: Header<Option<String>>,
    ) -> Result<Pem, Problem> {
        self.pem(request, if_none_match).await
    }

    /// The current public key as JWK, as at `/receipts/public-key.jwk`
    #[oai(
        path = "/api/v1/receipts/public-key.jwk",
        method = "get",
        operation_id = "public_key_jwk_v1"
    )]
    async fn jwk_v1(
        &self,
        request: &Request,
        /// An entity tag: 304 when the keys still have it.
        #[oai(name = "If-None-Match")]
        if_none_match: Header<Option<String>>,
    ) -> Result<Jwk, Problem> {
        self.jwk(request, if_none_match).await
    }

    /// All public keys, as at `/receipts/public-keys.json`
    #[oai(
        path = "/api/v1/receipts/public-keys.json",
        method = "get",
        operation_id = "public_keys_v1"
    )]
    async fn set_v1(
        &self,
        request: &Request,
        /// An entity tag: 304 when the keys still have it.
        #[oai(name = "If-None-Match")]
        if_none_match: Header<Option<String>>,
    ) -> Result<JwkSet, Problem> {
        self.set(request, if_none_match).await
    }
}

fn current(request: &Request) -> Result<&PublicKey, Problem> {
    App::of(request).receipts().current_key().ok_or_else(none)
}

fn none() -> Problem {
    Problem::not_found("no receipt key is configured (LLMRING_RECEIPTS_PRIVATE_KEY_B64)")
}

/// A public key (RFC 7517, RFC 8037).
#[derive(Debug, Serialize, Deserialize, poem_openapi::Object)]
#[oai(rename = "Jwk")]
struct JwkBody {
    /// `OKP`.
    kty: String,
    /// `Ed25519`.
    crv: String,
    /// The key id, which receipts mention as `key_id`.
    kid: String,
    /// The public key, base64url without padding.
    x: String,
    /// The first instant at which it signs; absent when there is no such limit.
    not_before: Option<String>,
    /// The last instant at which it signs; absent when there is no such limit.
    not_after: Option<String>,
}

/// Content that caches may keep, with its entity tag.
struct Published {
    content_type: &'static str,
    content: String,
    etag: String,
    /// Whether the client has it already.
    known: bool,
}

impl Published {
    fn new(if_none_match: Option<String>, content_type: &'static str, content: String) -> Self {
        let etag = format!("\"{}\"", hex::encode(Sha256::digest(&content)));
        let known = if_none_match.is_some_and(|tags| conditional::matches(&tags, &etag));
        Self {
            content_type,
            content,
            etag,
            known,
        }
    }

    fn json(
        if_none_match: Option<String>,
        content_type: &'static str,
        content: impl Serialize,
    ) -> Result<Self, Problem> {
        let content = serde_json::to_string(&content)
            .map_err(|error| Problem::from_poem(&poem::error::InternalServerError(error)))?;
        Ok(Self::new(if_none_match, content_type, content))
    }
}

impl IntoResponse for Published {
    fn into_response(self) -> Response {
        let mut response = if self.known {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            Response::builder()
                .content_type(self.content_type)
                .body(self.content)
        };
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(CACHE_CONTROL));
        if let Ok(etag) = HeaderValue::from_str(&self.etag) {
            headers.insert(header::ETAG, etag);
        }
        response
    }
}

/// Published content of one kind, for the document.
macro_rules! published {
    ($name:ident, $content_type:expr, $payload:ty) => {
        struct $name(Published);

        impl IntoResponse for $name {
            fn into_response(self) -> Response {
                self.0.into_response()
            }
        }

        impl ApiResponse for $name {
            fn meta() -> MetaResponses {
                let response = |description, status, content| MetaResponse {
                    description,
                    status: Some(status),
                    status_range: None,
                    content,
                    headers: vec![],
                };
                let content = MetaMediaType {
                    content_type: $content_type,
                    schema: <$payload>::schema_ref(),
                };
                MetaResponses {
                    responses: vec![
                        response("Cacheable, with an entity tag.", 200, vec![content]),
                        response(
                            "The entity tag of `If-None-Match` is still right.",
                            304,
                            vec![],
                        ),
                    ],
                }
            }

            fn register(registry: &mut Registry) {
                <$payload as Payload>::register(registry);
            }
        }
    };
}

published!(Pem, PEM, PlainText<String>);
published!(Jwk, JWK, Json<JwkBody>);
published!(JwkSet, JSON, Json<Vec<JwkBody>>);
