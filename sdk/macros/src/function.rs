//! The function that an attribute stands before.

use proc_macro2::TokenStream as Tokens;
use quote::quote;
use syn::{Attribute, Expr, ExprLit, FnArg, Ident, ItemFn, Lit, LitStr, Meta, Pat, Result, ReturnType, Type};

use crate::literal;

pub(crate) struct Function {
    pub(crate) ident: Ident,
    pub(crate) description: Option<LitStr>,
    /// Those that the caller gives.
    pub(crate) parameters: Vec<Parameter>,
    /// The type that it returns.
    pub(crate) output: Type,
    is_async: bool,
    /// What it is called with, in its order.
    passed: Vec<Tokens>,
}

pub(crate) struct Parameter {
    /// Those that the function itself does not keep.
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) name: Ident,
    pub(crate) ty: Type,
    pub(crate) description: Option<LitStr>,
}

impl Function {
    /// Reads the function and takes from its parameters the attributes that only the expansion understands.
    pub(crate) fn take(item: &mut ItemFn) -> Result<Self> {
        let signature = &mut item.sig;
        if let Some(generic) = signature.generics.params.first() {
            return Err(syn::Error::new_spanned(
                generic,
                "a function of a plugin has no generic parameters",
            ));
        }
        let ReturnType::Type(_, output) = &signature.output else {
            return Err(syn::Error::new_spanned(
                &signature.ident,
                "a function of a plugin returns a `Result`",
            ));
        };
        let mut parameters = Vec::new();
        let mut passed = Vec::new();
        for argument in &mut signature.inputs {
            let FnArg::Typed(argument) = argument else {
                return Err(syn::Error::new_spanned(
                    argument,
                    "a function of a plugin takes no `self`",
                ));
            };
            if matches!(&*argument.ty, Type::Reference(_)) {
                passed.push(quote!(call));
                continue;
            }
            let Pat::Ident(name) = &*argument.pat else {
                return Err(syn::Error::new_spanned(
                    &argument.pat,
                    "an argument of a plugin's function has a name",
                ));
            };
            let name = name.ident.clone();
            let attributes = std::mem::take(&mut argument.attrs);
            passed.push(quote!(#name));
            parameters.push(Parameter {
                description: documentation(&attributes),
                attributes,
                name,
                ty: (*argument.ty).clone(),
            });
        }
        Ok(Self {
            ident: signature.ident.clone(),
            description: documentation(&item.attrs),
            parameters,
            output: (**output).clone(),
            is_async: signature.asyncness.is_some(),
            passed,
        })
    }

    /// The call of the function, with everything that it takes in variables of that name.
    pub(crate) fn called(&self, sdk: &Tokens) -> Tokens {
        let (ident, passed) = (&self.ident, &self.passed);
        let called = quote!(#ident(#(#passed),*));
        if self.is_async {
            quote!(#sdk::runtime::block_on(#called))
        } else {
            called
        }
    }
}

/// The documentation comment among these attributes, its lines joined.
fn documentation(attributes: &[Attribute]) -> Option<LitStr> {
    let lines: Vec<String> = attributes.iter().filter_map(line).collect();
    let text = lines.join("\n");
    let text = text.trim();
    (!text.is_empty()).then(|| literal(text))
}

fn line(attribute: &Attribute) -> Option<String> {
    match &attribute.meta {
        Meta::NameValue(documentation) if documentation.path.is_ident("doc") => match &documentation.value {
            Expr::Lit(ExprLit {
                lit: Lit::Str(line), ..
            }) => {
                let line = line.value();
                Some(line.strip_prefix(' ').unwrap_or(&line).to_owned())
            }
            _ => None,
        },
        _ => None,
    }
}
