//! What `wit-bindgen` makes of the contract in `wit/`.
//!
//! One world imports everything (what is not used is left out of the component), and each interface that a plugin may
//! export has a world of its own, so that a plugin exports those that it has and no other.

#![expect(missing_docs, reason = "generated code")]

wit_bindgen::generate!({
    path: "wit/since-0.1.0",
    world: "imports",
    generate_all,
});

/// Declares the module `$name` with the world that exports the interface of that name.
macro_rules! exported {
    ($name:ident, $inline:literal) => {
        pub mod $name {
            wit_bindgen::generate!({
                path: "wit/since-0.1.0",
                inline: $inline,
                with: {
                    "llmring:plugin/types@0.1.0": crate::bindings::llmring::plugin::types,
                    "llmring:plugin/call@0.1.0": crate::bindings::llmring::plugin::call,
                },
                pub_export_macro: true,
            });
        }
    };
}

exported!(
    tools,
    "package llmring:sdk; world tools { export llmring:plugin/tools@0.1.0; }"
);
exported!(
    resources,
    "package llmring:sdk; world resources { export llmring:plugin/resources@0.1.0; }"
);
exported!(
    prompts,
    "package llmring:sdk; world prompts { export llmring:plugin/prompts@0.1.0; }"
);

pub mod transport {
    wit_bindgen::generate!({
        path: "wit/since-0.1.0",
        inline: "package llmring:sdk; world transport { export llmring:plugin/transport@0.1.0; }",
        with: { "llmring:plugin/types@0.1.0": crate::bindings::llmring::plugin::types },
        pub_export_macro: true,
    });
}
