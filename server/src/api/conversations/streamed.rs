//! Answers that are written while the database is read, so that their size takes no memory.

use std::marker::PhantomData;

use entity::message;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use poem::{Body as HttpBody, IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaResponses, Registry};
use poem_openapi::types::Type;
use serde::Serialize;

use super::wire::{Conversation, Message};
use crate::api::body::Answer;
use crate::error::{Error, Result};

/// A JSON answer, status 200, described as a `T`.
pub(super) struct Streamed<T> {
    body: HttpBody,
    described: PhantomData<T>,
}

impl Streamed<Vec<Message>> {
    /// An array of messages.
    pub(super) async fn array(
        messages: impl Stream<Item = Result<Vec<message::Model>>> + Send + 'static,
    ) -> Result<Self> {
        Self::around(b"[".to_vec(), messages, b"]").await
    }
}

impl Streamed<Conversation> {
    /// A conversation without messages.
    pub(super) fn without_messages(conversation: &Conversation) -> Result<Self> {
        Ok(Self {
            body: json(conversation)?.into(),
            described: PhantomData,
        })
    }

    /// A conversation that has no messages yet, with these as its last member.
    pub(super) async fn with_messages(
        conversation: &Conversation,
        messages: impl Stream<Item = Result<Vec<message::Model>>> + Send + 'static,
    ) -> Result<Self> {
        let mut text = json(conversation)?;
        text.pop();
        text.extend(b",\"messages\":[");
        Self::around(text, messages, b"]}").await
    }
}

impl<T> Streamed<T> {
    /// The first chunk is awaited, so that a database that is away is still an answer of its own.
    async fn around(
        mut before: Vec<u8>,
        messages: impl Stream<Item = Result<Vec<message::Model>>> + Send + 'static,
        after: &'static [u8],
    ) -> Result<Self> {
        let mut first = true;
        let mut chunks = Box::pin(messages.map(move |chunk| {
            let mut text = Vec::new();
            for message in chunk? {
                if !std::mem::take(&mut first) {
                    text.push(b',');
                }
                text.extend(json(&Message::try_from(message)?)?);
            }
            Ok(text)
        }));
        before.extend(chunks.try_next().await?.unwrap_or_default());
        let text = stream::once(async { Ok(before) })
            .chain(chunks)
            .chain(stream::once(async { Ok(after.to_vec()) }));
        Ok(Self {
            body: written_while_read(text),
            described: PhantomData,
        })
    }
}

pub(super) fn json<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|source| Error::Corrupt {
        what: "message",
        source,
    })
}

/// When reading fails, the status is sent already: all that is left is to break off, which the client notices.
pub(super) fn written_while_read(text: impl Stream<Item = Result<Vec<u8>>> + Send + 'static) -> HttpBody {
    HttpBody::from_bytes_stream(text.map_err(|error| {
        tracing::warn!(%error, "an answer broke off");
        std::io::Error::other("the answer broke off")
    }))
}

impl<T: Type + Serialize> IntoResponse for Streamed<T> {
    fn into_response(self) -> Response {
        Response::builder()
            .content_type("application/json; charset=utf-8")
            .body(self.body)
    }
}

impl<T: Type + Serialize> ApiResponse for Streamed<T> {
    fn meta() -> MetaResponses {
        Answer::<T>::meta()
    }

    fn register(registry: &mut Registry) {
        Answer::<T>::register(registry);
    }
}
