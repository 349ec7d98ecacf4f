//! Checking everything that is stored.

use std::fmt;

use entity::ids::ProjectId;
use entity::receipt::{self as row, Column};
use entity::{receipt_log, usage_log};
use receipt::{KeyRing, Receipt};
use sea_orm::sea_query::{Condition, Expr, ExprTrait};
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait};
use uuid::Uuid;

use super::links;
use super::stored;
use crate::error::Result;
use crate::storage::Storage;

/// Receipts read at a time.
const CHUNK: u64 = 100;

/// What an audit came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Receipts checked.
    pub receipts: u64,
    /// Faults found; a receipt may have several.
    pub faults: u64,
    /// Receipts that say they certify logs, of which none is linked here: stored as another server signed them, or robbed of their
    /// links by somebody who knew how.
    pub certified_elsewhere: u64,
}

/// Something that is not as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The project.
    pub project: ProjectId,
    /// The receipt's id, as its column says.
    pub receipt_id: String,
    /// What is wrong.
    pub reason: String,
}

/// `project …, receipt …: …`
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            project,
            receipt_id,
            reason,
        } = self;
        write!(f, "project {project}, receipt {receipt_id:?}: {reason}")
    }
}

pub(super) async fn run(storage: &Storage, keys: &KeyRing, mut report: impl FnMut(&Fault)) -> Result<Audit> {
    let mut audit = Audit::default();
    let mut found = |audit: &mut Audit, fault: Fault| {
        audit.faults += 1;
        report(&fault);
    };
    let mut last: Option<(ProjectId, String)> = None;
    loop {
        let rows = after(last.as_ref()).all(storage.reader()).await?;
        for row in &rows {
            audit.receipts += 1;
            let checked = check(storage, keys, row).await?;
            audit.certified_elsewhere += u64::from(checked.certified_elsewhere);
            for reason in checked.faults {
                let fault = Fault {
                    project: row.project_id,
                    receipt_id: row.id.clone(),
                    reason,
                };
                found(&mut audit, fault);
            }
        }
        match rows.into_iter().last() {
            Some(row) => last = Some((row.project_id, row.id)),
            None => break,
        }
    }
    for (project, receipt_id) in orphans().into_tuple().all(storage.reader()).await? {
        let fault = Fault {
            project,
            receipt_id,
            reason: "usage logs are linked to it, but it is not stored".to_owned(),
        };
        found(&mut audit, fault);
    }
    Ok(audit)
}

/// The next receipts in the order of their primary key.
fn after(last: Option<&(ProjectId, String)>) -> sea_orm::Select<row::Entity> {
    let select = row::Entity::find()
        .order_by_asc(Column::ProjectId)
        .order_by_asc(Column::Id)
        .limit(CHUNK);
    match last {
        None => select,
        Some((project, id)) => select.filter(
            Condition::any().add(Column::ProjectId.gt(*project)).add(
                Condition::all()
                    .add(Column::ProjectId.eq(*project))
                    .add(Column::Id.gt(id)),
            ),
        ),
    }
}

/// Links whose receipt is gone.
fn orphans() -> sea_orm::Select<receipt_log::Entity> {
    let receipts = row::Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(
            Expr::col((row::Entity, Column::ProjectId))
                .equals((receipt_log::Entity, receipt_log::Column::ProjectId)),
        )
        .filter(
            Expr::col((row::Entity, Column::Id))
                .equals((receipt_log::Entity, receipt_log::Column::ReceiptId)),
        );
    receipt_log::Entity::find()
        .select_only()
        .column(receipt_log::Column::ProjectId)
        .column(receipt_log::Column::ReceiptId)
        .distinct()
        .filter(Expr::not_exists(receipts.into_query()))
}

/// What one receipt's check came to.
#[derive(Default)]
struct Checked {
    faults: Vec<String>,
    certified_elsewhere: bool,
}

async fn check(storage: &Storage, keys: &KeyRing, row: &row::Model) -> Result<Checked> {
    let mut checked = Checked::default();
    let linked = links::digest(storage.reader(), row.project_id, &row.id).await?;
    match stored::read(row, keys) {
        Ok(receipt) => {
            checked.faults.extend(linked.contradicts(row, &receipt));
            if row.logs_count.is_none() && linked.count == 0 && certifies(&receipt) {
                if keeps_its_log(storage, row.project_id, &receipt).await? {
                    let fault = "the usage log that it certifies is kept here and not linked to it";
                    checked.faults.push(fault.to_owned());
                }
                checked.certified_elsewhere = checked.faults.is_empty();
            }
        }
        Err(reason) => checked.faults.push(reason),
    }
    Ok(checked)
}

/// Whether a receipt says that its signer counted logs.
fn certifies(receipt: &Receipt) -> bool {
    ["batch_summary", "log_id"].iter().any(|member| {
        receipt
            .members()
            .get(*member)
            .is_some_and(|value| !value.is_null())
    })
}

/// Whether the log of a receipt of one is the project's, so that it was certified here.
async fn keeps_its_log(storage: &Storage, project: ProjectId, receipt: &Receipt) -> Result<bool> {
    let Some(id) = receipt.text("log_id").and_then(|id| id.parse::<Uuid>().ok()) else {
        return Ok(false);
    };
    let log = usage_log::Entity::of(project).filter(usage_log::Column::Id.eq(id));
    Ok(log.count(storage.reader()).await? > 0)
}
