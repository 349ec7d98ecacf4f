//! Which usage logs are meant.

use std::collections::BTreeSet;

use entity::ids::ProjectId;
use entity::{receipt_log, usage_log};
use sea_orm::sea_query::{Condition, Expr, ExprTrait, IntoCondition};
use sea_orm::{ColumnTrait, ConnectionTrait, QueryFilter, QuerySelect, QueryTrait};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::usage::DateRange;

/// Most ids in [`Selection::Logs`].
pub const MAX_SELECTED_IDS: usize = 10_000;

/// Which usage logs of a project a receipt is to certify.
#[derive(Clone, Debug)]
pub enum Selection {
    /// Those of one conversation.
    Conversation(Uuid),
    /// Those logged in a range of time.
    Dates(DateRange),
    /// Exactly these.
    Logs(BTreeSet<Uuid>),
    /// Those that no receipt certifies yet, whenever they were logged.
    Uncertified,
}

impl Selection {
    /// The condition on usage logs, which must be those of `project` already.
    pub(super) fn condition(&self, project: ProjectId) -> Condition {
        use usage_log::Column;
        match self {
            Self::Conversation(id) => Column::ConversationId.eq(*id).into_condition(),
            Self::Dates(range) => Condition::all()
                .add(Column::LoggedAt.gte(range.start))
                .add(Column::LoggedAt.lt(range.end)),
            Self::Logs(ids) => Column::Id.is_in(ids.iter().copied()).into_condition(),
            Self::Uncertified => {
                let links = receipt_log::Entity::of(project)
                    .select_only()
                    .column(receipt_log::Column::LogId)
                    .filter(
                        Expr::col((receipt_log::Entity, receipt_log::Column::LogId))
                            .equals((usage_log::Entity, Column::Id)),
                    );
                Expr::not_exists(links.into_query()).into_condition()
            }
        }
    }

    /// Refuses ids that name no usage log of the project.
    pub(super) async fn refuse_unknown(
        &self,
        connection: &impl ConnectionTrait,
        project: ProjectId,
    ) -> Result<()> {
        let Self::Logs(ids) = self else { return Ok(()) };
        let known: Vec<Uuid> = usage_log::Entity::of(project)
            .filter(self.condition(project))
            .select_only()
            .column(usage_log::Column::Id)
            .into_tuple()
            .all(connection)
            .await?;
        let known = BTreeSet::from_iter(known);
        match ids.difference(&known).next() {
            None => Ok(()),
            Some(unknown) => Err(Error::NotFound {
                what: "usage log",
                id: unknown.to_string(),
            }),
        }
    }
}

/// The condition that a receipt certifies a usage log of `project`.
pub(super) fn certified_by(project: ProjectId, receipt_id: &str) -> Condition {
    let links = receipt_log::Entity::of(project)
        .select_only()
        .column(receipt_log::Column::LogId)
        .filter(receipt_log::Column::ReceiptId.eq(receipt_id));
    usage_log::Column::Id
        .in_subquery(links.into_query())
        .into_condition()
}
