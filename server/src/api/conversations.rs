//! `/api/v1/conversations`, and the same under `/conversations`.

mod jsonl;
mod log;
mod streamed;
pub(super) mod wire;

use poem::Request;
use poem_openapi::OpenApi;
use poem_openapi::param::{Header, Path, Query};
use uuid::Uuid;

use super::auth::Caller;
use super::body::{Answer, Body};
use super::problem::Problem;
use super::{Tag, idempotency};
use crate::app::App;
use crate::usage::Page;
use jsonl::{Export, Import};
use log::{LogConversationRequest, LogConversationResponse};
use streamed::Streamed;
use wire::{
    Conversation, ConversationRequest, Deleted, Message, MessageRequest, MessagesRequest, OldMessages,
};

pub(super) struct ConversationsApi;

#[OpenApi(prefix_path = "/api/v1/conversations", tag = "Tag::Conversations")]
impl ConversationsApi {
    /// Begin a conversation
    #[oai(path = "/", method = "post", operation_id = "create_conversation")]
    async fn create(
        &self,
        caller: Caller,
        request: &Request,
        body: Body<ConversationRequest>,
    ) -> Result<Answer<Conversation>, Problem> {
        let conversations = App::of(request).conversations();
        let begun = conversations.create(caller.project, body.0.into()).await?;
        Ok(Answer(begun.into()))
    }

    /// List conversations, most recently updated first
    #[oai(path = "/", method = "get", operation_id = "list_conversations")]
    async fn list(
        &self,
        caller: Caller,
        request: &Request,
        /// At most this many; 20 when absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u64>>,
        /// After this many.
        #[oai(validator(maximum(value = "9007199254740991")))]
        offset: Query<Option<u64>>,
        /// Those whose title or messages have all these words: runs of letters and digits in either case, and Chinese and Japanese
        /// characters one by one. Of each message the first 100,000 characters are searched.
        q: Query<Option<String>>,
    ) -> Result<Answer<Vec<Conversation>>, Problem> {
        let page = Page {
            limit: limit.0.unwrap_or(20),
            offset: offset.0.unwrap_or(0),
        };
        let conversations = App::of(request).conversations();
        let rows = conversations.list(caller.project, q.0.as_deref(), page).await?;
        Ok(Answer(rows.into_iter().map(Conversation::from).collect()))
    }

    /// Log a whole LLM call: what was said, and what it used
    ///
    /// Conversation, messages and usage log are recorded in one transaction; 200 means that they are committed. A usage log that
    /// follows for the same conversation, provider, model and counts completes the one made here. The same `Idempotency-Key` and body
    /// again gives the first answer and adds nothing.
    #[oai(path = "/log", method = "post", operation_id = "log_conversation")]
    async fn log(
        &self,
        caller: Caller,
        request: &Request,
        /// Makes a repetition safe: 1 to 255 characters, remembered for 7 days by default.
        #[oai(name = "Idempotency-Key")]
        _idempotency_key: Header<Option<String>>,
        body: Body<LogConversationRequest>,
    ) -> Result<Answer<LogConversationResponse>, Problem> {
        let key = idempotency::key("conversations/log", request, &body.0)?;
        let conversations = App::of(request).conversations();
        let logged = conversations.log(caller.project, body.0.into(), key).await?;
        Ok(Answer(logged.try_into()?))
    }

    /// Put back an exported conversation
    ///
    /// All of it or nothing. Ids are kept where they are free: an id is one conversation's or message's, whoever has it. So whether an id was
    /// kept tells whether it is in use somewhere, which helps nobody to guess one: a UUIDv7 has 74 random bits.
    #[oai(path = "/import", method = "post", operation_id = "import_conversation")]
    async fn import(
        &self,
        caller: Caller,
        request: &Request,
        file: Import,
    ) -> Result<Answer<Conversation>, Problem> {
        let Import {
            conversation,
            messages,
        } = file;
        let conversations = App::of(request).conversations();
        let imported = conversations
            .import(caller.project, conversation, messages)
            .await?;
        Ok(Answer(imported.into()))
    }

    /// Delete old messages of all conversations
    ///
    /// Conversations stay, and so do usage logs and token totals.
    #[oai(
        path = "/old-messages",
        method = "delete",
        operation_id = "delete_old_messages"
    )]
    async fn delete_old(
        &self,
        caller: Caller,
        request: &Request,
        /// From what age on, in days; as the server's settings say when absent.
        #[oai(validator(maximum(value = "36525")))]
        retention_days: Query<Option<u32>>,
    ) -> Result<Answer<OldMessages>, Problem> {
        let conversations = App::of(request).conversations();
        let deleted = conversations.delete_old(caller.project, retention_days.0).await?;
        Ok(Answer(deleted.into()))
    }

    /// Get a conversation with its newest messages
    #[oai(path = "/:conversation_id", method = "get", operation_id = "get_conversation")]
    async fn get(
        &self,
        caller: Caller,
        request: &Request,
        /// The conversation's id.
        conversation_id: Path<Uuid>,
        /// Whether messages are wanted; they are when absent.
        include_messages: Query<Option<bool>>,
        /// At most this many; 100 when absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
        message_limit: Query<Option<u64>>,
    ) -> Result<Streamed<Conversation>, Problem> {
        let conversations = App::of(request).conversations();
        let (project, id) = (caller.project, conversation_id.0);
        if include_messages.0 == Some(false) {
            let row = conversations.one(project, id).await?;
            return Ok(Streamed::without_messages(&row.into())?);
        }
        let most = message_limit.0.unwrap_or(100);
        let (row, messages) = conversations.one_with_messages(project, id, most).await?;
        Ok(Streamed::with_messages(&row.into(), messages).await?)
    }

    /// Change a conversation
    ///
    /// What is present changes, the rest stays.
    #[oai(
        path = "/:conversation_id",
        method = "patch",
        operation_id = "update_conversation"
    )]
    async fn change(
        &self,
        caller: Caller,
        request: &Request,
        /// The conversation's id.
        conversation_id: Path<Uuid>,
        body: Body<ConversationRequest>,
    ) -> Result<Answer<Conversation>, Problem> {
        let conversations = App::of(request).conversations();
        let changed = conversations
            .change(caller.project, conversation_id.0, body.0.into())
            .await?;
        Ok(Answer(changed.into()))
    }

    /// Delete a conversation with its messages
    ///
    /// Usage logs and statistics stay.
    #[oai(
        path = "/:conversation_id",
        method = "delete",
        operation_id = "delete_conversation"
    )]
    async fn delete(
        &self,
        caller: Caller,
        request: &Request,
        /// The conversation's id.
        conversation_id: Path<Uuid>,
    ) -> Result<Answer<Deleted>, Problem> {
        let conversations = App::of(request).conversations();
        conversations.delete(caller.project, conversation_id.0).await?;
        Ok(Answer(Deleted {
            message: "the conversation and its messages are deleted".to_owned(),
        }))
    }

    /// List messages, oldest first
    #[oai(
        path = "/:conversation_id/messages",
        method = "get",
        operation_id = "list_messages"
    )]
    async fn messages(
        &self,
        caller: Caller,
        request: &Request,
        /// The conversation's id.
        conversation_id: Path<Uuid>,
        /// At most this many; 100 when absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<Option<u64>>,
        /// After this many.
        #[oai(validator(maximum(value = "9007199254740991")))]
        offset: Query<Option<u64>>,
    ) -> Result<Streamed<Vec<Message>>, Problem> {
        let page = Page {
            limit: limit.0.unwrap_or(100),
            offset: offset.0.unwrap_or(0),
        };
        let conversations = App::of(request).conversations();
        let messages = conversations
            .messages(caller.project, conversation_id.0, page)
            .await?;
        Ok(Streamed::array(messages).await?)
    }

    /// Add a message
    #[oai(
        path = "/:conversation_id/messages",
        method = "post",
        operation_id = "add_message"
    )]
    async fn add(
        &self,
        caller: Caller,
        request: &Request,
        /// The conversation's id.
        conversation_id: Path<Uuid>,
        body: Body<MessageRequest>,
    ) -> Result<Answer<Message>, Problem> {
        let conversations = App::of(request).conversations();
        let added = conversations
            .add_one(caller.project, conversation_id.0, body.0.into())
            .await?;
        Ok(Answer(Message::try_from(added)?))
    }

    /// Add up to 1000 messages, all or none
    ///
    /// The answers are in the order of the messages. At logging level `none` nothing is stored and the answer is empty.
    #[oai(
        path = "/:conversation_id/messages/batch",
        method = "post",
        operation_id = "add_messages"
    )]
    async fn add_batch(
        &self,
        caller: Caller,
        request: &Request,
        /// The conversation's id.
        conversation_id: Path<Uuid>,
        body: Body<MessagesRequest>,
    ) -> Result<Answer<Vec<Message>>, Problem> {
        let (messages, level) = body.0.into_parts();
        let conversations = App::of(request).conversations();
        let added = conversations
            .add(caller.project, conversation_id.0, messages, level)
            .await?;
        let messages = added.into_iter().map(Message::try_from);
        Ok(Answer(messages.collect::<Result<_, _>>()?))
    }

    /// Export a conversation as JSON Lines
    ///
    /// The first line is the conversation, the others are its messages, oldest first.
    #[oai(
        path = "/:conversation_id/export",
        method = "get",
        operation_id = "export_conversation"
    )]
    async fn export(
        &self,
        caller: Caller,
        request: &Request,
        /// The conversation's id.
        conversation_id: Path<Uuid>,
    ) -> Result<Export, Problem> {
        let conversations = App::of(request).conversations();
        let (conversation, messages) = conversations.export(caller.project, conversation_id.0).await?;
        Ok(Export::of(conversation, messages)?)
    }
}
