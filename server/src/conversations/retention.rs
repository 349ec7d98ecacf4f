//! Deleting old messages, a few at a time, so that nobody waits long.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use entity::ids::ProjectId;
use entity::{conversation, message};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::Conversations;
use crate::clock::Clock;
use crate::error::Result;
use crate::storage::Storage;

/// How often automatic retention looks for old messages.
const INTERVAL: Duration = Duration::from_secs(3600);
/// Messages deleted in one transaction.
const AT_ONCE: u64 = 500;

impl Conversations {
    /// Deletes the project's messages that are older than `days`, by default as many as the settings say. Returns how many were
    /// deleted, and the days.
    pub async fn delete_old(&self, project: ProjectId, days: Option<u32>) -> Result<(u64, u32)> {
        let days = days.unwrap_or(self.config.retention_days);
        let Some(before) = days_before(self.clock.now(), days) else {
            return Ok((0, days));
        };
        let deleted = delete_before(&self.storage, project, before).await?;
        Ok((deleted, days))
    }
}

fn days_before(now: DateTime<Utc>, days: u32) -> Option<DateTime<Utc>> {
    now.checked_sub_signed(TimeDelta::try_days(i64::from(days))?)
}

/// Deletes old messages of all projects, for as long as the server runs.
pub(super) async fn delete_for_ever(storage: Storage, clock: Clock, days: u32) {
    let mut interval = tokio::time::interval(INTERVAL);
    loop {
        interval.tick().await;
        let Some(before) = days_before(clock.now(), days) else {
            return;
        };
        match delete_everywhere(&storage, before).await {
            Ok(0) => {}
            Ok(deleted) => tracing::info!(deleted, "old messages were deleted"),
            Err(error) => tracing::warn!(%error, "old messages were not deleted"),
        }
    }
}

/// Project by project, as the index has them.
async fn delete_everywhere(storage: &Storage, before: DateTime<Utc>) -> Result<u64> {
    let mut deleted = 0;
    let mut last: Option<ProjectId> = None;
    loop {
        let mut next = message::Entity::find()
            .select_only()
            .column(message::Column::ProjectId)
            .order_by_asc(message::Column::ProjectId)
            .limit(1);
        if let Some(last) = last {
            next = next.filter(message::Column::ProjectId.gt(last));
        }
        let Some(project) = next.into_tuple().one(storage.reader()).await? else {
            return Ok(deleted);
        };
        deleted += delete_before(storage, project, before).await?;
        last = Some(project);
    }
}

async fn delete_before(storage: &Storage, project: ProjectId, before: DateTime<Utc>) -> Result<u64> {
    use message::Column;
    let mut deleted = 0;
    loop {
        let old: Vec<(Uuid, Uuid)> = message::Entity::of(project)
            .select_only()
            .columns([Column::Id, Column::ConversationId])
            .filter(Column::CreatedAt.lt(before))
            .order_by_asc(Column::CreatedAt)
            .limit(AT_ONCE)
            .into_tuple()
            .all(storage.reader())
            .await?;
        if old.is_empty() {
            return Ok(deleted);
        }
        deleted += delete(storage, project, old).await?;
    }
}

/// Deletes these messages, of which others may have deleted some meanwhile. Conversations first, as everybody locks them.
async fn delete(storage: &Storage, project: ProjectId, old: Vec<(Uuid, Uuid)>) -> Result<u64> {
    let (ids, conversations): (Vec<Uuid>, Vec<Uuid>) = old.into_iter().unzip();
    let transaction = storage.begin().await?;
    let _locked: Vec<Uuid> = conversation::Entity::of(project)
        .select_only()
        .column(conversation::Column::Id)
        .filter(conversation::Column::Id.is_in(conversations))
        .order_by_asc(conversation::Column::Id)
        .lock_exclusive()
        .into_tuple()
        .all(&transaction)
        .await?;
    let gone = message::Entity::delete_many()
        .filter(message::Column::ProjectId.eq(project))
        .filter(message::Column::Id.is_in(ids))
        .exec_with_returning(&transaction)
        .await?;
    let mut counts: BTreeMap<Uuid, i64> = BTreeMap::new();
    for message in &gone {
        *counts.entry(message.conversation_id).or_default() += 1;
    }
    for (id, count) in counts {
        let column = conversation::Column::MessageCount;
        super::of(project, id)
            .col_expr(column, Expr::col(column).sub(count))
            .exec(&transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(gone.len() as u64)
}
