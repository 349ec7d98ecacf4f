//! Compiled code on disk. Loading it means running it, so each entry carries a MAC that only the server can make.

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use wasmtime::{Engine, component::Component};

/// Where compiled code is kept, and the key that authenticates it.
#[derive(Clone)]
pub struct CodeCache {
    folder: PathBuf,
    key: [u8; 32],
}

impl std::fmt::Debug for CodeCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CodeCache")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

const MAC_BYTES: usize = 32;

impl CodeCache {
    /// A cache in `folder`, which is made when it is first written to. Whoever knows `key` can make the server run any
    /// code by writing to the folder.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>, key: [u8; 32]) -> Self {
        Self {
            folder: folder.into(),
            key,
        }
    }

    /// The entry for the component with this digest, when there is one and it is genuine.
    pub(crate) fn load(&self, engine: &Engine, digest: &str) -> Option<Component> {
        let path = self.path(engine, digest);
        let entry = match fs::read(&path) {
            Ok(entry) => entry,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot read compiled code; compiling it again");
                return None;
            }
        };
        let Some((mac, code)) = entry.split_at_checked(MAC_BYTES) else {
            tracing::warn!(path = %path.display(), "compiled code is cut short; compiling it again");
            return None;
        };
        if self.mac(engine, digest, code).verify_slice(mac).is_err() {
            tracing::warn!(path = %path.display(), "compiled code is not what this server wrote; compiling it again");
            return None;
        }
        match deserialize(engine, code) {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(path = %path.display(), error = format!("{error:#}"), "compiled code does not load; compiling it again");
                None
            }
        }
    }

    /// Keeps a component's compiled code. A failure costs a compilation at the next start, so it is only logged.
    pub(crate) fn store(&self, engine: &Engine, digest: &str, component: &Component) {
        let stored = component
            .serialize()
            .map_err(|error| io::Error::other(format!("{error:#}")))
            .and_then(|code| self.write(engine, digest, &code));
        if let Err(error) = stored {
            tracing::warn!(folder = %self.folder.display(), %error, "cannot keep compiled code");
        }
    }

    fn write(&self, engine: &Engine, digest: &str, code: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let path = self.path(engine, digest);
        // Written beside its place and moved there, so that nobody reads half of it.
        let unfinished = path.with_extension(format!("{}.unfinished", std::process::id()));
        let mut file = fs::File::create(&unfinished)?;
        file.write_all(&self.mac(engine, digest, code).finalize().into_bytes())?;
        file.write_all(code)?;
        file.sync_all()?;
        fs::rename(unfinished, path)
    }

    fn path(&self, engine: &Engine, digest: &str) -> PathBuf {
        Path::new(&self.folder).join(format!("{digest}-{:016x}.compiled", engine_hash(engine)))
    }

    fn mac(&self, engine: &Engine, digest: &str, code: &[u8]) -> Hmac<Sha256> {
        // HMAC fills its key up to a block with zeros (RFC 2104).
        let mut block = [0; 64];
        block[..self.key.len()].copy_from_slice(&self.key);
        let mut mac = Hmac::<Sha256>::new(&block.into());
        mac.update(b"llmring plugin code 1\0");
        mac.update(digest.as_bytes());
        mac.update(&engine_hash(engine).to_be_bytes());
        mac.update(code);
        mac
    }
}

/// Names the engine's version and settings. (A change of the hash function would cost a compilation and nothing else.)
fn engine_hash(engine: &Engine) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

#[expect(
    unsafe_code,
    reason = "compiled code is trusted by nature; see the safety comment"
)]
fn deserialize(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: these are the very bytes, held in memory, whose MAC was verified a moment ago: `Component::serialize` of an
    // engine with this version and these settings made them, and nobody changed them since.
    unsafe { Component::deserialize(engine, code) }
}
