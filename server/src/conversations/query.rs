//! Reading conversations and messages.

use entity::ids::ProjectId;
use entity::{conversation, message};
use futures_util::Stream;
use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect, Select};
use uuid::Uuid;

use super::reading::{self, Span};
use super::{Conversations, no_conversation, search};
use crate::error::Result;
use crate::usage::Page;

impl Conversations {
    /// One conversation.
    pub async fn one(&self, project: ProjectId, id: Uuid) -> Result<conversation::Model> {
        by_id(project, id)
            .one(self.storage.reader())
            .await?
            .ok_or_else(|| no_conversation(id))
    }

    /// One conversation with its newest messages, at most `most`, oldest of them first, in chunks as they are read.
    pub async fn one_with_messages(
        &self,
        project: ProjectId,
        id: Uuid,
        most: u64,
    ) -> Result<(
        conversation::Model,
        impl Stream<Item = Result<Vec<message::Model>>> + Send + use<>,
    )> {
        let snapshot = self.storage.snapshot().await?;
        let conversation = by_id(project, id)
            .one(&snapshot)
            .await?
            .ok_or_else(|| no_conversation(id))?;
        let first: Option<i64> = newest(project, id)
            .offset(most.saturating_sub(1))
            .into_tuple()
            .one(&snapshot)
            .await?;
        snapshot.commit().await?;
        let span = Span {
            after: first.map_or(0, |first| first - 1),
            to: conversation.last_position,
            most,
        };
        let messages = reading::read(self.storage.clone(), project, id, span);
        Ok((conversation, messages))
    }

    /// Conversations, most recently updated first. With `words`, those whose title or messages have all of them.
    pub async fn list(
        &self,
        project: ProjectId,
        words: Option<&str>,
        page: Page,
    ) -> Result<Vec<conversation::Model>> {
        let mut select = most_recent(project, page);
        if let Some(words) = words {
            match search::matches(self.storage.backend(), project, words) {
                Some(condition) => select = select.filter(condition),
                None => return Ok(Vec::new()),
            }
        }
        Ok(select.all(self.storage.reader()).await?)
    }

    /// Messages, oldest first, in chunks as they are read.
    pub async fn messages(
        &self,
        project: ProjectId,
        id: Uuid,
        page: Page,
    ) -> Result<impl Stream<Item = Result<Vec<message::Model>>> + Send + use<>> {
        let conversation = self.one(project, id).await?;
        let after = match page.offset.checked_sub(1) {
            None => Some(0),
            Some(skipped) => {
                oldest(project, id)
                    .offset(skipped)
                    .into_tuple()
                    .one(self.storage.reader())
                    .await?
            }
        };
        let span = Span {
            after: after.unwrap_or(conversation.last_position),
            to: conversation.last_position,
            most: page.limit,
        };
        Ok(reading::read(self.storage.clone(), project, id, span))
    }
}

fn by_id(project: ProjectId, id: Uuid) -> Select<conversation::Entity> {
    conversation::Entity::of(project).filter(conversation::Column::Id.eq(id))
}

fn most_recent(project: ProjectId, page: Page) -> Select<conversation::Entity> {
    conversation::Entity::of(project)
        .order_by_desc(conversation::Column::UpdatedAt)
        .order_by_desc(conversation::Column::Id)
        .limit(page.limit)
        .offset(page.offset)
}

fn of_conversation(project: ProjectId, id: Uuid) -> Select<message::Entity> {
    message::Entity::of(project).filter(message::Column::ConversationId.eq(id))
}

/// Positions, the highest first.
fn newest(project: ProjectId, id: Uuid) -> Select<message::Entity> {
    of_conversation(project, id)
        .select_only()
        .column(message::Column::Position)
        .order_by_desc(message::Column::Position)
}

/// Positions, the lowest first.
fn oldest(project: ProjectId, id: Uuid) -> Select<message::Entity> {
    in_order(project, id)
        .select_only()
        .column(message::Column::Position)
}

pub(super) fn in_order(project: ProjectId, id: Uuid) -> Select<message::Entity> {
    of_conversation(project, id).order_by_asc(message::Column::Position)
}

#[cfg(test)]
mod tests {
    use entity::message::Role;
    use sea_orm::{ConnectionTrait, DbBackend, QueryTrait, Statement};
    use serde_json::Value;

    use super::*;
    use crate::clock::{Clock, new_id};
    use crate::config::{Config, Settings};
    use crate::storage::Storage;

    /// A server's database with 500 conversations of one project, one of which has 5,000 messages.
    async fn crowded(settings: &[(&'static str, &str)]) -> (Storage, ProjectId, Uuid) {
        let config = Config::from_settings(&Settings::from_pairs(settings)).expect("usable settings");
        let storage = Storage::connect(&config.database).await.expect("a database");
        storage.migrate_up().await.expect("a schema");
        let now = Clock::system().now();
        let project = ProjectId(new_id(now));
        let transaction = storage.begin().await.expect("a transaction");
        let mut crowd = Uuid::nil();
        for _ in 0..500 {
            let begun = super::super::ConversationFields::default().begin(project, new_id(now), now);
            crowd = begun.id;
            super::super::insert(&transaction, begun)
                .await
                .expect("a conversation");
        }
        let conversation = by_id(project, crowd).one(&transaction).await.expect("an answer");
        let mut conversation = conversation.expect("the last one");
        conversation.last_position = 5000;
        let hay = |index: usize| {
            let straws: Vec<String> = (0..40).map(|straw| format!("straw{index}x{straw}")).collect();
            super::super::Content::from_text(&straws.join(" "))
        };
        let messages = (0..5000).map(|index| super::super::NewMessage::new(Role::User, Some(hay(index))));
        let messages = messages.collect();
        let rows =
            super::super::message::rows(&conversation, messages, crate::config::LoggingLevel::Full, now);
        super::super::message::insert(&transaction, &rows)
            .await
            .expect("messages");
        transaction.commit().await.expect("a commit");
        storage
            .writer()
            .execute_unprepared(match storage.backend() {
                // It also moves new words into the index proper.
                DbBackend::Postgres => "VACUUM ANALYZE conversations, messages, message_search",
                _ => "ANALYZE",
            })
            .await
            .expect("statistics");
        (storage, project, crowd)
    }

    async fn plan<E: sea_orm::EntityTrait>(storage: &Storage, select: Select<E>) -> String {
        let backend = storage.backend();
        let Statement { sql, values, .. } = select.build(backend);
        let explain = match backend {
            DbBackend::Postgres => format!("EXPLAIN (FORMAT JSON) {sql}"),
            _ => format!("EXPLAIN QUERY PLAN {sql}"),
        };
        let statement = Statement {
            sql: explain,
            values,
            db_backend: backend,
        };
        let rows = storage.reader().query_all_raw(statement).await.expect("a plan");
        rows.iter()
            .map(|row| match backend {
                DbBackend::Postgres => row.try_get_by_index::<Value>(0).expect("JSON").to_string(),
                _ => row.try_get::<String>("", "detail").expect("a step"),
            })
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// Every list is read in the order of its index: nothing is sorted, no table is read whole.
    async fn assert_indexed(settings: &[(&'static str, &str)]) {
        let (storage, project, crowd) = crowded(settings).await;
        let page = Page { limit: 20, offset: 0 };
        for (plan, index) in [
            (
                plan(&storage, most_recent(project, page)).await,
                "conversations_recent",
            ),
            (
                plan(&storage, newest(project, crowd).offset(99).limit(1)).await,
                "messages_in_order",
            ),
            (
                plan(&storage, in_order(project, crowd).limit(100)).await,
                "messages_in_order",
            ),
        ] {
            assert!(plan.contains(index), "{plan}");
            for bad in ["Seq Scan", "\"Sort\"", "SCAN", "TEMP B-TREE"] {
                assert!(!plan.contains(bad), "{bad} in {plan}");
            }
        }
        let search = search::matches(storage.backend(), project, "needle").expect("words");
        let plan = plan(&storage, most_recent(project, page).filter(search)).await;
        let index = match storage.backend() {
            DbBackend::Postgres => "message_search_words",
            _ => "message_search VIRTUAL TABLE INDEX",
        };
        assert!(plan.contains(index), "{plan}");
        storage.close().await.expect("closed");
    }

    #[tokio::test]
    async fn lists_and_search_use_their_indexes_on_sqlite() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let url = format!("sqlite://{}/plans.db", folder.path().display());
        assert_indexed(&[("LLMRING_DATABASE_URL", &url)]).await;
    }

    #[tokio::test]
    async fn lists_and_search_use_their_indexes_on_postgresql() {
        let url = std::env::var("LLMRING_TEST_POSTGRES_URL").expect(
            "LLMRING_TEST_POSTGRES_URL is not set: run `make test`, or set it to a PostgreSQL for tests",
        );
        let schema = format!("plans_{}", Uuid::now_v7().simple());
        let mcp_schema = format!("{schema}_mcp");
        assert_indexed(&[
            ("LLMRING_DATABASE_URL", &url),
            ("LLMRING_DATABASE_SCHEMA", &schema),
            ("LLMRING_DATABASE_MCP_SCHEMA", &mcp_schema),
        ])
        .await;
        let connection = sea_orm::Database::connect(&url).await.expect("PostgreSQL");
        let drop = format!("DROP SCHEMA {schema} CASCADE; DROP SCHEMA {mcp_schema} CASCADE");
        connection.execute_unprepared(&drop).await.expect("dropped");
    }
}
