//! Who may use whom: the table of `ARCHITECTURE.md`, checked in the sources themselves.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The root of the repository.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A source file, and which crates and modules its paths begin with.
struct Source {
    /// From the root of the repository.
    path: String,
    /// Such as `sea_orm`, `std::env` or `crate::api`.
    uses: BTreeSet<String>,
}

/// All files below a directory, sorted, without what is built or not ours.
fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut entries: Vec<_> = std::fs::read_dir(directory)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        if name == ".git" {
            continue;
        }
        if !path.is_dir() {
            found.push(path);
        } else if !name.starts_with("target") && !name.contains("venv") && name != "__pycache__" {
            found.extend(files_below(&path));
        }
    }
    found
}

fn sources(directory: &str) -> Vec<Source> {
    let files = files_below(&Path::new(ROOT).join(directory));
    let sources: Vec<Source> = files
        .iter()
        .filter(|file| {
            file.extension().is_some_and(|extension| extension == "rs") && !file.ends_with("tests.rs")
        })
        .map(|file| Source {
            path: file
                .strip_prefix(ROOT)
                .expect("a file of the repository")
                .display()
                .to_string(),
            uses: uses(&std::fs::read_to_string(file).expect("text")),
        })
        .collect();
    assert!(!sources.is_empty(), "{directory} has no sources");
    sources
}

/// The beginnings of all paths in a source text: its first name, and with `std`, `crate` and `super` the second as well. Unit tests
/// at its end do not count.
fn uses(text: &str) -> BTreeSet<String> {
    let code: Vec<&str> = text
        .lines()
        .take_while(|line| *line != "#[cfg(test)]")
        .map(|line| line.split("//").next().unwrap_or_default())
        .flat_map(str::split_whitespace)
        .collect();
    let code = code.join(" ");
    let is_name = |character: char| character.is_alphanumeric() || character == '_';
    let mut found = BTreeSet::new();
    for (position, _) in code.match_indices("::") {
        let before = &code[..position];
        let start = before
            .rfind(|character| !is_name(character))
            .map_or(0, |end| end + 1);
        let (earlier, name) = before.split_at(start);
        let continues = earlier
            .strip_suffix("::")
            .is_some_and(|path| path.ends_with(|end| is_name(end) || end == '>'));
        if name.is_empty() || continues {
            continue;
        }
        found.insert(name.to_owned());
        if !["std", "crate", "super"].contains(&name) {
            continue;
        }
        let after = &code[position + 2..];
        let members: Vec<&str> = match after.strip_prefix('{') {
            Some(group) => group.split('}').next().unwrap_or_default().split(',').collect(),
            None => vec![after],
        };
        for member in members {
            let member = member.trim();
            let end = member
                .find(|character| !is_name(character))
                .unwrap_or(member.len());
            found.insert(format!("{name}::{}", &member[..end]));
        }
    }
    found
}

#[test]
fn paths_are_found_in_sources() {
    let text = "use std::{env, fs};\nuse crate::api::problem; // use poem::Route;\nfn f() { ::sea_orm::connect(a::b::c) }";
    let expected = [
        "a",
        "crate",
        "crate::api",
        "sea_orm",
        "std",
        "std::env",
        "std::fs",
    ];
    assert_eq!(uses(text), expected.map(str::to_owned).into());
}

/// The parts of the server's crate.
fn part(path: &str) -> &str {
    let inner = path.strip_prefix("server/src/").expect("a file of the server");
    inner.split(['/', '.']).next().expect("a name")
}

fn assert_unused(source: &Source, forbidden: &[&str]) {
    for name in forbidden {
        assert!(!source.uses.contains(*name), "{} uses {name}", source.path);
    }
}

#[test]
fn the_http_layer_makes_no_queries() {
    for source in sources("server/src/api").into_iter().chain(
        sources("server/src")
            .into_iter()
            .filter(|source| source.path == "server/src/api.rs"),
    ) {
        assert_unused(
            &source,
            &[
                "sea_orm",
                "sqlx",
                "sea_query",
                "rmcp",
                "wasmtime",
                "redis",
                "bb8",
                "bb8_redis",
                "reqwest",
                "std::env",
            ],
        );
    }
}

#[test]
fn the_domain_knows_neither_http_nor_the_environment() {
    for source in sources("server/src") {
        if !["api", "app", "cli", "main", "lib"].contains(&part(&source.path)) {
            assert_unused(
                &source,
                &[
                    "poem",
                    "poem_openapi",
                    "crate::api",
                    "super::api",
                    "std::env",
                    "dotenvy",
                    "clap",
                ],
            );
        }
    }
}

#[test]
fn each_vendor_crate_has_one_owner() {
    let owners: [(&[&str], &[&str]); 5] = [
        (&["poem", "poem_openapi"], &["api", "app", "cli"]),
        (&["redis", "bb8", "bb8_redis"], &["cache"]),
        (&["reqwest"], &["outbound"]),
        (&["rmcp"], &["mcp"]),
        (&["wasmtime", "wasmtime_wasi"], &[]),
    ];
    for source in sources("server/src") {
        for (names, owners) in owners {
            if !owners.contains(&part(&source.path)) {
                assert_unused(&source, names);
            }
        }
    }
    let listener: Vec<String> = sources("server/src")
        .into_iter()
        .filter(|source| part(&source.path) == "cli" && source.uses.contains("poem"))
        .map(|source| source.path)
        .collect();
    assert_eq!(listener, ["server/src/cli/serve.rs"]);
}

#[test]
fn the_libraries_below_know_nothing_above_them() {
    for (directory, forbidden) in [
        (
            "server/crates/entity",
            &[
                "poem",
                "poem_openapi",
                "receipt",
                "migration",
                "llmring_server",
                "tokio",
                "reqwest",
            ][..],
        ),
        (
            "server/crates/receipt/src",
            &[
                "poem",
                "sea_orm",
                "tokio",
                "entity",
                "migration",
                "llmring_server",
                "std::env",
                "std::fs",
                "std::net",
            ],
        ),
        (
            "server/crates/plugin-host/src",
            &[
                "poem",
                "sea_orm",
                "rmcp",
                "reqwest",
                "entity",
                "receipt",
                "migration",
                "llmring_server",
                "std::env",
                "std::net",
            ],
        ),
        (
            "migration",
            &["entity", "receipt", "llmring_server", "poem", "reqwest"],
        ),
        (
            "tests",
            &["llmring_server", "entity", "receipt", "migration", "poem"],
        ),
    ] {
        for source in sources(directory) {
            assert_unused(&source, forbidden);
        }
    }
}

/// The names in a manifest's `[dependencies]`.
fn dependencies(manifest: &str) -> Vec<String> {
    let text = std::fs::read_to_string(Path::new(ROOT).join(manifest)).expect(manifest);
    let section = text
        .split("[dependencies]")
        .nth(1)
        .unwrap_or_else(|| panic!("{manifest} has no dependencies"));
    section
        .lines()
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn manifests_name_no_dependency_that_a_layer_must_not_use() {
    let ours = ["entity", "receipt", "migration", "llmring-server", "plugin-host"];
    for (manifest, forbidden) in [
        (
            "server/crates/entity/Cargo.toml",
            &["poem", "poem-openapi", "tokio", "reqwest"][..],
        ),
        (
            "server/crates/receipt/Cargo.toml",
            &["poem", "tokio", "async-trait", "sea-orm", "reqwest"],
        ),
        (
            "server/crates/plugin-host/Cargo.toml",
            &["poem", "sea-orm", "rmcp", "reqwest"],
        ),
        ("migration/Cargo.toml", &["poem", "reqwest"]),
        ("tests/Cargo.toml", &["poem"]),
    ] {
        let dependencies = dependencies(manifest);
        assert!(!dependencies.is_empty(), "{manifest}: {dependencies:?}");
        for name in ours.iter().chain(forbidden) {
            assert!(
                !dependencies.iter().any(|dependency| dependency == name),
                "{manifest} depends on {name}"
            );
        }
    }
}

#[test]
fn nothing_names_a_path_of_somebodys_machine() {
    let paths = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
    ];
    for file in files_below(Path::new(ROOT)) {
        // What is no text holds no sentence.
        let Ok(text) = std::fs::read_to_string(&file) else {
            continue;
        };
        for path in paths {
            assert!(!text.contains(path), "{} contains {path}", file.display());
        }
    }
}
