//! What is loaded, what is not and why, and what the cache of compiled code is trusted with.

use std::{fs, os::unix::fs::MetadataExt as _, path::PathBuf};

use plugin_host::{CodeCache, Grants, Host, Limits, LoadError, Manifest, Plugin, Settings, inspect};

use crate::{call, guests, host, load, load_with, text};

async fn refused(component: Vec<u8>) -> LoadError {
    Plugin::load(&host(Limits::default()), "guest", component, Grants::default())
        .await
        .unwrap_err()
}

#[tokio::test]
async fn a_plugin_describes_itself_as_mcp_does() {
    let plugin = load(&host(Limits::default()), guests::serves_everything()).await;
    assert_eq!(plugin.interfaces(), ["tools", "resources", "prompts"]);
    let description = serde_json::to_string(plugin.description()).unwrap();
    let meta = r#""_meta":{"example.com/exact":1.10}"#;
    let icons = r#""icons":[{"src":"https://example.com/icon.png","mimeType":"image/png","sizes":["48x48"],"theme":"dark"}]"#;
    let annotations = r#""annotations":{"audience":["user","assistant"],"priority":0.5,"lastModified":"2025-01-12T15:00:58Z"}"#;
    assert_eq!(
        description,
        format!(
            r#"{{"tools":[{{"name":"show","title":"Show","description":"Shows everything.","inputSchema":{{"type":"object","properties":{{"n":{{"type":"number","maximum":1e400}}}}}},"outputSchema":{{"type":"object"}},"annotations":{{"readOnlyHint":true,"destructiveHint":false,"openWorldHint":true}},{icons},{meta}}}],"resources":[{{"uri":"poem://one","name":"one","title":"One","description":"A poem","mimeType":"text/plain","size":11,{annotations},{icons},{meta}}}],"resourceTemplates":[{{"uriTemplate":"poem://{{name}}","name":"poem"}}],"prompts":[{{"name":"rhyme","title":"Rhyme","description":"Asks for a rhyme.","arguments":[{{"name":"word","description":"What to rhyme with","required":true}}]}}]}}"#
        )
    );
}

#[tokio::test]
async fn results_are_what_mcp_puts_on_the_wire() {
    let plugin = load(&host(Limits::default()), guests::serves_everything()).await;
    let result = plugin.call_tool("show", "{}", call()).await.outcome.unwrap();
    let meta = r#""_meta":{"example.com/exact":1.10}"#;
    let icons = r#""icons":[{"src":"https://example.com/icon.png","mimeType":"image/png","sizes":["48x48"],"theme":"dark"}]"#;
    let annotations = r#""annotations":{"audience":["user","assistant"],"priority":0.5,"lastModified":"2025-01-12T15:00:58Z"}"#;
    assert_eq!(
        serde_json::to_string(&result).unwrap(),
        format!(
            r#"{{"content":[{{"type":"text","text":"text",{annotations},{meta}}},{{"type":"image","data":"AP8Q","mimeType":"image/png"}},{{"type":"audio","data":"AP8Q","mimeType":"image/png"}},{{"type":"resource_link","uri":"poem://one","name":"one","title":"One","description":"A poem","mimeType":"text/plain","size":11,{icons}}},{{"type":"resource","resource":{{"uri":"poem://one","mimeType":"text/plain","text":"Tyger Tyger",{meta}}}}}],"structuredContent":{{"b":1.0,"a":9007199254740993}},"isError":true,{meta}}}"#
        )
    );
    let contents = plugin.read_resource("poem://one", call()).await.outcome.unwrap();
    assert_eq!(
        serde_json::to_string(&contents).unwrap(),
        format!(
            r#"[{{"uri":"poem://one","mimeType":"text/plain","text":"Tyger Tyger",{meta}}},{{"uri":"poem://one","blob":"AQI="}}]"#
        )
    );
    let prompt = plugin
        .get_prompt("rhyme", r#"{"word":"eye"}"#, call())
        .await
        .outcome
        .unwrap();
    assert_eq!(
        serde_json::to_string(&prompt).unwrap(),
        r#"{"description":"A rhyme","messages":[{"role":"user","content":{"type":"text","text":"{\"word\":\"eye\"}"}}]}"#
    );
}

#[tokio::test]
async fn a_component_is_inspected_without_being_run() {
    let component = guests::panics_in_lists();
    let manifest = "name = \"panics\"\n[asks]\nhosts = [\"a.example\"]\n";
    let bundled = Manifest::embed(manifest, &component).unwrap();
    let inspection = inspect(&bundled).unwrap();
    assert_eq!(inspection.interfaces().collect::<Vec<_>>(), ["tools"]);
    assert_eq!(inspection.version.as_deref(), Some("0.1.0"));
    assert_eq!(inspection.manifest.unwrap().asks.hosts, ["a.example"]);
    assert_ne!(inspection.digest, inspect(&component).unwrap().digest);
    assert!(
        inspection
            .imports
            .iter()
            .any(|import| import.starts_with("wasi:cli/")),
        "{:?}",
        inspection.imports
    );
}

#[tokio::test]
async fn a_bundled_manifest_names_the_plugin_and_lowers_its_limits() {
    let manifest = "name = \"small\"\n[limits]\nmemory_mib = 2\n";
    let bundled = Manifest::embed(manifest, &guests::allocates_everything()).unwrap();
    let plugin = load(&host(Limits::default()), bundled).await;
    assert_eq!(plugin.manifest().name, "small");
    let error = plugin.call_tool("run", "{}", call()).await.outcome.unwrap_err();
    assert_eq!(error.to_string(), "exceeded memory limit of 2 MiB");
}

#[tokio::test]
async fn what_is_no_component_is_refused() {
    for bytes in [
        Vec::new(),
        b"not WebAssembly".to_vec(),
        vec![0; 1 << 16],
        (0..1_u32 << 14)
            .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
            .collect(),
        wat::parse_str("(module)").unwrap(),
    ] {
        let error = refused(bytes).await;
        assert!(matches!(error, LoadError::Malformed(_)), "{error}");
    }
}

#[tokio::test]
async fn a_truncated_component_is_refused_wherever_it_was_cut() {
    let host = host(Limits::default());
    let component = guests::echoes();
    for part in 1..20 {
        let cut = component[..component.len() * part / 20].to_vec();
        Plugin::load(&host, "guest", cut, Grants::default())
            .await
            .unwrap_err();
    }
}

#[tokio::test]
async fn a_component_with_a_flipped_byte_is_refused_or_contained() {
    let host = Host::start(Settings::default()).unwrap();
    let component = guests::echoes();
    for part in 1..24 {
        let mut changed = component.clone();
        let place = changed.len() * part / 24;
        changed[place] ^= 0x55;
        // Some changes are in a text that nobody reads, and some make a program that goes wrong when it is called.
        if let Ok(plugin) = Plugin::load(&host, "guest", changed, Grants::default()).await {
            _ = plugin.call_tool("run", "{}", call()).await;
        }
    }
    load(&host, component)
        .await
        .call_tool("run", "{}", call())
        .await
        .outcome
        .unwrap();
}

#[tokio::test]
async fn a_component_of_another_world_is_refused() {
    let error = refused(guests::is_another_world()).await;
    assert_eq!(
        error.to_string(),
        "the component exports nothing of llmring:plugin (tools, resources, prompts or transport); it exports greeter"
    );
}

#[tokio::test]
async fn another_version_is_refused_with_both_named() {
    let mut component = guests::echoes();
    let (ours, theirs) = (b"llmring:plugin/tools@0.1.0", b"llmring:plugin/tools@0.7.0");
    for start in 0..component.len() - ours.len() {
        if component[start..].starts_with(ours) {
            component[start..start + ours.len()].copy_from_slice(theirs);
        }
    }
    let error = refused(component).await;
    assert_eq!(
        error.to_string(),
        "the plugin speaks llmring:plugin@0.7.0, and this server speaks 0.1.0"
    );
}

#[tokio::test]
async fn an_import_that_no_host_has_is_named() {
    let error = refused(guests::imports_the_unknown()).await;
    assert!(matches!(error, LoadError::Unlinkable(_)), "{error}");
    assert!(error.to_string().contains("test:guest/launcher"), "{error}");
}

#[tokio::test]
async fn a_plugin_that_cannot_describe_itself_is_refused() {
    let error = refused(guests::panics_in_lists()).await;
    let LoadError::Description(cause) = error else {
        panic!("{error}")
    };
    assert!(cause.to_string().contains("nothing to see here"), "{cause}");
}

#[tokio::test]
async fn a_plugin_that_loops_while_it_is_loaded_is_refused_in_time() {
    let limits = Limits {
        cpu_time: std::time::Duration::from_millis(100),
        ..Limits::default()
    };
    let component = guests::from_text("(func $start (loop $again (br $again))) (start $start)", "");
    let error = Plugin::load(&host(limits), "guest", component, Grants::default())
        .await
        .unwrap_err();
    assert!(
        error.to_string().ends_with("exceeded CPU time limit of 100ms"),
        "{error}"
    );
}

#[tokio::test]
async fn with_a_list_of_digests_nothing_else_is_loaded() {
    let digest = inspect(&guests::echoes()).unwrap().digest;
    let host = Host::start(Settings {
        digests: Some([digest].into()),
        ..Settings::default()
    })
    .unwrap();
    load(&host, guests::echoes()).await;
    let error = Plugin::load(&host, "guest", guests::spins(), Grants::default())
        .await
        .unwrap_err();
    assert!(matches!(error, LoadError::UnknownDigest { .. }), "{error}");
}

#[tokio::test]
async fn a_manifest_that_promises_what_is_not_there_is_refused() {
    let manifest = "name = \"echo\"\n[provides]\ntransport = [\"carrier-pigeon\"]";
    let error = Manifest::embed(manifest, &guests::echoes())
        .unwrap_err()
        .to_string();
    assert!(error.contains("promises a transport"), "{error}");
}

#[tokio::test]
async fn a_component_that_is_too_large_is_refused() {
    let settings = Settings {
        largest_component_bytes: 1_000,
        ..Settings::default()
    };
    let error = Plugin::load(
        &Host::start(settings).unwrap(),
        "guest",
        guests::echoes(),
        Grants::default(),
    )
    .await;
    assert!(
        matches!(error, Err(LoadError::TooLarge { limit: 1_000, .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_component_that_declares_more_than_the_limit_is_refused() {
    for (module, what) in [
        ("(memory 5000)", "memory"),
        ("(table 30000 funcref)", "table"),
        ("(memory 1) (memory 1) (memory 1)", "memor"),
    ] {
        let error = refused(guests::from_text(module, "")).await.to_string();
        assert!(error.contains(what), "{module}: {error}");
    }
}

#[tokio::test]
async fn more_memory_than_the_pool_has_cannot_be_granted() {
    let grants = Grants::parse("[limits]\nmemory_mib = 1000").unwrap();
    let error = Plugin::load(&host(Limits::default()), "guest", guests::echoes(), grants)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "more than 256 MiB of memory cannot be granted");
    load_with(
        &host(Limits::default()),
        guests::echoes(),
        "[limits]\nmemory_mib = 200",
    )
    .await;
}

#[tokio::test]
async fn two_versions_live_side_by_side() {
    let host = host(Limits::default());
    let old = load(&host, guests::echoes()).await;
    let running = old.clone();
    let new = load(&host, guests::serves_everything()).await;
    drop(old);
    let (old, new) = tokio::join!(
        running.call_tool("run", "{}", call()),
        new.call_tool("show", "{}", call())
    );
    assert_eq!(text(&old.outcome.unwrap()), "{}");
    assert_eq!(text(&new.outcome.unwrap()), "text");
}

/// A host that keeps compiled code in a folder.
struct Cached {
    folder: tempfile::TempDir,
}

impl Cached {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn host(&self, key: u8) -> Host {
        let cache = CodeCache::new(self.folder.path().join("code"), [key; 32]);
        Host::start(Settings {
            cache: Some(cache),
            ..Settings::default()
        })
        .unwrap()
    }

    fn entries(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder.path().join("code")).unwrap();
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    }

    /// Loads the echo with that key, calls it, and tells whether it was compiled for that.
    async fn compiles(&self, key: u8) -> bool {
        let before = self.inode();
        let plugin = load(&self.host(key), guests::echoes()).await;
        let answer = plugin.call_tool("run", "{}", call()).await.outcome.unwrap();
        assert_eq!(text(&answer), "{}");
        before != self.inode()
    }

    fn inode(&self) -> Option<u64> {
        let entries = fs::read_dir(self.folder.path().join("code")).ok()?;
        entries
            .map(|entry| entry.unwrap().metadata().unwrap().ino())
            .next()
    }
}

#[tokio::test]
async fn compiled_code_is_kept_and_used_again() {
    let cached = Cached::new();
    assert!(cached.compiles(1).await);
    assert!(!cached.compiles(1).await);
    assert_eq!(cached.entries().len(), 1);
}

#[tokio::test]
async fn compiled_code_that_was_tampered_with_is_compiled_anew() {
    let cached = Cached::new();
    assert!(cached.compiles(1).await);
    let path = cached.entries().remove(0);
    let genuine = fs::read(&path).unwrap();
    let changes: [(&str, Vec<u8>); 5] = [
        ("another MAC", [vec![0; 32], genuine[32..].to_vec()].concat()),
        ("another instruction", {
            let mut code = genuine.clone();
            let middle = code.len() / 2;
            code[middle] ^= 1;
            code
        }),
        ("cut short", genuine[..genuine.len() / 2].to_vec()),
        ("shorter than a MAC", genuine[..7].to_vec()),
        ("empty", Vec::new()),
    ];
    for (what, content) in changes {
        fs::write(&path, content).unwrap();
        assert!(cached.compiles(1).await, "{what}");
        assert_eq!(fs::read(&path).unwrap(), genuine, "{what}");
    }
}

#[tokio::test]
async fn compiled_code_of_another_key_or_another_component_is_compiled_anew() {
    let cached = Cached::new();
    assert!(cached.compiles(1).await);
    assert!(cached.compiles(2).await, "written with another key");
    // The echo's place holds the genuine code of another component.
    let echo = cached.entries().remove(0);
    load(&cached.host(2), guests::spins()).await;
    let other = cached.entries().into_iter().find(|path| *path != echo).unwrap();
    fs::rename(other, &echo).unwrap();
    assert!(cached.compiles(2).await, "written for another component");
}
