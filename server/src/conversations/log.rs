//! Logging a whole call: conversation, messages and usage row, or nothing.

use entity::ids::ProjectId;
use entity::message::Role;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::message::Tokens;
use super::{Added, ConversationFields, Conversations, NewMessage, grow, insert, message, no_conversation};
use crate::clock::new_id;
use crate::config::LoggingLevel;
use crate::error::{Error, Result};
use crate::usage::{CallReport, IdempotencyKey, idempotency};

/// A call with what was said.
#[derive(Debug)]
pub struct LoggedCall {
    /// The conversation to append to, as the caller names it; `None` begins one.
    pub conversation: Option<String>,
    /// What the model was sent.
    pub messages: Vec<NewMessage>,
    /// What it answered; the usage of the call is added to it.
    pub answer: Option<NewMessage>,
    /// What the call used.
    pub report: CallReport,
}

/// The acknowledgement of a logged call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logged {
    /// Where it was said.
    pub conversation_id: Uuid,
    /// The answer's message; `None` when there is no answer or messages are not kept.
    pub message_id: Option<Uuid>,
    /// The text of the call's receipt; `None` when no signing key is configured.
    #[serde(default)]
    pub receipt: Option<String>,
}

impl Conversations {
    /// Logs a call, in one transaction. With a key, a repetition of the same request gets the first answer and records nothing;
    /// another request under the same key is [`Error::Conflict`].
    pub async fn log(
        &self,
        project: ProjectId,
        call: LoggedCall,
        key: Option<IdempotencyKey>,
    ) -> Result<Logged> {
        self.must_track()?;
        let LoggedCall {
            conversation,
            messages,
            answer,
            mut report,
        } = call;
        let now = self.usage.now();
        let (conversation_id, is_new) = match conversation {
            Some(name) => (name.parse().map_err(|_| no_conversation(name))?, false),
            None => (new_id(now), true),
        };
        report.conversation_id = Some(conversation_id);
        let level = self.level(None);
        if level != LoggingLevel::Full {
            report.metadata = message::without_content(&report.metadata);
        }
        let fields = ConversationFields {
            model_alias: Some(report.alias.clone().unwrap_or_else(|| report.model.clone())),
            ..ConversationFields::default()
        };
        let row = self
            .usage
            .prepare(project, now, report)
            .await
            .map_err(within_metadata)?;

        let receipt = self.receipts.sign_log(&row)?;
        let answered = answer.is_some();
        let mut said = messages;
        said.extend(answer.map(|answer| NewMessage {
            role: Role::Assistant,
            input_tokens: Some(row.input_tokens),
            output_tokens: Some(row.output_tokens),
            ..answer
        }));
        if level == LoggingLevel::None {
            said.clear();
        }
        let added = Added {
            messages: said.len(),
            tokens: Tokens::of(&said),
            call: Some(&row),
        };

        // Made before anything is stored: the answer is claimed with the key, and a key is locked before a conversation.
        let logged = Logged {
            conversation_id,
            message_id: (answered && level != LoggingLevel::None).then(|| new_id(now)),
            receipt: receipt.as_ref().map(|receipt| receipt.as_str().to_owned()),
        };
        let transaction = self.storage.begin().await?;
        if let Some(key) = &key
            && let Some(earlier) =
                idempotency::claim(&transaction, project, key, stored(&logged)?, now).await?
        {
            return serde_json::from_str(&earlier).map_err(corrupt);
        }
        if is_new {
            insert(&transaction, fields.begin(project, conversation_id, now)).await?;
        }
        let conversation = grow(&transaction, project, conversation_id, &added, now).await?;
        let mut rows = message::rows(&conversation, said, level, now);
        if let (Some(answer), Some(id)) = (rows.last_mut(), logged.message_id) {
            answer.id = id;
            answer.receipt_id = receipt.as_ref().map(|receipt| receipt.id().to_owned());
        }
        message::insert(&transaction, &rows).await?;
        self.usage.record_in(&transaction, &row).await?;
        if let Some(receipt) = &receipt {
            self.receipts.store_with_log(&transaction, &row, receipt).await?;
        }
        transaction.commit().await?;
        self.usage.committed(1);
        Ok(logged)
    }
}

fn stored(logged: &Logged) -> Result<String> {
    serde_json::to_string(logged).map_err(corrupt)
}

fn corrupt(source: serde_json::Error) -> Error {
    Error::Corrupt {
        what: "stored answer",
        source,
    }
}

/// A call is described in the member `metadata` of the request.
fn within_metadata(error: Error) -> Error {
    match error {
        Error::Invalid(mut violations) => {
            for violation in &mut violations {
                violation.at.insert(1, "metadata".to_owned());
            }
            Error::Invalid(violations)
        }
        other => other,
    }
}
