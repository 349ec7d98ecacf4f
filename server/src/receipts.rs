//! Receipts: signed statements about calls, stored as they came or were issued, and linked to the usage logs they certify.
//!
//! What a receipt is, and when a signature is good, is the `receipt` crate's to say. Here receipts meet projects, the database and
//! the usage ledger.

mod audit;
mod calculation;
mod links;
mod published;
mod selection;
mod single;
mod stored;
mod summary;
mod turns;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use entity::ids::ProjectId;
use entity::{receipt as row, receipt_log, usage_log};
use receipt::{KeyRing, PublicKey, Receipt, ReceiptError, SignError, json};
use sea_orm::{ColumnTrait, DatabaseTransaction, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::clock::{Clock, new_id};
use crate::error::{Error, Result, Violation, refuse};
use crate::storage::Storage;
use crate::usage::Page;

pub use audit::{Audit, Fault};
pub use published::{FetchKeysError, fetch_public_keys};
pub use selection::{MAX_SELECTED_IDS, Selection};
pub use stored::MAX_RECEIPT_BYTES;
pub use summary::{Share, Summary};
use turns::Turns;

/// Members that say which logs the signer counted: nobody else can vouch for that.
const CERTIFYING: [&str; 3] = ["receipt_type", "batch_summary", "log_id"];

/// The receipts of all projects.
#[derive(Clone, Debug)]
pub struct Receipts {
    storage: Storage,
    clock: Clock,
    keys: Arc<KeyRing>,
    turns: Turns,
}

/// What the caller adds to a receipt that certifies logs.
#[derive(Clone, Debug, Default)]
pub struct Note {
    /// What it is for.
    pub description: Option<String>,
    /// Free labels.
    pub tags: Option<Vec<String>>,
}

/// A receipt just made, and how many logs it certifies.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The receipt.
    pub receipt: Receipt,
    /// Usage logs linked to it.
    pub certified: u64,
}

/// Whether a text is a genuine receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The member `id`, where there is one.
    pub receipt_id: Option<String>,
    /// The member `key_id`, where there is one.
    pub key_id: Option<String>,
    /// Why it is not genuine; `None` when it is.
    pub reason: Option<String>,
}

/// A part of a list, and how long the whole is.
#[derive(Clone, Debug)]
pub struct Part<T> {
    /// The entries of the page.
    pub entries: Vec<T>,
    /// All entries.
    pub total: u64,
}

/// Refuses ids under which a receipt could be stored and never fetched: in a path they mean something else.
fn refuse_unreachable(id: &str, at: &[&str]) -> Result<()> {
    const TAKEN: [&str; 10] = [
        ".",
        "..",
        "generate",
        "issue",
        "preview",
        "public-key.jwk",
        "public-key.pem",
        "public-keys.json",
        "uncertified",
        "verify",
    ];
    if TAKEN.contains(&id) {
        return Err(Violation::body(at, "means something else in a path: choose another").into());
    }
    Ok(())
}

impl Receipts {
    /// Receipts in `storage`, signed and verified with `keys`.
    pub fn new(storage: Storage, clock: Clock, keys: KeyRing) -> Self {
        Self {
            storage,
            clock,
            keys: Arc::new(keys),
            turns: Turns::default(),
        }
    }

    /// Says so in the log when the key that is to sign does not sign at this time.
    pub fn warn_of_idle_key(&self) {
        let current = self.current_key().filter(|_| self.keys.can_sign());
        if let Some(key) = current.filter(|key| !key.window().contains(self.clock.now())) {
            let (key_id, window) = (key.id(), key.window());
            tracing::warn!(key_id, %window, "the signing key signs at another time: no receipt can be issued now");
        }
    }

    /// The key that signs, or whose public half alone is configured.
    pub fn current_key(&self) -> Option<&PublicKey> {
        self.keys.current()
    }

    /// All public keys, the current one first.
    pub fn public_keys(&self) -> &[PublicKey] {
        self.keys.public_keys()
    }

    /// Whether `text` is a receipt signed by a key that this server publishes.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] for text that is not a strict JSON object.
    pub fn verify(&self, text: &[u8]) -> Result<Verdict> {
        match Receipt::from_slice(text) {
            Ok(receipt) => Ok(Verdict {
                receipt_id: Some(receipt.id().to_owned()),
                key_id: Some(receipt.key_id().to_owned()),
                reason: self
                    .keys
                    .verify(&receipt)
                    .err()
                    .map(|rejection| rejection.to_string()),
            }),
            Err(ReceiptError::Json(error)) => Err(Error::Refused(error.to_string())),
            Err(ReceiptError::Structure(error)) => {
                let members = json::read_object(text).map_err(|error| Error::Refused(error.to_string()))?;
                let member = |name| members.get(name).and_then(Value::as_str).map(str::to_owned);
                Ok(Verdict {
                    receipt_id: member("id"),
                    key_id: member("key_id"),
                    reason: Some(error.to_string()),
                })
            }
        }
    }

    /// Stores a receipt that a known key signed, byte for byte. The same receipt again is fine; another one of the same id is
    /// [`Error::Conflict`].
    pub async fn store(&self, project: ProjectId, text: &[u8]) -> Result<Receipt> {
        let receipt = Receipt::from_slice(text).map_err(|error| match error {
            ReceiptError::Json(error) => Error::Refused(error.to_string()),
            ReceiptError::Structure(error) => at_member("receipt.", error.member, error.problem),
        })?;
        self.keys
            .verify(&receipt)
            .map_err(|rejection| Error::Refused(rejection.to_string()))?;
        refuse_unreachable(receipt.id(), &["receipt", "id"])?;
        self.insert(project, receipt).await
    }

    /// Signs and stores a receipt of the caller's; `id`, `timestamp` and `key_id` are added where they are absent. Unknown members are
    /// kept; those by which this server says that it certified logs are refused.
    pub async fn issue(&self, project: ProjectId, text: &[u8]) -> Result<Receipt> {
        let now = self.clock.now();
        self.require_signing_key(now)?;
        let mut members = json::read_object(text).map_err(|error| Error::Refused(error.to_string()))?;
        let absent = |members: &Map<String, Value>, name: &str| members.get(name).is_none_or(Value::is_null);
        let violations: Vec<Violation> = CERTIFYING
            .into_iter()
            .filter(|name| !absent(&members, name))
            .map(|name| Violation::body(&[name], "is for the server to say, of logs that it certified"))
            .collect();
        refuse(violations)?;
        let dated_here = absent(&members, "timestamp");
        if dated_here {
            let now = now.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
            members.insert("timestamp".to_owned(), now.into());
        }
        if absent(&members, "id") {
            members.insert("id".to_owned(), receipt_id(now).into());
        }
        let receipt = self.keys.sign(members).map_err(|error| match error {
            SignError::OutsideWindow { .. } if !dated_here => Violation::body(
                &["timestamp"],
                "is outside the time in which the signing key signs",
            )
            .into(),
            error => unsigned(error),
        })?;
        refuse_unreachable(receipt.id(), &["id"])?;
        self.insert(project, receipt).await
    }

    /// Stores a receipt that certifies no log.
    async fn insert(&self, project: ProjectId, receipt: Receipt) -> Result<Receipt> {
        let row = stored::row(project, &receipt, None, self.clock.now())?;
        if stored::insert(self.storage.writer(), row).await? {
            return Ok(receipt);
        }
        let earlier = self.get(project, receipt.id()).await?;
        let same = earlier.signature() == receipt.signature()
            && earlier.signing_payload() == receipt.signing_payload();
        if same {
            Ok(earlier)
        } else {
            Err(Error::Conflict(format!(
                "another receipt with the id {} is stored already",
                receipt.id()
            )))
        }
    }

    /// One receipt, after its bytes and its signature were checked.
    pub async fn get(&self, project: ProjectId, id: &str) -> Result<Receipt> {
        let row = self.row(project, id).await?;
        stored::checked(&row, &self.keys)
    }

    async fn row(&self, project: ProjectId, id: &str) -> Result<row::Model> {
        let unknown = || Error::NotFound {
            what: "receipt",
            id: id.to_owned(),
        };
        // No receipt has such an id, and no database takes every character in a query.
        if id.chars().any(char::is_control) {
            return Err(unknown());
        }
        row::Entity::of(project)
            .filter(row::Column::Id.eq(id))
            .one(self.storage.reader())
            .await?
            .ok_or_else(unknown)
    }

    /// Receipts, last stored first, each checked as by [`Receipts::get`].
    pub async fn list(&self, project: ProjectId, page: Page) -> Result<Part<Receipt>> {
        let snapshot = self.storage.snapshot().await?;
        let total = row::Entity::of(project).count(&snapshot).await?;
        let rows = row::Entity::of(project)
            .order_by_desc(row::Column::StoredAt)
            .order_by_desc(row::Column::Id)
            .limit(page.limit)
            .offset(page.offset)
            .all(&snapshot)
            .await?;
        snapshot.rollback().await?;
        let receipts = rows.iter().map(|row| stored::checked(row, &self.keys));
        Ok(Part {
            entries: receipts.collect::<Result<_>>()?,
            total,
        })
    }

    /// The usage logs that a receipt certifies, in the order of their ids: the order in which they are hashed. The receipt is checked as by
    /// [`Receipts::get`], and all its links against what it says.
    pub async fn logs(&self, project: ProjectId, id: &str, page: Page) -> Result<Part<usage_log::Model>> {
        let row = self.row(project, id).await?;
        let receipt = stored::checked(&row, &self.keys)?;
        let snapshot = self.storage.snapshot().await?;
        let linked = links::digest(&snapshot, project, id).await?;
        if let Some(reason) = linked.contradicts(&row, &receipt) {
            return Err(stored::tampered(&row, reason));
        }
        // Two short queries: one that pages through the logs themselves reads all of them for each page.
        let ids: Vec<Uuid> = receipt_log::Entity::of(project)
            .filter(receipt_log::Column::ReceiptId.eq(id))
            .select_only()
            .column(receipt_log::Column::LogId)
            .order_by_asc(receipt_log::Column::LogId)
            .limit(page.limit)
            .offset(page.offset)
            .into_tuple()
            .all(&snapshot)
            .await?;
        let entries = usage_log::Entity::of(project)
            .filter(usage_log::Column::Id.is_in(ids))
            .order_by_asc(usage_log::Column::Id)
            .all(&snapshot)
            .await?;
        snapshot.rollback().await?;
        Ok(Part {
            entries,
            total: linked.count,
        })
    }

    /// The usage logs that no receipt certifies, newest first.
    pub async fn uncertified(&self, project: ProjectId, page: Page) -> Result<Part<usage_log::Model>> {
        let uncertified = || usage_log::Entity::of(project).filter(Selection::Uncertified.condition(project));
        let snapshot = self.storage.snapshot().await?;
        Storage::joins_many(&snapshot).await?;
        let total = uncertified().count(&snapshot).await?;
        let entries = uncertified()
            .order_by_desc(usage_log::Column::LoggedAt)
            .order_by_desc(usage_log::Column::Id)
            .limit(page.limit)
            .offset(page.offset)
            .all(&snapshot)
            .await?;
        snapshot.rollback().await?;
        Ok(Part { entries, total })
    }

    /// What [`Receipts::generate`] would certify now.
    pub async fn preview(&self, project: ProjectId, selection: &Selection) -> Result<Summary> {
        let snapshot = self.storage.snapshot().await?;
        Storage::joins_many(&snapshot).await?;
        selection.refuse_unknown(&snapshot, project).await?;
        let summary = Summary::of(&snapshot, project, selection.condition(project)).await?;
        snapshot.rollback().await?;
        summary.ok_or_else(nothing_selected)
    }

    /// Issues a receipt that certifies the selected logs, and links it to them, in one transaction.
    ///
    /// The logs are picked by one statement; everything the receipt says is computed from what that statement linked. A project's
    /// calls wait for each other, so that two of them never pick the same uncertified log; one that waits too long is [`Error::Busy`].
    pub async fn generate(
        &self,
        project: ProjectId,
        selection: &Selection,
        note: Note,
    ) -> Result<Certificate> {
        self.require_signing_key(self.clock.now())?;
        let turn = self.turns.take(&self.storage, project).await?;
        let transaction = &turn.transaction;
        Storage::joins_many(transaction).await?;
        selection.refuse_unknown(transaction, project).await?;
        let now = self.clock.now();
        let id = receipt_id(now);
        let certified = links::pick(transaction, project, &id, selection).await?;
        let members = match certified {
            0 => return Err(nothing_selected()),
            1 => {
                let log = usage_log::Entity::of(project)
                    .filter(selection::certified_by(project, &id))
                    .one(transaction)
                    .await?
                    .ok_or_else(nothing_selected)?;
                single::members(id.clone(), now, &log, note)?
            }
            _ => {
                let summary = Summary::of(transaction, project, selection::certified_by(project, &id))
                    .await?
                    .ok_or_else(nothing_selected)?;
                let digest = links::digest(transaction, project, &id).await?;
                summary.into_receipt(id.clone(), now, digest, note).into_members()
            }
        };
        let receipt = self.keys.sign(members).map_err(unsigned)?;
        let row = stored::row(project, &receipt, Some(certified), now)?;
        stored::insert(transaction, row).await?;
        turn.commit().await?;
        Ok(Certificate { receipt, certified })
    }

    /// Signs the receipt of one log that is about to be written; `None` when no signing key is configured, or when the key does not sign
    /// now: a log is worth more than its receipt, and can be certified later.
    pub fn sign_log(&self, log: &usage_log::Model) -> Result<Option<Receipt>> {
        if !self.keys.can_sign() {
            return Ok(None);
        }
        let now = self.clock.now();
        let members = single::members(receipt_id(now), now, log, Note::default())?;
        Ok(self
            .keys
            .sign(members)
            .inspect_err(
                |error| tracing::warn!(%error, log_id = %log.id, "a log is recorded without a receipt"),
            )
            .ok())
    }

    /// Stores a receipt of [`Receipts::sign_log`] and links it to its log, inside the transaction that writes the log.
    pub async fn store_with_log(
        &self,
        transaction: &DatabaseTransaction,
        log: &usage_log::Model,
        receipt: &Receipt,
    ) -> Result<()> {
        links::link(transaction, log, receipt.id().to_owned()).await?;
        let row = stored::row(log.project_id, receipt, Some(1), self.clock.now())?;
        stored::insert(transaction, row).await?;
        Ok(())
    }

    /// Checks every stored receipt of every project and hands each fault to `report`.
    pub async fn audit(&self, report: impl FnMut(&Fault)) -> Result<Audit> {
        audit::run(&self.storage, &self.keys, report).await
    }

    /// A key signs within its window only, whatever time the receipt is to bear: its holder promised to be done with it by then.
    fn require_signing_key(&self, now: DateTime<Utc>) -> Result<()> {
        let key = self
            .current_key()
            .filter(|_| self.keys.can_sign())
            .ok_or_else(|| unsigned(SignError::NoSigningKey))?;
        if key.window().contains(now) {
            Ok(())
        } else {
            let key_id = key.id().to_owned();
            Err(unsigned(SignError::OutsideWindow { key_id }))
        }
    }
}

/// `rcpt_` and a UUIDv7 without dashes.
fn receipt_id(now: DateTime<Utc>) -> String {
    format!("rcpt_{}", new_id(now).simple())
}

fn nothing_selected() -> Error {
    Error::Refused("the selection matches no usage log".to_owned())
}

/// What became of a receipt that was to be signed here and now.
fn unsigned(error: SignError) -> Error {
    match error {
        SignError::AlreadySigned => Violation::body(&["signature"], "is for the server to add").into(),
        SignError::Structure(error) => at_member("", error.member, error.problem),
        SignError::OtherKey(_) | SignError::Json(_) => Error::Refused(error.to_string()),
        SignError::NoSigningKey => Error::NotConfigured {
            what: "signing key",
            setting: "LLMRING_RECEIPTS_PRIVATE_KEY_B64",
        },
        SignError::OutsideWindow { .. } => Error::NotConfigured {
            what: "signing key that signs now",
            setting: "LLMRING_RECEIPTS_OTHER_KEYS",
        },
    }
}

/// A member such as `tokens.input` that is not as it must be.
fn at_member(outer: &str, member: &str, problem: impl ToString) -> Error {
    let path = format!("{outer}{member}");
    let path: Vec<&str> = path.split('.').collect();
    Violation::body(&path, problem.to_string()).into()
}

#[cfg(test)]
mod tests {
    use entity::usage_log::CostSource;
    use receipt::SigningKey;
    use sea_orm::{EntityTrait, IntoActiveModel};

    use super::*;
    use crate::config::{Config, Settings};

    async fn receipts(folder: &tempfile::TempDir, signing: Option<SigningKey>) -> Receipts {
        let url = format!("sqlite://{}/llmring.db", folder.path().display());
        let settings = Settings::from_pairs(&[("LLMRING_DATABASE_URL", &url)]);
        let config = Config::from_settings(&settings).expect("a configuration");
        let storage = Storage::connect(&config.database).await.expect("a database");
        storage.migrate_up().await.expect("a schema");
        let keys = KeyRing::new("tests", signing, None, vec![]).expect("a key ring");
        Receipts::new(storage, Clock::system(), keys)
    }

    fn call(project_id: ProjectId) -> usage_log::Model {
        let logged_at = Clock::system().now();
        usage_log::Model {
            id: new_id(logged_at),
            project_id,
            logged_at,
            provider: "openai".to_owned(),
            model: "gpt-4o-mini".to_owned(),
            alias: None,
            profile: "default".to_owned(),
            origin: None,
            id_at_origin: None,
            conversation_id: None,
            input_tokens: 1200,
            output_tokens: 350,
            cached_input_tokens: 0,
            cache_write_5m_tokens: 0,
            cache_write_1h_tokens: 0,
            reasoning_tokens: 0,
            input_includes_cached: true,
            cost_micros: Some(390),
            cost_picos: Some(0),
            cost_source: CostSource::Client,
            pricing: None,
            latency_ms: None,
            metadata: "{}".to_owned(),
        }
    }

    #[tokio::test]
    async fn a_log_certified_as_it_is_written_is_not_certified_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let receipts = receipts(&folder, Some(SigningKey::from_seed(&[7; 32]))).await;
        let project = ProjectId(Uuid::from_u128(1));
        let log = call(project);
        let transaction = receipts.storage.begin().await.expect("a transaction");
        usage_log::Entity::insert(log.clone().into_active_model())
            .exec_without_returning(&transaction)
            .await
            .expect("a row");
        let receipt = receipts.sign_log(&log).expect("no error").expect("a receipt");
        receipts
            .store_with_log(&transaction, &log, &receipt)
            .await
            .expect("no error");
        transaction.commit().await.expect("a commit");

        assert_eq!(receipt.text("log_id"), Some(log.id.to_string().as_str()));
        let stored = receipts.get(project, receipt.id()).await.expect("the receipt");
        assert_eq!(stored.as_str(), receipt.as_str());
        let again = receipts
            .generate(project, &Selection::Uncertified, Note::default())
            .await;
        assert!(matches!(again, Err(Error::Refused(_))), "{again:?}");
        let audit = receipts.audit(|fault| panic!("{fault}")).await.expect("an audit");
        assert_eq!((audit.receipts, audit.faults), (1, 0));
    }

    #[tokio::test]
    async fn without_a_key_a_log_is_written_without_a_receipt() {
        let folder = tempfile::tempdir().expect("a folder");
        let receipts = receipts(&folder, None).await;
        let receipt = receipts.sign_log(&call(ProjectId(Uuid::from_u128(1))));
        assert!(matches!(receipt, Ok(None)), "{receipt:?}");
    }
}
