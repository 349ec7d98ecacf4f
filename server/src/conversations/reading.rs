//! Messages as they are read: a chunk at a time, of bounded size however large the messages are.

use entity::ids::ProjectId;
use entity::message::{self, Column};
use futures_util::Stream;
use futures_util::stream::try_unfold;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, QueryFilter, QuerySelect};
use uuid::Uuid;

use super::query::in_order;
use crate::error::Result;
use crate::storage::Storage;

/// Messages in one chunk.
const CHUNK_MESSAGES: u64 = 100;
/// Bytes in one chunk; a message that is larger is one by itself.
const CHUNK_BYTES: i64 = 1 << 20;
/// The bytes of a message's texts. Neither database reads a text to tell this.
const BYTES: &str = "CAST(octet_length(metadata) + COALESCE(octet_length(content), 0) \
    + COALESCE(octet_length(tool_calls), 0) + COALESCE(octet_length(tool_results), 0) AS bigint)";

/// Which messages of a conversation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// Those after this position,
    pub(super) after: i64,
    /// to this one,
    pub(super) to: i64,
    /// and no more than this many.
    pub(super) most: u64,
}

/// The messages of a span, oldest first. Messages are never changed: what is read late was as it is, unless it was deleted meanwhile.
pub(super) fn read(
    storage: Storage,
    project: ProjectId,
    id: Uuid,
    span: Span,
) -> impl Stream<Item = Result<Vec<message::Model>>> + Send + use<> {
    try_unfold(span, move |span| {
        let storage = storage.clone();
        async move {
            let Some((last, count)) = fitting(&storage, project, id, span).await? else {
                return Ok(None);
            };
            let chunk = Span { to: last, ..span };
            let rows = select(project, id, chunk).all(storage.reader()).await?;
            let rest = Span {
                after: last,
                most: span.most - count,
                ..span
            };
            Ok(Some((rows, rest)))
        }
    })
}

fn select(project: ProjectId, id: Uuid, span: Span) -> sea_orm::Select<message::Entity> {
    in_order(project, id)
        .filter(Column::Position.gt(span.after))
        .filter(Column::Position.lte(span.to))
}

/// The last position of the chunk that a span begins with, and how many messages it has.
async fn fitting(storage: &Storage, project: ProjectId, id: Uuid, span: Span) -> Result<Option<(i64, u64)>> {
    let sizes: Vec<(i64, i64)> = select(project, id, span)
        .select_only()
        .column(Column::Position)
        .expr(Expr::cust(BYTES))
        .limit(span.most.min(CHUNK_MESSAGES))
        .into_tuple()
        .all(storage.reader())
        .await?;
    let mut bytes = 0;
    let fitting = sizes.iter().take_while(|(_, size)| {
        bytes += size;
        bytes <= CHUNK_BYTES
    });
    let count = fitting.count().max(1);
    Ok(sizes.get(count - 1).map(|(last, _)| (*last, count as u64)))
}

#[cfg(test)]
mod tests {
    use entity::message::Role;
    use futures_util::TryStreamExt;

    use super::*;
    use crate::clock::{Clock, new_id};
    use crate::config::{Config, LoggingLevel, Settings};
    use crate::conversations::{Content, ConversationFields, NewMessage, insert, message as writing};

    #[tokio::test]
    async fn large_messages_are_never_read_together() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite://{}/sizes.db", folder.path().display());
        let config = Config::from_settings(&Settings::from_pairs(&[("LLMRING_DATABASE_URL", &url)]));
        let storage = Storage::connect(&config.expect("a configuration").database).await;
        let storage = storage.expect("a database");
        storage.migrate_up().await.expect("a schema");
        let now = Clock::system().now();
        let project = ProjectId(new_id(now));
        let transaction = storage.begin().await.expect("a transaction");
        let mut conversation = ConversationFields::default().begin(project, new_id(now), now);
        insert(&transaction, conversation.clone())
            .await
            .expect("a conversation");
        let sizes = [10, 3 << 20, 2 << 20, 700_000, 700_000, 10, 10];
        let messages = sizes.map(|size| {
            let text = Content::from_text(&"x".repeat(size));
            NewMessage::new(Role::User, Some(text))
        });
        conversation.last_position = 7;
        let rows = writing::rows(&conversation, messages.into(), LoggingLevel::Full, now);
        writing::insert(&transaction, &rows).await.expect("messages");
        transaction.commit().await.expect("a commit");

        let chunks = async |after, to, most| -> Vec<Vec<i64>> {
            let span = Span { after, to, most };
            let chunks = read(storage.clone(), project, conversation.id, span);
            let chunks: Vec<_> = chunks.try_collect().await.expect("messages");
            let positions = |rows: Vec<message::Model>| rows.iter().map(|row| row.position).collect();
            chunks.into_iter().map(positions).collect()
        };
        assert_eq!(
            chunks(0, 7, 1000).await,
            [vec![1], vec![2], vec![3], vec![4], vec![5, 6, 7]]
        );
        assert_eq!(chunks(3, 6, 2).await, [[4], [5]]);
        assert!(chunks(7, 7, 1000).await.is_empty() && chunks(0, 7, 0).await.is_empty());
    }
}
