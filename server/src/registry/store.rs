//! The registry's files in the database, so that the last good copy survives a restart without network.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use entity::registry_file::{ActiveModel, Column, Entity};
use sea_orm::sea_query::OnConflict;
use sea_orm::{DbErr, EntityTrait, QuerySelect, Set};

use super::provider_file::ProviderFile;
use crate::storage::Storage;

/// A provider's last good copy.
pub(super) struct StoredFile {
    pub(super) file: ProviderFile,
    /// Where it came from.
    pub(super) source: String,
    /// When the registry was last seen to have it.
    pub(super) checked_at: DateTime<Utc>,
}

/// The last good copy of every provider. One that does not read (another version of the server took it for good) is left out.
pub(super) async fn load(storage: &Storage) -> Result<Vec<StoredFile>, DbErr> {
    let keys: Vec<(String, String, DateTime<Utc>)> = Entity::find()
        .select_only()
        .columns([Column::Provider, Column::Sha256, Column::CheckedAt])
        .into_tuple()
        .all(storage.reader())
        .await?;
    let mut current: BTreeMap<String, (DateTime<Utc>, String)> = BTreeMap::new();
    for (provider, sha256, checked_at) in keys {
        let newest = current.entry(provider).or_default();
        if (checked_at, &sha256) > (newest.0, &newest.1) {
            *newest = (checked_at, sha256);
        }
    }
    let mut files = Vec::with_capacity(current.len());
    for key in current
        .into_iter()
        .map(|(provider, (_, sha256))| (provider, sha256))
    {
        let Some(row) = Entity::find_by_id(key).one(storage.reader()).await? else {
            continue;
        };
        match ProviderFile::parse(&row.provider, &row.body, row.fetched_at) {
            Ok(file) => files.push(StoredFile {
                file,
                source: row.source,
                checked_at: row.checked_at,
            }),
            Err(error) => {
                tracing::warn!(provider = row.provider, %error, "the stored copy of a registry file is unusable");
            }
        }
    }
    Ok(files)
}

/// Makes `file`, whose bytes are `body`, the current copy of its provider. Answers when these bytes were fetched for the first
/// time, which may have been by another replica.
pub(super) async fn keep(
    storage: &Storage,
    file: &ProviderFile,
    body: &str,
    source: &str,
    checked_at: DateTime<Utc>,
) -> Result<DateTime<Utc>, DbErr> {
    let row = ActiveModel {
        provider: Set(file.provider().to_owned()),
        sha256: Set(file.sha256().to_owned()),
        version: Set(file.version().map(ToString::to_string)),
        source: Set(source.to_owned()),
        fetched_at: Set(file.fetched_at()),
        checked_at: Set(checked_at),
        body: Set(body.to_owned()),
    };
    let stored = Entity::insert(row)
        .on_conflict(
            OnConflict::columns([Column::Provider, Column::Sha256])
                .update_columns([Column::Source, Column::CheckedAt])
                .to_owned(),
        )
        .exec_with_returning(storage.writer())
        .await?;
    Ok(stored.fetched_at)
}
