//! Reading rows of the ledger.

use entity::ids::ProjectId;
use entity::usage_log::{self, Column};
use futures_util::Stream;
use futures_util::stream::try_unfold;
use sea_orm::{ColumnTrait, Condition, QueryFilter, QueryOrder, QuerySelect, Select};
use uuid::Uuid;

use super::period::DateRange;
use crate::error::{Error, Result};
use crate::storage::Storage;

/// Rows read at a time for a stream.
const CHUNK: u64 = 1000;

/// Which rows.
#[derive(Clone, Debug)]
pub struct LogFilter {
    /// When they were logged.
    pub range: DateRange,
    /// Exactly this alias.
    pub alias: Option<String>,
    /// Exactly this model.
    pub model: Option<String>,
    /// Exactly this origin.
    pub origin: Option<String>,
}

/// Which part of a list.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// At most this many.
    pub limit: u64,
    /// After this many.
    pub offset: u64,
}

pub(super) async fn one(storage: &Storage, project: ProjectId, id: Uuid) -> Result<usage_log::Model> {
    usage_log::Entity::of(project)
        .filter(Column::Id.eq(id))
        .one(storage.reader())
        .await?
        .ok_or_else(|| Error::NotFound {
            what: "usage log",
            id: id.to_string(),
        })
}

pub(super) async fn list(
    storage: &Storage,
    project: ProjectId,
    filter: &LogFilter,
    page: Page,
) -> Result<Vec<usage_log::Model>> {
    Ok(newest_first(project, filter)
        .limit(page.limit)
        .offset(page.offset)
        .all(storage.reader())
        .await?)
}

/// Each chunk begins after the last row of the one before, so that rows logged meanwhile shift nothing.
pub(super) fn stream(
    storage: Storage,
    project: ProjectId,
    filter: LogFilter,
) -> impl Stream<Item = Result<Vec<usage_log::Model>>> + Send + 'static {
    try_unfold(Some(None), move |position| {
        let (storage, filter) = (storage.clone(), filter.clone());
        async move {
            let Some(after) = position else { return Ok(None) };
            let mut select = newest_first(project, &filter).limit(CHUNK);
            if let Some((logged_at, id)) = after {
                select = select.filter(
                    Condition::any().add(Column::LoggedAt.lt(logged_at)).add(
                        Condition::all()
                            .add(Column::LoggedAt.eq(logged_at))
                            .add(Column::Id.lt(id)),
                    ),
                );
            }
            let rows = select.all(storage.reader()).await?;
            let next = rows.last().map(|row| (row.logged_at, row.id));
            Ok(next.map(|last| (rows, Some(Some(last)))))
        }
    })
}

fn newest_first(project: ProjectId, filter: &LogFilter) -> Select<usage_log::Entity> {
    let LogFilter {
        range,
        alias,
        model,
        origin,
    } = filter;
    let mut select = usage_log::Entity::of(project)
        .filter(Column::LoggedAt.gte(range.start))
        .filter(Column::LoggedAt.lt(range.end))
        .order_by_desc(Column::LoggedAt)
        .order_by_desc(Column::Id);
    for (column, wanted) in [
        (Column::Alias, alias),
        (Column::Model, model),
        (Column::Origin, origin),
    ] {
        if let Some(wanted) = wanted {
            select = select.filter(column.eq(wanted));
        }
    }
    select
}
