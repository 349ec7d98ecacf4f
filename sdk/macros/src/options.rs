//! What stands in an attribute's parentheses: `name = "…", read_only, destructive = false`.

use proc_macro2::{Span, TokenStream as Tokens};
use syn::{
    Ident, LitBool, LitStr, Result, Token,
    parse::{Parse as _, ParseStream, Parser as _},
};

use crate::{literal, optional};

pub(crate) struct Options {
    texts: Vec<(Ident, LitStr)>,
    flags: Vec<(Ident, LitBool)>,
}

impl Options {
    /// Reads options of which those named in `texts` are strings and those in `flags` truth values.
    pub(crate) fn parse(tokens: Tokens, texts: &[&str], flags: &[&str]) -> Result<Self> {
        let parser = |input: ParseStream| {
            let mut options = Self {
                texts: Vec::new(),
                flags: Vec::new(),
            };
            while !input.is_empty() {
                let name = Ident::parse(input)?;
                if options.names().any(|other| *other == name) {
                    return Err(syn::Error::new(
                        name.span(),
                        format!("`{name}` stands here twice"),
                    ));
                }
                if texts.iter().any(|text| name == text) {
                    <Token![=]>::parse(input)?;
                    options.texts.push((name, input.parse()?));
                } else if flags.iter().any(|flag| name == flag) {
                    let value = if input.peek(Token![=]) {
                        <Token![=]>::parse(input)?;
                        input.parse()?
                    } else {
                        LitBool::new(true, name.span())
                    };
                    options.flags.push((name, value));
                } else {
                    let known = [texts, flags].concat().join("`, `");
                    return Err(syn::Error::new(
                        name.span(),
                        format!("there is no option `{name}`, but `{known}`"),
                    ));
                }
                if !input.is_empty() {
                    <Token![,]>::parse(input)?;
                }
            }
            Ok(options)
        };
        parser.parse2(tokens)
    }

    /// The name given, or else the function's own.
    pub(crate) fn name(&self, function: &Ident) -> LitStr {
        self.text("name")
            .cloned()
            .unwrap_or_else(|| literal(&function.to_string()))
    }

    /// The text of that name, as an expression of type `Option<&str>`.
    pub(crate) fn optional(&self, name: &str) -> Tokens {
        optional(self.text(name))
    }

    /// The text of that name, which has to be given.
    pub(crate) fn required(&self, name: &str) -> Result<&LitStr> {
        self.text(name)
            .ok_or_else(|| syn::Error::new(Span::call_site(), format!("`{name} = \"…\"` is missing")))
    }

    /// The truth value of that name.
    pub(crate) fn flag(&self, name: &str) -> Option<&LitBool> {
        self.flags
            .iter()
            .find_map(|(other, value)| (other == name).then_some(value))
    }

    fn text(&self, name: &str) -> Option<&LitStr> {
        self.texts
            .iter()
            .find_map(|(other, value)| (other == name).then_some(value))
    }

    fn names(&self) -> impl Iterator<Item = &Ident> {
        let texts = self.texts.iter().map(|(name, _)| name);
        texts.chain(self.flags.iter().map(|(name, _)| name))
    }
}
