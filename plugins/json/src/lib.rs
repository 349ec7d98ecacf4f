//! JSON documents: queried by JSONPath (RFC 9535) or JSON Pointer (RFC 6901), compared and patched by RFC 6902 and RFC 7396,
//! validated against JSON Schema.

mod patch;
mod path;
mod schema;

use llmring_plugin_sdk::{Json, Result, plugin, tool};
use serde_json::Value;

use self::{
    patch::{Document, Patch},
    path::Found,
    schema::Verdict,
};

/// Finds the parts of a JSON document that a path selects.
#[tool(title = "Query JSON", read_only, idempotent, open_world = false)]
fn query(
    /// Any JSON value.
    document: Value,
    /// A JSONPath (RFC 9535), which begins with `$`: `$.store.book[?@.price < 10].title`. Or a JSON Pointer (RFC 6901):
    /// `/store/book/0/title`.
    path: String,
) -> Result<Json<Found>> {
    path::select(&document, &path).map(Json)
}

/// Compares two JSON documents: the JSON Patch (RFC 6902) that makes the second of the first.
#[tool(title = "Compare JSON", read_only, idempotent, open_world = false)]
fn diff(
    /// The document before.
    before: Value,
    /// The document after.
    after: Value,
) -> Result<Json<Patch>> {
    Ok(Json(patch::between(&before, &after)))
}

/// Applies a JSON Patch (RFC 6902), all of it or nothing.
#[tool(title = "Patch JSON", read_only, idempotent, open_world = false)]
fn apply_patch(
    /// The document to change.
    document: Value,
    /// The operations: `[{"op": "replace", "path": "/a", "value": 1}]`.
    patch: Vec<Value>,
) -> Result<Json<Document>> {
    patch::apply(document, patch).map(Json)
}

/// Applies a JSON Merge Patch (RFC 7396): its members replace the document's, and `null` removes them.
#[tool(title = "Merge JSON", read_only, idempotent, open_world = false)]
fn merge_patch(
    /// The document to change.
    document: Value,
    /// What to change in it: `{"a": 1, "b": null}`.
    patch: Value,
) -> Result<Json<Document>> {
    Ok(Json(patch::merge(document, &patch)))
}

/// Validates a JSON document against a JSON Schema and lists everything that is wrong with it. The draft is the one that
/// `$schema` names, else 2020-12. References lead only to places within the schema.
#[tool(title = "Validate JSON", read_only, idempotent, open_world = false)]
fn validate(
    /// The document to validate.
    document: Value,
    /// The schema.
    schema: Value,
) -> Result<Json<Verdict>> {
    schema::check(&document, &schema).map(Json)
}

plugin!(query, diff, apply_patch, merge_patch, validate);
