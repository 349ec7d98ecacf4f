//! The guests. One that no test uses is a warning, and so does not compile in CI.

use std::{fs, path::PathBuf};

fn built(name: &str) -> Vec<u8> {
    let Some(folder) = std::env::var_os("LLMRING_TEST_GUESTS").map(PathBuf::from) else {
        panic!(
            "LLMRING_TEST_GUESTS is not set. Run the tests with `scripts/test`, or set it to the folder that \
             `scripts/guests` prints: LLMRING_TEST_GUESTS=$(scripts/guests) cargo test -p llmring-plugin-host"
        );
    };
    let path = folder.join("examples").join(name).with_extension("wasm");
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; run scripts/guests again", path.display()))
}

macro_rules! guests {
    ($($name:ident)*) => {
        $(pub(crate) fn $name() -> Vec<u8> { built(stringify!($name)) })*

        const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

guests! {
    allocates_everything
    answers_a_gigabyte
    answers_at_length
    asks_for_everything
    breaks_the_protocol
    carries_echoes
    carries_websocket
    chats
    computes
    echoes
    exits
    fetches
    floods
    hoards
    imports_the_unknown
    is_another_world
    opens_sockets
    panics
    panics_in_calls
    panics_in_lists
    prints
    recurses
    refuses
    reports
    serves_everything
    sleeps
    snoops
    spins
    spins_in_host_calls
    waits
}

#[test]
fn every_guest_is_tested() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/guests/guests");
    let mut sources: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    sources.sort();
    assert_eq!(sources, NAMES);
}

/// What Rust cannot say: a plugin made from WebAssembly's text. `module` has the items beside the two functions;
/// `call_tool` is the body of that one.
pub(crate) fn from_text(module: &str, call_tool: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
            (memory (export "memory") 1)
            {module}
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
            (func (export "llmring:plugin/tools@0.1.0#list-tools") (result i32) (i32.const 0))
            (func (export "llmring:plugin/tools@0.1.0#call-tool") (param i32 i32 i32 i32 i32) (result i32)
                {call_tool}
                (i32.const 0)))"#
    );
    let mut module = wat::parse_str(text).unwrap();
    let mut resolve = wit_parser::Resolve::default();
    let wit = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../sdk/wit/since-0.1.0");
    let (package, _) = resolve.push_dir(wit).unwrap();
    let world = resolve.select_world(&[package], Some("tool-plugin")).unwrap();
    wit_component::embed_component_metadata(
        &mut module,
        &resolve,
        world,
        wit_component::StringEncoding::UTF8,
    )
    .unwrap();
    wit_component::ComponentEncoder::default()
        .module(&module)
        .unwrap()
        .validate(true)
        .encode()
        .unwrap()
}
