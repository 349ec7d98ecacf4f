//! JSON Schemas of arguments and results.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;

/// The JSON Schema (2020-12) of what `T` is read from.
pub(crate) fn read<T: JsonSchema>() -> Value {
    root::<T>(SchemaSettings::draft2020_12().for_deserialize())
}

/// The JSON Schema (2020-12) of what `T` is written as.
pub(crate) fn written<T: JsonSchema>() -> Value {
    root::<T>(SchemaSettings::draft2020_12().for_serialize())
}

fn root<T: JsonSchema>(mut settings: SchemaSettings) -> Value {
    // MCP's default is 2020-12, so naming it would only make every definition longer; the title is a Rust type's name.
    settings.meta_schema = None;
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.remove("title");
    schema.to_value()
}
