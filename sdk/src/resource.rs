//! Resources: what `#[resource]` makes of a function.

use serde::Serialize;

use crate::{
    Call, Error, Json, Result,
    bindings::llmring::plugin::types,
    template,
    types::{ListedResource, ResourceBody, ResourceContents, ResourceTemplate},
};

/// A resource. `#[resource]` implements it for a type with the function's name.
pub trait Resource {
    /// What lists say of it.
    fn address() -> Address;

    /// Its content when `uri` is its own.
    fn read(uri: &str, call: &Call) -> Option<Result<Vec<ResourceContents>, types::Error>>;
}

/// Where a resource is found.
#[derive(Clone, Debug)]
pub enum Address {
    /// At one URI.
    Listed(ListedResource),
    /// At every URI of a template.
    Template(ResourceTemplate),
}

/// What a resource can hold.
pub trait ResourceOutput {
    /// The media type, where the resource does not say another.
    const MIME_TYPE: Option<&'static str>;

    /// The content.
    ///
    /// # Errors
    /// It cannot be written down.
    fn into_body(self) -> Result<ResourceBody>;
}

impl ResourceOutput for String {
    const MIME_TYPE: Option<&'static str> = Some("text/plain");

    fn into_body(self) -> Result<ResourceBody> {
        Ok(ResourceBody::Text(self))
    }
}

impl ResourceOutput for Vec<u8> {
    const MIME_TYPE: Option<&'static str> = Some("application/octet-stream");

    fn into_body(self) -> Result<ResourceBody> {
        Ok(ResourceBody::Blob(self))
    }
}

impl<T: Serialize> ResourceOutput for Json<T> {
    const MIME_TYPE: Option<&'static str> = Some("application/json");

    fn into_body(self) -> Result<ResourceBody> {
        Ok(ResourceBody::Text(serde_json::to_string(&self.0)?))
    }
}

/// What the list of resources says of a resource that holds `O`.
pub fn listed_resource<O: ResourceOutput>(
    uri: &str,
    name: &str,
    title: Option<&str>,
    description: Option<&str>,
    mime_type: Option<&str>,
) -> Address {
    Address::Listed(ListedResource {
        uri: uri.to_owned(),
        name: name.to_owned(),
        title: title.map(str::to_owned),
        description: description.map(str::to_owned),
        mime_type: mime_type.or(O::MIME_TYPE).map(str::to_owned),
        size: None,
        annotations: None,
        icons: Vec::new(),
        meta: None,
    })
}

/// What the list of templates says of a resource that holds `O`.
pub fn resource_template<O: ResourceOutput>(
    uri_template: &str,
    name: &str,
    title: Option<&str>,
    description: Option<&str>,
    mime_type: Option<&str>,
) -> Address {
    Address::Template(ResourceTemplate {
        uri_template: uri_template.to_owned(),
        name: name.to_owned(),
        title: title.map(str::to_owned),
        description: description.map(str::to_owned),
        mime_type: mime_type.or(O::MIME_TYPE).map(str::to_owned),
        annotations: None,
        icons: Vec::new(),
        meta: None,
    })
}

/// The content at `uri` when that is of `address`: of what `body` makes of the placeholders' values.
pub fn read<O: ResourceOutput, E: Into<Error>>(
    address: &str,
    uri: &str,
    mime_type: Option<&str>,
    body: impl FnOnce(Vec<String>) -> Result<O, E>,
) -> Option<Result<Vec<ResourceContents>, types::Error>> {
    let captures = template::captures(address, uri)?;
    let body = body(captures)
        .map_err(Into::into)
        .and_then(ResourceOutput::into_body);
    Some(match body {
        Ok(body) => Ok(vec![ResourceContents {
            uri: uri.to_owned(),
            mime_type: mime_type.or(O::MIME_TYPE).map(str::to_owned),
            body,
            meta: None,
        }]),
        Err(error) => Err(error.into()),
    })
}
