//! The attributes of `llmring-plugin-sdk`: each makes a function a tool, a resource or a prompt.
//!
//! The function stays as it is. Beside it comes a type of the same name that implements `Tool`, `Resource` or `Prompt`, and
//! that `plugin!` names. Types and functions have names of their own kind; modules have those of types, so a module
//! beside the function is called something else.

mod function;
mod options;

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::quote;
use syn::{ItemFn, LitStr, Result, parse_macro_input};

use self::{function::Function, options::Options};

/// Makes a function a tool.
///
/// Its documentation becomes the tool's description, its parameters the tool's arguments: each type implements
/// `serde::Deserialize` and `schemars::JsonSchema`, an `Option` need not be given, and a parameter's documentation becomes
/// its description. `#[serde(…)]` and `#[schemars(…)]` may stand before a parameter. A parameter `call: &Call` is the
/// call itself. The function may be `async`. It answers a `Result` of anything that implements `Output`.
///
/// Options: `name = "…"`, `title = "…"`, and MCP's hints `read_only`, `destructive`, `idempotent` and `open_world`, each
/// alone or as `destructive = false`.
#[proc_macro_attribute]
pub fn tool(options: TokenStream, function: TokenStream) -> TokenStream {
    expand(
        options,
        function,
        &["name", "title"],
        &["read_only", "destructive", "idempotent", "open_world"],
        tool_of,
    )
}

/// Makes a function a resource.
///
/// `uri = "…"` is where it is found. A URI with placeholders is a template, and the function has a `String` for each, in
/// their order: `{name}` is one segment of a path, `{+name}` anything. The function may also take `call: &Call`, may be
/// `async`, and answers a `Result` of a `String`, a `Vec<u8>` or a `Json<T>`.
///
/// More options: `name = "…"`, `title = "…"`, `mime_type = "…"`.
#[proc_macro_attribute]
pub fn resource(options: TokenStream, function: TokenStream) -> TokenStream {
    expand(
        options,
        function,
        &["uri", "name", "title", "mime_type"],
        &[],
        resource_of,
    )
}

/// Makes a function a prompt.
///
/// Its parameters are the prompt's arguments: a `String` is required, an `Option<String>` is not. It may also take
/// `call: &Call`, may be `async`, and answers a `Result` of a `String` (what the user says), of `Vec<PromptMessage>` or of
/// `PromptResult`.
///
/// Options: `name = "…"`, `title = "…"`.
#[proc_macro_attribute]
pub fn prompt(options: TokenStream, function: TokenStream) -> TokenStream {
    expand(options, function, &["name", "title"], &[], prompt_of)
}

fn expand(
    options: TokenStream,
    function: TokenStream,
    texts: &[&str],
    flags: &[&str],
    expansion: impl FnOnce(&Function, &Options) -> Result<Tokens>,
) -> TokenStream {
    let mut item = parse_macro_input!(function as ItemFn);
    let expanded = Options::parse(options.into(), texts, flags).and_then(|options| {
        let function = Function::take(&mut item)?;
        expansion(&function, &options)
    });
    // The function itself is kept, so that one mistake is not answered with a second one elsewhere.
    let expanded = expanded.unwrap_or_else(|error| error.to_compile_error());
    let (visibility, name) = (&item.vis, &item.sig.ident);
    quote! {
        #item

        #[doc(hidden)]
        #[allow(non_camel_case_types, clippy::allow_attributes)]
        #visibility enum #name {}

        const _: () = { #expanded };
    }
    .into()
}

fn tool_of(function: &Function, options: &Options) -> Result<Tokens> {
    let sdk = quote!(::llmring_plugin_sdk);
    let ident = &function.ident;
    let name = options.name(ident);
    let title = options.optional("title");
    let description = optional(function.description.as_ref());
    let hints = ["read_only", "destructive", "idempotent", "open_world"].map(|hint| options.flag(hint));
    let annotations = if hints.iter().all(Option::is_none) {
        quote!(::core::option::Option::None)
    } else {
        let [read_only, destructive, idempotent, open_world] = hints.map(optional);
        quote!(::core::option::Option::Some(#sdk::types::ToolAnnotations {
            read_only_hint: #read_only,
            destructive_hint: #destructive,
            idempotent_hint: #idempotent,
            open_world_hint: #open_world,
        }))
    };
    let output = &function.output;
    let fields = function.parameters.iter().map(|parameter| {
        let (attributes, name, ty) = (&parameter.attributes, &parameter.name, &parameter.ty);
        quote!(#(#attributes)* #name: #ty)
    });
    let names = function.parameters.iter().map(|parameter| &parameter.name);
    let answer = function.called(&sdk);
    Ok(quote! {
        #[derive(#sdk::serde::Deserialize, #sdk::schemars::JsonSchema)]
        #[serde(crate = "::llmring_plugin_sdk::serde", deny_unknown_fields)]
        #[schemars(crate = "::llmring_plugin_sdk::schemars")]
        struct Arguments { #(#fields),* }

        impl #sdk::__private::Tool for #ident {
            const NAME: &'static str = #name;

            fn definition() -> #sdk::types::ToolDefinition {
                #sdk::__private::definition::<Arguments, <#output as #sdk::__private::Answer>::Value>(
                    #name, #title, #description, #annotations,
                )
            }

            fn call(
                arguments: &str,
                call: &#sdk::Call,
            ) -> ::core::result::Result<#sdk::types::ToolResult, #sdk::__private::WireError> {
                let Arguments { #(#names),* } = #sdk::__private::arguments(arguments)?;
                #sdk::__private::answer(#answer)
            }
        }
    })
}

fn resource_of(function: &Function, options: &Options) -> Result<Tokens> {
    let sdk = quote!(::llmring_plugin_sdk);
    let ident = &function.ident;
    let uri = options.required("uri")?;
    let placeholders = uri.value().matches('{').count();
    if placeholders != function.parameters.len() {
        let message = format!(
            "the URI has {placeholders} placeholders and the function takes {} of them",
            function.parameters.len()
        );
        return Err(syn::Error::new(uri.span(), message));
    }
    let constructor = if placeholders == 0 {
        quote!(listed_resource)
    } else {
        quote!(resource_template)
    };
    let name = options.name(ident);
    let title = options.optional("title");
    let mime_type = options.optional("mime_type");
    let description = optional(function.description.as_ref());
    let output = &function.output;
    let names = function.parameters.iter().map(|parameter| &parameter.name);
    let answer = function.called(&sdk);
    Ok(quote! {
        impl #sdk::__private::Resource for #ident {
            fn address() -> #sdk::__private::Address {
                #sdk::__private::#constructor::<<#output as #sdk::__private::Answer>::Value>(
                    #uri, #name, #title, #description, #mime_type,
                )
            }

            fn read(
                uri: &str,
                call: &#sdk::Call,
            ) -> ::core::option::Option<::core::result::Result<::std::vec::Vec<#sdk::types::ResourceContents>, #sdk::__private::WireError>> {
                #sdk::__private::read(#uri, uri, #mime_type, |captures| {
                    let mut captures = captures.into_iter();
                    #(let #names: ::std::string::String = captures.next().unwrap_or_default();)*
                    #answer
                })
            }
        }
    })
}

fn prompt_of(function: &Function, options: &Options) -> Result<Tokens> {
    let sdk = quote!(::llmring_plugin_sdk);
    let ident = &function.ident;
    let name = options.name(ident);
    let title = options.optional("title");
    let description = optional(function.description.as_ref());
    let definitions = function.parameters.iter().map(|parameter| {
        let (name, ty) = (parameter.name.to_string(), &parameter.ty);
        let description = optional(parameter.description.as_ref());
        quote!(#sdk::__private::prompt_argument::<#ty>(#name, #description))
    });
    let taken = function.parameters.iter().map(|parameter| {
        let (name, ty) = (&parameter.name, &parameter.ty);
        let key = name.to_string();
        quote!(let #name: #ty = given.take(#key)?;)
    });
    let answer = function.called(&sdk);
    Ok(quote! {
        impl #sdk::__private::Prompt for #ident {
            const NAME: &'static str = #name;

            fn definition() -> #sdk::types::PromptDefinition {
                #sdk::__private::prompt_definition(#name, #title, #description, ::std::vec![#(#definitions),*])
            }

            #[allow(unused_mut, unused_variables, clippy::allow_attributes)]
            fn get(
                arguments: &str,
                call: &#sdk::Call,
            ) -> ::core::result::Result<#sdk::types::PromptResult, #sdk::__private::WireError> {
                let mut given = #sdk::__private::prompt_arguments(arguments)?;
                #(#taken)*
                #sdk::__private::prompt_result(#answer)
            }
        }
    })
}

/// An `Option` as an expression.
fn optional(value: Option<impl quote::ToTokens>) -> Tokens {
    match value {
        Some(value) => {
            let value = value.into_token_stream();
            quote!(::core::option::Option::Some(#value))
        }
        None => quote!(::core::option::Option::None),
    }
}

/// A text as a literal.
fn literal(text: &str) -> LitStr {
    LitStr::new(text, proc_macro2::Span::call_site())
}
