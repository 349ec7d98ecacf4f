//! `bundle BUILT` makes `plugins/prebuilt/*.wasm` of the components in the folder BUILT: each gets its manifest and the digest
//! of the sources that it was built from. `bundle BUILT --check` writes nothing and fails when what is there does not
//! belong to the sources or differs from what was built in what it says of itself, imports or exports.

mod component;
mod sources;

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use self::component::Component;

/// The custom sections of a bundled plugin: its manifest, and the SHA-256 of its sources in hexadecimal.
const MANIFEST: &str = "llmring:plugin/manifest";
const SOURCES: &str = "llmring:plugin/sources";

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [built] => each(Path::new(built), write),
        [built, "--check"] => each(Path::new(built), check),
        _ => Err("usage: bundle BUILT [--check]".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bundle: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Does it with each plugin, and fails after the last when it failed with one.
fn each(built: &Path, act: fn(&[u8], &Path) -> Result<String>) -> Result<()> {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut names = Vec::new();
    for entry in fs::read_dir(&plugins)? {
        let folder = entry?.path();
        if folder.join("plugin.toml").exists() {
            names.extend(
                folder
                    .file_name()
                    .and_then(|name| Some(name.to_str()?.to_owned())),
            );
        }
    }
    names.sort_unstable();
    let mut failed = false;
    for name in &names {
        let done = bundled(built, &plugins.join(name), name)
            .and_then(|component| act(&component, &prebuilt(&plugins, name)));
        match done {
            Ok(line) => println!("{name:<16} {line}"),
            Err(error) => {
                failed = true;
                eprintln!("{name:<16} {error}");
            }
        }
    }
    for entry in fs::read_dir(plugins.join("prebuilt"))? {
        let path = entry?.path();
        let stem = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default();
        if path.extension().is_some_and(|extension| extension == "wasm")
            && !names.iter().any(|name| name == stem)
        {
            failed = true;
            eprintln!("{stem:<16} has no sources");
        }
    }
    if failed {
        Err("run scripts/plugins and keep what it writes".into())
    } else {
        Ok(())
    }
}

fn prebuilt(plugins: &Path, name: &str) -> PathBuf {
    plugins.join("prebuilt").join(format!("{name}.wasm"))
}

/// What was built of a plugin, with its manifest and the digest of its sources.
fn bundled(built: &Path, folder: &Path, name: &str) -> Result<Vec<u8>> {
    let path = built.join(format!("{}.wasm", name.replace('-', "_")));
    let component = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let manifest = fs::read(folder.join("plugin.toml"))?;
    let sources = sources::digest(folder)?;
    Ok(component::with_sections(
        component,
        &[(MANIFEST, &manifest), (SOURCES, sources.as_bytes())],
    ))
}

fn write(component: &[u8], path: &Path) -> Result<String> {
    let read = Component::read(component)?;
    fs::write(path, component)?;
    Ok(format!(
        "{:>9} bytes, exports {}",
        component.len(),
        read.exports().join(", ")
    ))
}

fn check(component: &[u8], path: &Path) -> Result<String> {
    let kept = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let (built, kept) = (Component::read(component)?, Component::read(&kept)?);
    for (what, same) in [
        ("sources", built.sources == kept.sources),
        ("manifest", built.manifest == kept.manifest),
        ("exports", built.exports() == kept.exports()),
        ("imports", built.imports() == kept.imports()),
    ] {
        if !same {
            return Err(format!("the component that is kept has other {what}").into());
        }
    }
    Ok("belongs to its sources".to_owned())
}
