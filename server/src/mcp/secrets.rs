//! Secrets at rest: XChaCha20-Poly1305 under the operator's key, bound to the row that holds them.
//!
//! An envelope is text: `v1.<key id>.<base64url of nonce and ciphertext>`. The key id says which key opens it, so that several can be
//! in use while one replaces another.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use entity::ids::ProjectId;
use sha2::{Digest, Sha256};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::config::{DatabaseLocation, SecretsConfig};
use crate::error::{Error, Result};

/// The setting that holds the key.
pub const SECRET_KEY: &str = "LLMRING_SECRET_KEY";
/// The setting that holds the keys before it.
pub const PREVIOUS_SECRET_KEYS: &str = "LLMRING_SECRET_KEY_PREVIOUS";
/// Bytes of a key.
const KEY_BYTES: usize = 32;
/// Bytes of a nonce: long enough to be drawn at random for every message.
const NONCE_BYTES: usize = 24;
/// Hexadecimal characters of a key's id.
const KEY_ID_CHARS: usize = 16;
/// Which kind of envelope this is.
const VERSION: &str = "v1";
/// A key file holds one line; more is something else.
const MAX_FILE_BYTES: u64 = 1024;

/// URL-safe, without padding, and with it when it is there.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A key that encrypts secrets.
#[derive(Clone)]
pub struct SecretKey {
    bytes: Zeroizing<[u8; KEY_BYTES]>,
    id: String,
}

/// The text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not a key: expected {KEY_BYTES} bytes in base64url, as `llmring-server secrets keygen` prints them"
)]
pub struct NotAKey;

impl SecretKey {
    /// A new key.
    pub fn generate() -> Self {
        Self::from_bytes(Zeroizing::new(rand::random()))
    }

    /// Reads a key from base64, URL-safe or not, with or without padding.
    pub fn from_base64(text: &str) -> Result<Self, NotAKey> {
        let text = Zeroizing::new(text.trim().replace('+', "-").replace('/', "_"));
        let decoded = Zeroizing::new(BASE64.decode(text.as_bytes()).map_err(|_| NotAKey)?);
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        if decoded.len() != KEY_BYTES {
            return Err(NotAKey);
        }
        bytes.copy_from_slice(&decoded);
        Ok(Self::from_bytes(bytes))
    }

    /// The key as its setting holds it.
    pub fn to_base64url(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64.encode(*self.bytes))
    }

    /// Names the key without telling it.
    pub fn id(&self) -> &str {
        &self.id
    }

    fn from_bytes(bytes: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        let digest = Sha256::new()
            .chain_update("llmring secret key")
            .chain_update(*bytes)
            .finalize();
        let mut id = hex::encode(digest);
        id.truncate(KEY_ID_CHARS);
        Self { bytes, id }
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.bytes).into())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", self.id)
    }
}

/// Whose secret it is. A ciphertext opens for this row alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The tenant.
    pub project: ProjectId,
    /// The server's row.
    pub server: Uuid,
}

impl Owner {
    /// What is authenticated beside the ciphertext: fixed lengths, so that no two owners share it.
    fn associated(self) -> Vec<u8> {
        [
            b"llmring mcp auth_config".as_slice(),
            self.project.0.as_bytes(),
            self.server.as_bytes(),
        ]
        .concat()
    }
}

/// Why an envelope does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It was encrypted under a key that this server was not given.
    #[error("it is encrypted under the key {0}, which this server was not given")]
    UnknownKey(String),
    /// It was changed, or belongs to another row.
    #[error("it was changed, or belongs to another row")]
    Damaged,
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum SecretKeyError {
    /// The key file cannot be read or made.
    #[error("the key file {} cannot be used: {source}", path.display())]
    File {
        /// Where it is.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The key file holds something else.
    #[error("the key file {} {NotAKey}", .0.display())]
    Content(PathBuf),
}

/// The key that encrypts, and those that decrypt beside it.
#[derive(Clone, Debug)]
pub struct SecretKeys {
    current: Option<SecretKey>,
    previous: Vec<SecretKey>,
}

impl SecretKeys {
    /// The configured keys. On SQLite the file beside the database has one more: the current key when none is configured (it is made on
    /// first use), else one that still decrypts.
    pub fn open(config: &SecretsConfig, location: &DatabaseLocation) -> Result<Self, SecretKeyError> {
        let mut keys = Self {
            current: config.current.clone(),
            previous: config.previous.clone(),
        };
        if let DatabaseLocation::Sqlite(database) = location {
            let path = key_file(database);
            let failed = |source| SecretKeyError::File {
                path: path.clone(),
                source,
            };
            let kept = match read_key(&path).map_err(failed)? {
                Some(text) => Some(text),
                None if keys.current.is_none() => Some(make_key(&path).map_err(failed)?),
                None => None,
            };
            if let Some(text) = kept {
                let key = SecretKey::from_base64(&text).map_err(|_| SecretKeyError::Content(path.clone()))?;
                match keys.current {
                    Some(_) => keys.previous.push(key),
                    None => keys.current = Some(key),
                }
            }
        }
        Ok(keys)
    }

    /// Encrypts under the current key.
    pub fn seal(&self, owner: Owner, secret: &[u8]) -> Result<String> {
        let key = self.current.as_ref().ok_or(Error::NotConfigured {
            what: "key for secrets",
            setting: SECRET_KEY,
        })?;
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let payload = Payload {
            msg: secret,
            aad: &owner.associated(),
        };
        let ciphertext = key
            .cipher()
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| Error::Refused("the secret is too large to be encrypted".to_owned()))?;
        let sealed = [nonce.as_slice(), &ciphertext].concat();
        Ok(format!("{VERSION}.{}.{}", key.id, BASE64.encode(sealed)))
    }

    /// Decrypts with whichever key the envelope names.
    pub fn unseal(&self, owner: Owner, envelope: &str) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
        let (key_id, sealed) = parts(envelope).ok_or(Unreadable::Damaged)?;
        let key = self
            .all()
            .find(|key| key.id == key_id)
            .ok_or_else(|| Unreadable::UnknownKey(key_id.to_owned()))?;
        let sealed = BASE64.decode(sealed).map_err(|_| Unreadable::Damaged)?;
        let (nonce, ciphertext) = sealed
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or(Unreadable::Damaged)?;
        let payload = Payload {
            msg: ciphertext,
            aad: &owner.associated(),
        };
        key.cipher()
            .decrypt(&XNonce::from(*nonce), payload)
            .map(Zeroizing::new)
            .map_err(|_| Unreadable::Damaged)
    }

    /// Whether the envelope was encrypted under the current key.
    pub fn is_current(&self, envelope: &str) -> bool {
        let current = self.current.as_ref().map(SecretKey::id);
        parts(envelope).is_some_and(|(key_id, _)| Some(key_id) == current)
    }

    /// What the envelopes that can be opened begin with.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = String> {
        self.all().map(|key| format!("{VERSION}.{}.", key.id))
    }

    fn all(&self) -> impl Iterator<Item = &SecretKey> {
        self.current.iter().chain(&self.previous)
    }
}

/// Key id and payload.
fn parts(envelope: &str) -> Option<(&str, &str)> {
    envelope.strip_prefix(VERSION)?.strip_prefix('.')?.split_once('.')
}

/// `llmring.db` has its key in `llmring.db.secret-key`.
fn key_file(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".secret-key");
    name.into()
}

fn read_key(path: &Path) -> io::Result<Option<Zeroizing<String>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        tracing::warn!(file = %path.display(), "others may read the key of the stored secrets: chmod 600 it");
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_FILE_BYTES).read_to_string(&mut text)?;
    Ok(Some(text))
}

/// Makes the file whole or not at all: another process that starts now reads the same key. What is returned is what is in the file.
fn make_key(path: &Path) -> io::Result<Zeroizing<String>> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", Uuid::new_v4()));
    let draft = PathBuf::from(name);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    let written = file
        .write_all(format!("{}\n", *SecretKey::generate().to_base64url()).as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| match std::fs::hard_link(&draft, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        });
    std::fs::remove_file(&draft)?;
    written?;
    if let Some(directory) = path
        .parent()
        .filter(|directory| !directory.as_os_str().is_empty())
    {
        File::open(directory)?.sync_all()?;
    }
    read_key(path)?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(current: &SecretKey, previous: &[&SecretKey]) -> SecretKeys {
        SecretKeys {
            current: Some(current.clone()),
            previous: previous.iter().map(|key| (*key).clone()).collect(),
        }
    }

    fn owner(project: u128, server: u128) -> Owner {
        Owner {
            project: ProjectId(Uuid::from_u128(project)),
            server: Uuid::from_u128(server),
        }
    }

    #[test]
    fn a_secret_opens_for_its_owner_alone() {
        let keys = keys(&SecretKey::generate(), &[]);
        let sealed = keys.seal(owner(1, 2), b"hush").expect("an envelope");
        assert_eq!(
            keys.unseal(owner(1, 2), &sealed).expect("the secret").as_slice(),
            b"hush"
        );
        for other in [owner(2, 2), owner(1, 3), owner(2, 1)] {
            assert_eq!(keys.unseal(other, &sealed), Err(Unreadable::Damaged));
        }
        assert_ne!(
            keys.seal(owner(1, 2), b"hush").expect("another"),
            sealed,
            "a nonce was used twice"
        );
    }

    #[test]
    fn any_change_to_an_envelope_is_noticed() {
        let keys = keys(&SecretKey::generate(), &[]);
        let sealed = keys.seal(owner(1, 2), b"hush").expect("an envelope");
        for at in 0..sealed.len() {
            let mut bytes = sealed.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).expect("text");
            assert!(keys.unseal(owner(1, 2), &changed).is_err(), "{at}");
        }
        for cut in ["", "v1", "v1.", "v1..", "v2.a.b"] {
            assert!(keys.unseal(owner(1, 2), cut).is_err(), "{cut}");
        }
    }

    #[test]
    fn previous_keys_decrypt_and_only_the_current_one_encrypts() {
        let (old, new) = (SecretKey::generate(), SecretKey::generate());
        let sealed = keys(&old, &[]).seal(owner(1, 2), b"hush").expect("an envelope");
        let both = keys(&new, &[&old]);
        assert!(both.unseal(owner(1, 2), &sealed).is_ok() && !both.is_current(&sealed));
        let again = both.seal(owner(1, 2), b"hush").expect("an envelope");
        assert!(keys(&new, &[]).unseal(owner(1, 2), &again).is_ok());
        let unknown = keys(&new, &[])
            .unseal(owner(1, 2), &sealed)
            .expect_err("another key");
        assert_eq!(unknown, Unreadable::UnknownKey(old.id().to_owned()));
        assert!(!format!("{both:?}{unknown}").contains(old.to_base64url().as_str()));
    }

    #[test]
    fn keys_are_read_in_either_alphabet_and_nothing_else_is_a_key() {
        let key = SecretKey::from_bytes(Zeroizing::new([0xfb; KEY_BYTES]));
        assert!(
            key.to_base64url().contains(['-', '_']),
            "the alphabets differ here"
        );
        let standard = format!("{}=", key.to_base64url().replace('-', "+").replace('_', "/"));
        assert_eq!(
            SecretKey::from_base64(&standard).expect("the same").id(),
            key.id()
        );
        for text in ["", "hush", &"A".repeat(42), &"A".repeat(44), &"é".repeat(43)] {
            assert_eq!(SecretKey::from_base64(text).err(), Some(NotAKey), "{text}");
        }
    }

    #[test]
    fn a_key_file_is_made_once_and_private() {
        let folder = tempfile::tempdir().expect("a folder");
        let location = DatabaseLocation::Sqlite(folder.path().join("llmring.db"));
        let none = SecretsConfig::default();
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (none, location) = (none.clone(), location.clone());
                std::thread::spawn(move || SecretKeys::open(&none, &location).expect("keys"))
            })
            .collect();
        let ids: std::collections::BTreeSet<_> = threads
            .into_iter()
            .map(|thread| thread.join().expect("keys").current.expect("a key").id)
            .collect();
        assert_eq!(ids.len(), 1);
        let files: Vec<_> = std::fs::read_dir(folder.path())
            .expect("files")
            .map_while(Result::ok)
            .collect();
        assert_eq!(files.len(), 1, "{files:?}");
        assert_eq!(
            files[0].metadata().expect("a file").permissions().mode() & 0o777,
            0o600
        );

        let configured = SecretsConfig {
            current: Some(SecretKey::generate()),
            previous: Vec::new(),
        };
        let keys = SecretKeys::open(&configured, &location).expect("keys");
        assert_eq!(keys.all().count(), 2, "the file's key goes on decrypting");

        std::fs::write(key_file(&folder.path().join("llmring.db")), "hush").expect("a file");
        let error = SecretKeys::open(&none, &location)
            .expect_err("no key")
            .to_string();
        assert!(
            error.contains("llmring.db.secret-key") && !error.contains("hush"),
            "{error}"
        );
    }
}
