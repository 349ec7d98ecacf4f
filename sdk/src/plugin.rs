//! `plugin!`: what a plugin exports.

/// Makes a plugin of what it lists. It is called once, in the crate's root or any module.
///
/// `plugin!(greet, part)` exports tools. A plugin that has more names each kind:
///
/// ```
/// # use llmring_plugin_sdk::{Call, Result, plugin, prompt, resource, tool};
/// # #[tool] fn greet(name: String) -> Result<String> { Ok(name) }
/// # #[resource(uri = "greeting://{name}")] fn greeting(name: String) -> Result<String> { Ok(name) }
/// # #[prompt] fn be_polite() -> Result<String> { Ok(String::new()) }
/// plugin! {
///     tools: [greet],
///     resources: [greeting],
///     prompts: [be_polite],
/// }
/// ```
///
/// and a transport names its function: `plugin! { transport: run }`. A plugin exports just the interfaces listed.
#[macro_export]
macro_rules! plugin {
    ($($tool:path),+ $(,)?) => {
        $crate::plugin! { tools: [$($tool),+] }
    };
    ($($interface:ident : $items:tt),+ $(,)?) => {
        $($crate::__interface! { $interface $items })+

        // The version of the contract that this plugin was made for; the host reads it before it compiles anything.
        #[cfg(target_family = "wasm")]
        const _: () = {
            #[used]
            #[unsafe(link_section = "llmring:plugin/version")]
            static VERSION: [u8; $crate::VERSION.len()] = *$crate::VERSION;
        };
    };
}

/// The version of this SDK and of the contract that it speaks.
#[doc(hidden)]
pub const VERSION: &[u8; env!("CARGO_PKG_VERSION").len()] = {
    match env!("CARGO_PKG_VERSION").as_bytes().first_chunk() {
        Some(version) => version,
        None => unreachable!(),
    }
};

/// One interface of a plugin.
#[doc(hidden)]
#[macro_export]
macro_rules! __interface {
    (tools [$($tool:path),* $(,)?]) => {
        const _: () = {
            use $crate::__private::{Tool as _, tools::{self, exports::llmring::plugin::tools as interface}};

            struct Plugin;

            impl interface::Guest for Plugin {
                fn list_tools() -> ::std::result::Result<::std::vec::Vec<interface::Tool>, interface::ToolError> {
                    ::std::result::Result::Ok(::std::vec![$(<$tool>::definition()),*])
                }

                fn call_tool(
                    name: ::std::string::String,
                    arguments: ::std::string::String,
                    call: &$crate::Call,
                ) -> ::std::result::Result<interface::ToolResult, interface::ToolError> {
                    $(if name == <$tool>::NAME {
                        return <$tool>::call(&arguments, call);
                    })*
                    ::std::result::Result::Err(interface::ToolError::NotFound(::std::format!("there is no tool {name:?}")))
                }
            }

            #[cfg(target_family = "wasm")]
            tools::export!(Plugin with_types_in tools);
            // Elsewhere nobody calls it; it is no dead code for all that.
            #[cfg(not(target_family = "wasm"))]
            const _: () = {
                _ = <Plugin as interface::Guest>::list_tools;
                _ = <Plugin as interface::Guest>::call_tool;
            };
        };
    };
    (resources [$($resource:path),* $(,)?]) => {
        const _: () = {
            use $crate::__private::{Address, Resource as _, resources::{self, exports::llmring::plugin::resources as interface}};

            struct Plugin;

            impl interface::Guest for Plugin {
                fn list_resources() -> ::std::result::Result<::std::vec::Vec<interface::ListedResource>, interface::ResourceError> {
                    ::std::result::Result::Ok([$(<$resource>::address()),*].into_iter().filter_map(|address| match address {
                        Address::Listed(resource) => ::std::option::Option::Some(resource),
                        Address::Template(_) => ::std::option::Option::None,
                    }).collect())
                }

                fn list_resource_templates() -> ::std::result::Result<::std::vec::Vec<interface::ResourceTemplate>, interface::ResourceError> {
                    ::std::result::Result::Ok([$(<$resource>::address()),*].into_iter().filter_map(|address| match address {
                        Address::Template(template) => ::std::option::Option::Some(template),
                        Address::Listed(_) => ::std::option::Option::None,
                    }).collect())
                }

                fn read_resource(
                    uri: ::std::string::String,
                    call: &$crate::Call,
                ) -> ::std::result::Result<::std::vec::Vec<interface::ResourceContents>, interface::ResourceError> {
                    $(if let ::std::option::Option::Some(answer) = <$resource>::read(&uri, call) {
                        return answer;
                    })*
                    ::std::result::Result::Err(interface::ResourceError::NotFound(::std::format!("there is no resource {uri:?}")))
                }
            }

            #[cfg(target_family = "wasm")]
            resources::export!(Plugin with_types_in resources);
            // Elsewhere nobody calls it; it is no dead code for all that.
            #[cfg(not(target_family = "wasm"))]
            const _: () = {
                _ = <Plugin as interface::Guest>::list_resources;
                _ = <Plugin as interface::Guest>::list_resource_templates;
                _ = <Plugin as interface::Guest>::read_resource;
            };
        };
    };
    (prompts [$($prompt:path),* $(,)?]) => {
        const _: () = {
            use $crate::__private::{Prompt as _, prompts::{self, exports::llmring::plugin::prompts as interface}};

            struct Plugin;

            impl interface::Guest for Plugin {
                fn list_prompts() -> ::std::result::Result<::std::vec::Vec<interface::Prompt>, interface::PromptError> {
                    ::std::result::Result::Ok(::std::vec![$(<$prompt>::definition()),*])
                }

                fn get_prompt(
                    name: ::std::string::String,
                    arguments: ::std::string::String,
                    call: &$crate::Call,
                ) -> ::std::result::Result<interface::PromptResult, interface::PromptError> {
                    $(if name == <$prompt>::NAME {
                        return <$prompt>::get(&arguments, call);
                    })*
                    ::std::result::Result::Err(interface::PromptError::NotFound(::std::format!("there is no prompt {name:?}")))
                }
            }

            #[cfg(target_family = "wasm")]
            prompts::export!(Plugin with_types_in prompts);
            // Elsewhere nobody calls it; it is no dead code for all that.
            #[cfg(not(target_family = "wasm"))]
            const _: () = {
                _ = <Plugin as interface::Guest>::list_prompts;
                _ = <Plugin as interface::Guest>::get_prompt;
            };
        };
    };
    (transport $run:ident) => {
        const _: () = {
            use $crate::__private::{Channel, block_on, transport::{self, exports::llmring::plugin::transport as interface}};

            struct Plugin;

            impl interface::Guest for Plugin {
                fn run(endpoint: ::std::string::String) -> ::std::result::Result<(), interface::TransportError> {
                    block_on($run(endpoint, Channel::of_the_host()))
                }
            }

            #[cfg(target_family = "wasm")]
            transport::export!(Plugin with_types_in transport);
            // Elsewhere nobody calls it; it is no dead code for all that.
            #[cfg(not(target_family = "wasm"))]
            const _: () = {
                _ = <Plugin as interface::Guest>::run;
            };
        };
    };
}
