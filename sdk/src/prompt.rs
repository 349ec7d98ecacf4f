//! Prompts: what `#[prompt]` makes of a function.

use std::collections::BTreeMap;

use crate::{
    Call, Error, Result,
    bindings::llmring::plugin::types,
    types::{PromptArgumentDefinition, PromptDefinition, PromptMessage, PromptResult},
};

/// A prompt. `#[prompt]` implements it for a type with the function's name.
pub trait Prompt {
    /// The name that it is asked for by.
    const NAME: &'static str;

    /// What a list of prompts says of it.
    fn definition() -> PromptDefinition;

    /// Fills it in; `arguments` is a JSON object of strings.
    fn get(arguments: &str, call: &Call) -> Result<PromptResult, types::Error>;
}

/// What a prompt can be.
pub trait PromptOutput {
    /// The prompt in MCP's form.
    fn into_result(self) -> PromptResult;
}

impl PromptOutput for PromptResult {
    fn into_result(self) -> PromptResult {
        self
    }
}

impl PromptOutput for Vec<PromptMessage> {
    fn into_result(self) -> PromptResult {
        PromptResult {
            description: None,
            messages: self,
            meta: None,
        }
    }
}

/// One message that the user says.
impl PromptOutput for String {
    fn into_result(self) -> PromptResult {
        vec![PromptMessage::user(self)].into_result()
    }
}

/// What an argument of a prompt can be: a string that is required, or one that is not.
pub trait PromptArgument: Sized {
    /// Whether it must be given.
    const REQUIRED: bool;

    /// The argument when it was given or need not be.
    fn from_given(value: Option<String>) -> Option<Self>;
}

impl PromptArgument for String {
    const REQUIRED: bool = true;

    fn from_given(value: Option<String>) -> Option<Self> {
        value
    }
}

impl PromptArgument for Option<String> {
    const REQUIRED: bool = false;

    fn from_given(value: Option<String>) -> Option<Self> {
        Some(value)
    }
}

/// What a list of prompts says of a prompt.
pub fn prompt_definition(
    name: &str,
    title: Option<&str>,
    description: Option<&str>,
    arguments: Vec<PromptArgumentDefinition>,
) -> PromptDefinition {
    PromptDefinition {
        name: name.to_owned(),
        title: title.map(str::to_owned),
        description: description.map(str::to_owned),
        arguments,
        icons: Vec::new(),
        meta: None,
    }
}

/// What a prompt's definition says of one argument.
pub fn prompt_argument<A: PromptArgument>(name: &str, description: Option<&str>) -> PromptArgumentDefinition {
    PromptArgumentDefinition {
        name: name.to_owned(),
        title: None,
        description: description.map(str::to_owned),
        required: A::REQUIRED,
    }
}

/// A prompt's arguments as they came.
pub struct Given(BTreeMap<String, String>);

/// Reads a prompt's arguments.
pub fn prompt_arguments(arguments: &str) -> Result<Given, types::Error> {
    let given = serde_json::from_str(arguments).map_err(|error| Error::InvalidArgument {
        path: String::new(),
        message: error.to_string(),
    })?;
    Ok(Given(given))
}

impl Given {
    /// Takes the argument of that name.
    pub fn take<A: PromptArgument>(&mut self, name: &str) -> Result<A, types::Error> {
        A::from_given(self.0.remove(name)).ok_or_else(|| Error::invalid(name, "it is required").into())
    }
}

/// What the host gets of what a prompt answered.
pub fn prompt_result<O: PromptOutput>(
    prompt: Result<O, impl Into<Error>>,
) -> Result<PromptResult, types::Error> {
    match prompt {
        Ok(prompt) => Ok(prompt.into_result()),
        Err(error) => Err(error.into().into()),
    }
}
