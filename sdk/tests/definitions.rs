//! What the attributes make of functions, as far as it can be seen without a host.

#![expect(clippy::unwrap_used, reason = "tests")]

use llmring_plugin_sdk::{
    __private::{Address, Prompt as _, Resource as _, Tool as _},
    Call, Json, Result, prompt, resource,
    serde_json::{self, Value, json},
    tool,
};

#[derive(serde::Serialize, schemars::JsonSchema)]
struct Sum {
    /// All of it.
    sum: i64,
}

/// Adds numbers.
///
/// Exactly.
#[tool(title = "Add", read_only, destructive = false)]
async fn add(
    /// What to add.
    numbers: Vec<i64>,
    #[serde(default)] from: i64,
    label: Option<String>,
    _call: &Call,
) -> Result<Json<Sum>> {
    drop(label);
    Ok(Json(Sum {
        sum: from + numbers.iter().sum::<i64>(),
    }))
}

#[tool(name = "list")]
fn names() -> Result<Json<Vec<String>>> {
    Ok(Json(vec![]))
}

/// A page.
#[resource(uri = "page://{number}", name = "page", mime_type = "text/html")]
fn page(number: String) -> Result<String> {
    Ok(number)
}

#[resource(uri = "page://all")]
fn pages() -> Result<Json<Vec<u8>>> {
    Ok(Json(vec![]))
}

/// Asks.
#[prompt]
fn ask(
    /// For what.
    what: String,
    whom: Option<String>,
) -> Result<String> {
    Ok(what + &whom.unwrap_or_default())
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_function_becomes_a_tool() {
    let tool = add::definition();
    assert_eq!((tool.name.as_str(), tool.title.as_deref()), ("add", Some("Add")));
    assert_eq!(tool.description.as_deref(), Some("Adds numbers.\n\nExactly."));
    let annotations = tool.annotations.unwrap();
    assert_eq!(
        (annotations.read_only_hint, annotations.destructive_hint),
        (Some(true), Some(false))
    );
    assert_eq!(
        (annotations.idempotent_hint, annotations.open_world_hint),
        (None, None)
    );

    let input = json(&tool.input_schema);
    assert_eq!(input["type"], "object");
    assert_eq!(input["required"], json!(["numbers"]));
    assert_eq!(input["additionalProperties"], false);
    assert_eq!(input["properties"]["numbers"]["description"], "What to add.");
    assert_eq!(
        input["properties"].as_object().unwrap().len(),
        3,
        "the call is no argument: {input}"
    );

    let output = json(&tool.output_schema.unwrap());
    assert_eq!(output["properties"]["sum"]["description"], "All of it.");
}

#[test]
fn only_objects_are_structured_content() {
    let tool = names::definition();
    assert_eq!(
        (tool.name.as_str(), tool.description, tool.output_schema),
        ("list", None, None)
    );
    assert_eq!(json(&tool.input_schema)["type"], "object");
}

#[test]
fn a_uri_with_placeholders_is_a_template() {
    let Address::Template(template) = page::address() else {
        panic!("it has a placeholder")
    };
    assert_eq!(
        (template.uri_template.as_str(), template.mime_type.as_deref()),
        ("page://{number}", Some("text/html"))
    );
    let Address::Listed(resource) = pages::address() else {
        panic!("it has no placeholder")
    };
    assert_eq!(
        (resource.name.as_str(), resource.mime_type.as_deref()),
        ("pages", Some("application/json"))
    );
}

#[test]
fn options_of_prompts_are_not_required() {
    let prompt = ask::definition();
    let arguments: Vec<_> = prompt
        .arguments
        .iter()
        .map(|argument| (argument.name.as_str(), argument.required))
        .collect();
    assert_eq!(arguments, [("what", true), ("whom", false)]);
    assert_eq!(prompt.arguments[0].description.as_deref(), Some("For what."));
}
