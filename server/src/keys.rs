//! API keys: which project a key opens, and the operator's keys.
//!
//! In open mode any key opens a project of its own, whose id is derived from the key, and nothing need be stored. A managed key
//! (made by the operator) is looked up by its SHA-256 and opens the project it was made for, in both modes.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use entity::ids::ProjectId;
use entity::{api_key, project};
use moka::sync::Cache;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, Set, SqlErr,
};
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use crate::clock::{Clock, new_id};
use crate::config::AuthMode;
use crate::error::{Error, Result};
use crate::storage::Storage;

/// Most checked keys remembered at once.
const REMEMBERED_KEYS: u64 = 10_000;
/// How many characters of a managed key are kept for people to recognise it by.
const PREFIX_CHARS: usize = 10;

/// Opens projects.
#[derive(Clone, Debug)]
pub struct Keys {
    storage: Storage,
    clock: Clock,
    mode: AuthMode,
    checked: Cache<KeyHash, Standing>,
}

/// SHA-256 of a key. The key itself is never kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct KeyHash([u8; 32]);

impl KeyHash {
    fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    /// The project that the key opens in open mode: a UUIDv8 (RFC 9562 section 5.8) of the hash's first 128 bits.
    fn own_project(&self) -> ProjectId {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.0[..16]);
        ProjectId(Builder::from_custom_bytes(bytes).into_uuid())
    }
}

/// What is known of a key.
#[derive(Clone, Copy, Debug)]
enum Standing {
    /// The operator never made it.
    Unmanaged,
    /// Opens the project, until it expires.
    Opens(ProjectId, Option<DateTime<Utc>>),
    /// Revoked.
    Revoked,
}

/// A managed key as the operator sees it.
#[derive(Clone, Debug)]
pub struct ManagedKey {
    /// What `keys revoke` takes.
    pub id: Uuid,
    /// The project's name.
    pub project: String,
    /// The project's id.
    pub project_id: ProjectId,
    /// The key's first characters.
    pub prefix: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// From when on it is refused.
    pub expires_at: Option<DateTime<Utc>>,
    /// Since when it is refused.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// A new key: the only moment at which it can be read.
pub struct NewKey {
    /// The key. Shown once, stored nowhere.
    pub secret: String,
    /// What is stored of it.
    pub key: ManagedKey,
}

impl Keys {
    /// `remember` is how long a look-up is trusted: a key revoked meanwhile works on for that long.
    pub fn new(storage: Storage, clock: Clock, mode: AuthMode, remember: Duration) -> Self {
        Self {
            storage,
            clock,
            mode,
            checked: Cache::builder()
                .max_capacity(REMEMBERED_KEYS)
                .time_to_live(remember)
                .build(),
        }
    }

    /// The project that `key` opens; `None` when it opens none.
    pub async fn open(&self, key: &str) -> Result<Option<ProjectId>> {
        let hash = KeyHash::of(key);
        let standing = match self.checked.get(&hash) {
            Some(standing) => standing,
            None => {
                let standing = self.look_up(hash).await?;
                self.checked.insert(hash, standing);
                standing
            }
        };
        Ok(match (standing, self.mode) {
            (Standing::Opens(_, Some(expiry)), _) if expiry <= self.clock.now() => None,
            (Standing::Opens(project, _), _) => Some(project),
            (Standing::Unmanaged, AuthMode::Open) => Some(hash.own_project()),
            (Standing::Unmanaged, AuthMode::Strict) | (Standing::Revoked, _) => None,
        })
    }

    async fn look_up(&self, hash: KeyHash) -> Result<Standing> {
        let found = api_key::Entity::by_sha256(&hash.0)
            .one(self.storage.reader())
            .await?;
        Ok(match found {
            None => Standing::Unmanaged,
            Some(key) if key.revoked_at.is_some() => Standing::Revoked,
            Some(key) => Standing::Opens(key.project_id, key.expires_at),
        })
    }

    /// Makes a key for the project of this name, and the project when there is none.
    pub async fn create(
        &self,
        project: &str,
        expires_at: Option<DateTime<Utc>>,
        random: [u8; 32],
    ) -> Result<NewKey> {
        let transaction = self.storage.begin().await?;
        let named = project::Entity::named(project).one(&transaction).await?;
        let project = match named {
            Some(project) => project,
            None => {
                let now = self.clock.now();
                insert_project(&transaction, ProjectId(new_id(now)), project, now).await?
            }
        };
        let new_key = self
            .insert_key(&transaction, &project, expires_at, random)
            .await?;
        transaction.commit().await?;
        Ok(new_key)
    }

    /// Names the project that `open_key` opens in open mode and makes a managed key for it. With `keep`, the open key itself
    /// becomes a managed key of the project too, so that it goes on working in strict mode.
    pub async fn adopt(
        &self,
        open_key: &str,
        name: &str,
        keep: bool,
        expires_at: Option<DateTime<Utc>>,
        random: [u8; 32],
    ) -> Result<NewKey> {
        let hash = KeyHash::of(open_key);
        let id = hash.own_project();
        let transaction = self.storage.begin().await?;
        if api_key::Entity::by_sha256(&hash.0)
            .one(&transaction)
            .await?
            .is_some()
        {
            return Err(Error::Conflict(
                "this key is managed already: nothing to adopt".into(),
            ));
        }
        let project = match project::Entity::find_by_id(id).one(&transaction).await? {
            Some(project) if project.name == name => project,
            Some(project) => {
                return Err(Error::Conflict(format!(
                    "this key's project is already named {:?}: use that name",
                    project.name
                )));
            }
            None => insert_project(&transaction, id, name, self.clock.now()).await?,
        };
        if keep {
            self.insert_hash(&transaction, &project, hash, visible_prefix(open_key), None)
                .await?;
        }
        let new_key = self
            .insert_key(&transaction, &project, expires_at, random)
            .await?;
        transaction.commit().await?;
        Ok(new_key)
    }

    /// All managed keys, newest first.
    pub async fn list(&self) -> Result<Vec<ManagedKey>> {
        let rows = api_key::Entity::find()
            .find_also_related(project::Entity)
            .order_by_desc(api_key::Column::CreatedAt)
            .order_by_desc(api_key::Column::Id)
            .all(self.storage.reader())
            .await?;
        Ok(rows
            .into_iter()
            .filter_map(|(key, project)| Some(managed(key, &project?)))
            .collect())
    }

    /// Refuses the key from now on (see [`Keys::new`] for how soon). Revoking twice keeps the first date.
    pub async fn revoke(&self, id: Uuid) -> Result<ManagedKey> {
        let transaction = self.storage.begin().await?;
        let (key, project) = api_key::Entity::find()
            .filter(api_key::Column::Id.eq(id))
            .find_also_related(project::Entity)
            .one(&transaction)
            .await?
            .and_then(|(key, project)| Some((key, project?)))
            .ok_or_else(|| Error::NotFound {
                what: "key",
                id: id.to_string(),
            })?;
        let key = if key.revoked_at.is_some() {
            key
        } else {
            let mut key = key.into_active_model();
            key.revoked_at = Set(Some(self.clock.now()));
            key.update(&transaction).await?
        };
        transaction.commit().await?;
        Ok(managed(key, &project))
    }

    async fn insert_key(
        &self,
        transaction: &sea_orm::DatabaseTransaction,
        project: &project::Model,
        expires_at: Option<DateTime<Utc>>,
        random: [u8; 32],
    ) -> Result<NewKey> {
        let secret = format!("llmr_{}", BASE64_URL_SAFE_NO_PAD.encode(random));
        let key = self
            .insert_hash(
                transaction,
                project,
                KeyHash::of(&secret),
                visible_prefix(&secret),
                expires_at,
            )
            .await?;
        Ok(NewKey {
            secret,
            key: managed(key, project),
        })
    }

    async fn insert_hash(
        &self,
        transaction: &sea_orm::DatabaseTransaction,
        project: &project::Model,
        hash: KeyHash,
        prefix: String,
        expires_at: Option<DateTime<Utc>>,
    ) -> Result<api_key::Model> {
        let now = self.clock.now();
        let key = api_key::ActiveModel {
            id: Set(new_id(now)),
            project_id: Set(project.id),
            prefix: Set(prefix),
            key_sha256: Set(hash.0.to_vec()),
            created_at: Set(now),
            expires_at: Set(expires_at),
            revoked_at: Set(None),
        };
        Ok(key.insert(transaction).await?)
    }
}

async fn insert_project(
    transaction: &sea_orm::DatabaseTransaction,
    id: ProjectId,
    name: &str,
    now: DateTime<Utc>,
) -> Result<project::Model> {
    let project = project::ActiveModel {
        id: Set(id),
        name: Set(name.to_owned()),
        created_at: Set(now),
    };
    project
        .insert(transaction)
        .await
        .map_err(|error| match error.sql_err() {
            Some(SqlErr::UniqueConstraintViolation(_)) => {
                Error::Conflict(format!("another project is named {name:?}: choose another name"))
            }
            _ => error.into(),
        })
}

/// At most a third of a key is shown, so that a short one is not given away.
fn visible_prefix(key: &str) -> String {
    let shown = PREFIX_CHARS.min(key.chars().count() / 3);
    key.chars().take(shown).collect()
}

fn managed(key: api_key::Model, project: &project::Model) -> ManagedKey {
    let api_key::Model {
        id,
        project_id,
        prefix,
        key_sha256: _,
        created_at,
        expires_at,
        revoked_at,
    } = key;
    ManagedKey {
        id,
        project: project.name.clone(),
        project_id,
        prefix,
        created_at,
        expires_at,
        revoked_at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keys_own_project_depends_on_the_key_alone() {
        let project = KeyHash::of("a key").own_project();
        assert_eq!(project, KeyHash::of("a key").own_project());
        assert_ne!(project, KeyHash::of("another key").own_project());
        assert_eq!(project.0.get_version_num(), 8);
    }

    #[test]
    fn a_short_key_is_not_given_away_by_its_prefix() {
        assert_eq!(visible_prefix("secret"), "se");
        assert_eq!(visible_prefix("llmr_abcdefghijklmnopqrstuvwxyz"), "llmr_abcde");
    }
}
