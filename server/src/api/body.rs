//! JSON in and out.
//!
//! [`Body`] reads a request strictly: malformed text and duplicate members (RFC 8259 section 4 leaves their meaning open) are 400,
//! what breaks a rule of the type is 422 and says where. [`Answer`] writes with serde, so that exact numbers stay exact.

mod objects;
mod strict;

use std::marker::PhantomData;

use bytes::Bytes;
use poem::{IntoResponse, Request, RequestBody, Response};
use poem_openapi::error::ContentTypeError;
use poem_openapi::payload::{Json, ParsePayload, Payload};
use poem_openapi::registry::{
    MetaMediaType, MetaRequest, MetaResponse, MetaResponses, MetaSchemaRef, Registry,
};
use poem_openapi::types::Type;
use poem_openapi::{ApiExtractor, ApiExtractorType, ApiResponse, ExtractParamOptions};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::app::App;
use crate::error::Violation;
use objects::Objects;

/// A JSON request body of type `T`.
#[derive(Debug)]
pub(crate) struct Body<T>(pub(crate) T);

impl<T: Type> Payload for Body<T> {
    const CONTENT_TYPE: &'static str = "application/json";

    fn check_content_type(content_type: &str) -> bool {
        Json::<T>::check_content_type(content_type)
    }

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: Type + DeserializeOwned> ParsePayload for Body<T> {
    const IS_REQUIRED: bool = true;

    async fn from_request(request: &Request, body: &mut RequestBody) -> poem::Result<Self> {
        Ok(Self(read(&bytes(request, body).await?)?))
    }
}

async fn bytes(request: &Request, body: &mut RequestBody) -> poem::Result<Bytes> {
    let limit = App::of(request).config().http.max_body_bytes;
    Ok(body.take()?.into_bytes_limit(limit).await?)
}

impl<'a, T: Type + DeserializeOwned> ApiExtractor<'a> for Body<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        <Self as Payload>::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(MetaRequest {
            description: None,
            content: vec![MetaMediaType {
                content_type: Self::CONTENT_TYPE,
                schema: <Self as Payload>::schema_ref(),
            }],
            required: true,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        expect_json(request)?;
        <Self as ParsePayload>::from_request(request, body).await
    }
}

fn expect_json(request: &Request) -> Result<(), ContentTypeError> {
    match request.content_type() {
        Some(content_type) if Json::<serde_json::Value>::check_content_type(content_type) => Ok(()),
        Some(content_type) => Err(ContentTypeError::NotSupported {
            content_type: content_type.to_owned(),
        }),
        None => Err(ContentTypeError::ExpectContentType),
    }
}

/// A JSON request body of type `T`, or none at all.
#[derive(Debug)]
pub(crate) struct OptionalBody<T>(pub(crate) Option<T>);

impl<'a, T: Type + DeserializeOwned> ApiExtractor<'a> for OptionalBody<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(MetaRequest {
            description: None,
            content: vec![MetaMediaType {
                content_type: "application/json",
                schema: T::schema_ref(),
            }],
            required: false,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let text = bytes(request, body).await?;
        if text.is_empty() {
            return Ok(Self(None));
        }
        expect_json(request)?;
        Ok(Self(Some(read(&text)?)))
    }
}

/// A JSON request body that is described as a `T` and handed on unread, for a reader that is stricter than [`Body`]'s.
#[derive(Debug)]
pub(crate) struct Unread<T> {
    pub(crate) text: Bytes,
    described: PhantomData<T>,
}

impl<'a, T: Type> ApiExtractor<'a> for Unread<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(MetaRequest {
            description: None,
            content: vec![MetaMediaType {
                content_type: "application/json",
                schema: T::schema_ref(),
            }],
            required: true,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        expect_json(request)?;
        Ok(Self {
            text: bytes(request, body).await?,
            described: PhantomData,
        })
    }
}

/// Reads a `T` from JSON text.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    strict::check(bytes)?;
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(Objects(&mut deserializer)).map_err(|error| {
        let mut at: Vec<String> = error
            .path()
            .iter()
            .filter_map(|segment| match segment {
                serde_path_to_error::Segment::Seq { index } => Some(index.to_string()),
                serde_path_to_error::Segment::Map { key } => Some(key.clone()),
                serde_path_to_error::Segment::Enum { variant } => Some(variant.clone()),
                serde_path_to_error::Segment::Unknown => None,
            })
            .collect();
        let text = error.inner().to_string();
        let message = text.split(" at line ").next().unwrap_or_default();
        let missing = message
            .strip_prefix("missing field `")
            .and_then(|rest| rest.strip_suffix('`'));
        let message = match missing {
            Some(member) => {
                at.push(member.to_owned());
                "is required"
            }
            None => message,
        };
        let path: Vec<&str> = at.iter().map(String::as_str).collect();
        Problem::invalid(vec![Violation::body(&path, message)])
    })
}

/// A JSON answer, status 200.
#[derive(Debug)]
pub(crate) struct Answer<T>(pub(crate) T);

impl<T: Type + Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(bytes) => Response::builder()
                .content_type("application/json; charset=utf-8")
                .body(bytes),
            Err(error) => Problem::from_poem(&poem::error::InternalServerError(error)).into_response(),
        }
    }
}

impl<T: Type + Serialize> ApiResponse for Answer<T> {
    fn meta() -> MetaResponses {
        MetaResponses {
            responses: vec![MetaResponse {
                description: "",
                status: Some(200),
                status_range: None,
                content: vec![MetaMediaType {
                    content_type: "application/json",
                    schema: T::schema_ref(),
                }],
                headers: vec![],
            }],
        }
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}
