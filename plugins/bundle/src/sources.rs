//! The sources that a plugin is built from.

use std::{
    fs,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use crate::Result;

/// Beside its own folder: what every plugin is built from, as seen from the folder of plugins.
const SHARED: [&str; 7] = [
    "Cargo.lock",
    "Cargo.toml",
    "../sdk/Cargo.toml",
    "../sdk/macros/Cargo.toml",
    "../sdk/macros/src",
    "../sdk/src",
    "../sdk/wit",
];

/// The SHA-256 of names and contents of everything that the plugin in `folder` is built from, in hexadecimal.
pub(crate) fn digest(folder: &Path) -> Result<String> {
    let plugins = folder.parent().ok_or("the plugin has no parent folder")?;
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    for shared in SHARED {
        collect(&plugins.join(shared), &mut files)?;
    }
    let mut named = Vec::new();
    for file in files {
        let name = file
            .strip_prefix(plugins)?
            .to_str()
            .ok_or("a file's name is no text")?
            .replace('\\', "/");
        named.push((name, fs::read(&file)?));
    }
    Ok(digest_of(named))
}

fn digest_of(mut files: Vec<(String, Vec<u8>)>) -> String {
    files.sort_unstable();
    let mut digest = Sha256::new();
    for (name, content) in files {
        // Lengths before contents, so that no two lists of files read alike.
        for part in [name.as_bytes(), &content] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
    }
    hex::encode(digest.finalize())
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        collect(&entry?.path(), files)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_contents_count_and_their_order_does_not() {
        let file = |name: &str, content: &str| (name.to_owned(), content.as_bytes().to_vec());
        let digest = digest_of(vec![file("a", "1"), file("b", "2")]);
        assert_eq!(digest, digest_of(vec![file("b", "2"), file("a", "1")]));
        assert_ne!(digest, digest_of(vec![file("a", "2"), file("b", "1")]));
        assert_ne!(digest, digest_of(vec![file("a", "12"), file("b", "")]));
        assert_ne!(digest_of(vec![file("ab", "")]), digest_of(vec![file("a", "b")]));
    }
}
