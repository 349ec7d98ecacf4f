//! Links between receipts and the usage logs they certify.

use entity::ids::ProjectId;
use entity::{receipt as row, receipt_log, usage_log};
use receipt::Receipt;
use sea_orm::sea_query::{Expr, Query};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait, IntoActiveModel, QueryFilter,
    QueryOrder, QuerySelect, QueryTrait,
};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::selection::Selection;

/// Ids read at a time.
const CHUNK: u64 = 5000;

/// Which logs a receipt certifies, in 32 bytes.
pub(super) struct LogsDigest {
    /// How many.
    pub(super) count: u64,
    /// SHA-256, in hex, over their ids: ascending, each as lower-case text with hyphens and a line feed.
    pub(super) sha256: String,
}

impl LogsDigest {
    /// How what is linked to a receipt differs from what it certified, according to its row and, signed, to itself.
    pub(super) fn contradicts(&self, row: &row::Model, receipt: &Receipt) -> Option<String> {
        let count = self.count;
        match row.logs_count {
            None if count > 0 => Some(format!(
                "{count} usage logs are linked to it, and it certified none"
            )),
            None => None,
            Some(certified) if i64::try_from(count) != Ok(certified) => Some(format!(
                "{count} usage logs are linked to it, and it certified {certified}"
            )),
            Some(_) if !self.is_of(receipt) => {
                Some("the usage logs linked to it are not those that it certified".to_owned())
            }
            Some(_) => None,
        }
    }

    /// Whether a receipt that certifies logs says that it certifies these.
    fn is_of(&self, receipt: &Receipt) -> bool {
        match receipt.members().get("batch_summary") {
            Some(summary) => {
                summary["logs_count"] == self.count && summary["logs_sha256"] == self.sha256.as_str()
            }
            None => receipt
                .text("log_id")
                .and_then(|id| id.parse().ok())
                .is_some_and(|id| digest_of_one(id).sha256 == self.sha256),
        }
    }
}

/// Links the selected logs to the receipt, in one statement, and returns how many there are.
pub(super) async fn pick(
    transaction: &DatabaseTransaction,
    project: ProjectId,
    receipt_id: &str,
    selection: &Selection,
) -> Result<u64, DbErr> {
    use receipt_log::Column;
    let logs = usage_log::Entity::of(project)
        .filter(selection.condition(project))
        .select_only()
        .column(usage_log::Column::ProjectId)
        .column(usage_log::Column::Id)
        .expr(Expr::val(receipt_id))
        .into_query();
    let mut insert = Query::insert();
    insert
        .into_table(receipt_log::Entity)
        .columns([Column::ProjectId, Column::LogId, Column::ReceiptId])
        .select_from(logs)
        .map_err(|error| DbErr::Query(sea_orm::RuntimeErr::Internal(error.to_string())))?;
    Ok(transaction.execute(&insert).await?.rows_affected())
}

/// Links one log that nobody else can see yet.
pub(super) async fn link(
    transaction: &DatabaseTransaction,
    log: &usage_log::Model,
    receipt_id: String,
) -> Result<(), DbErr> {
    let link = receipt_log::Model {
        project_id: log.project_id,
        log_id: log.id,
        receipt_id,
    };
    receipt_log::Entity::insert(link.into_active_model())
        .exec_without_returning(transaction)
        .await
        .map(drop)
}

/// The digest of what is linked to the receipt. Reads a few thousand ids at a time, however many there are.
pub(super) async fn digest(
    connection: &impl ConnectionTrait,
    project: ProjectId,
    receipt_id: &str,
) -> Result<LogsDigest, DbErr> {
    let mut hash = Sha256::new();
    let mut count = 0;
    let mut last: Option<Uuid> = None;
    loop {
        let mut select = receipt_log::Entity::of(project)
            .filter(receipt_log::Column::ReceiptId.eq(receipt_id))
            .order_by_asc(receipt_log::Column::LogId)
            .limit(CHUNK);
        if let Some(last) = last {
            select = select.filter(receipt_log::Column::LogId.gt(last));
        }
        let ids: Vec<Uuid> = select
            .select_only()
            .column(receipt_log::Column::LogId)
            .into_tuple()
            .all(connection)
            .await?;
        for id in &ids {
            add(&mut hash, *id);
        }
        count += ids.len() as u64;
        last = ids.last().copied();
        if last.is_none() {
            return Ok(LogsDigest {
                count,
                sha256: hex::encode(hash.finalize()),
            });
        }
    }
}

/// The digest of one log.
fn digest_of_one(id: Uuid) -> LogsDigest {
    let mut hash = Sha256::new();
    add(&mut hash, id);
    LogsDigest {
        count: 1,
        sha256: hex::encode(hash.finalize()),
    }
}

fn add(hash: &mut Sha256, id: Uuid) {
    hash.update(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
    hash.update(b"\n");
}
