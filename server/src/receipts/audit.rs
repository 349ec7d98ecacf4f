//! Checking everything that is stored.

use std::fmt;

use entity::ids::ProjectId;
use entity::receipt::{self as row, Column};
use entity::receipt_log;
use receipt::{KeyRing, Receipt};
use sea_orm::sea_query::{Condition, Expr, ExprTrait};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait};

use super::links::{self, LogsDigest};
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
            for reason in faults(storage, keys, row).await? {
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

async fn faults(storage: &Storage, keys: &KeyRing, row: &row::Model) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    let linked = links::digest(storage.reader(), row.project_id, &row.id).await?;
    let certified = row.logs_count.unwrap_or(0);
    if i64::try_from(linked.count) != Ok(certified) {
        let count = linked.count;
        faults.push(format!(
            "{count} usage logs are linked to it, and it certified {certified}"
        ));
    }
    match stored::read(row, keys) {
        Ok(receipt) if row.logs_count.is_some() && !says(&receipt, &linked) => {
            faults.push("the usage logs linked to it are not those that it certified".to_owned());
        }
        Ok(_) => {}
        Err(reason) => faults.push(reason),
    }
    Ok(faults)
}

/// Whether a receipt that certifies logs says that it certifies these.
fn says(receipt: &Receipt, linked: &LogsDigest) -> bool {
    match receipt.members().get("batch_summary") {
        Some(summary) => {
            summary["logs_count"] == linked.count && summary["logs_sha256"] == linked.sha256.as_str()
        }
        None => receipt
            .text("log_id")
            .and_then(|id| id.parse().ok())
            .is_some_and(|id| links::digest_of_one(id).sha256 == linked.sha256),
    }
}
