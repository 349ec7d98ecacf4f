//! Tool calls as OpenAI, Anthropic and Google write them.

use entity::message;
use serde_json::{Map, Value};

use super::Arguments;

/// A call that a message asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RequestedCall {
    /// As in the message; made from the call's place there when it has none.
    pub(super) id: String,
    /// Empty when the message names none.
    pub(super) name: String,
    /// Or what is wrong with them.
    pub(super) arguments: Result<Arguments, String>,
}

/// The calls of a message: its `tool_calls`, or `metadata.tool_calls`, or those among the parts of its content.
pub(super) fn calls_of(message: &message::Model) -> Vec<RequestedCall> {
    let parse = |text: &String| serde_json::from_str::<Value>(text).ok();
    let own = message.tool_calls.as_ref().and_then(parse);
    let metadata = parse(&message.metadata);
    let content = message.content.as_ref().and_then(parse);
    let list = |value: Option<Value>| match value {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    };
    let found = [
        list(own),
        list(metadata.and_then(|mut metadata| Some(metadata.get_mut("tool_calls")?.take()))),
        list(content).into_iter().filter(is_call).collect(),
    ]
    .into_iter()
    .find(|list| !list.is_empty())
    .unwrap_or_default();
    let calls = found.iter().enumerate();
    calls
        .map(|(index, call)| read(call, &format!("{}-{index}", message.id)))
        .collect()
}

/// The ids of the tool calls that a message answers: a `tool` message's own, and `tool_result` parts as Anthropic writes them.
pub(super) fn answered_ids(message: &message::Model) -> Vec<String> {
    let content: Option<Value> = message
        .content
        .as_ref()
        .and_then(|content| serde_json::from_str(content).ok());
    let parts = content.as_ref().and_then(Value::as_array).into_iter().flatten();
    let in_parts = parts.filter_map(|part| part.get("tool_use_id")?.as_str());
    message
        .tool_call_id
        .iter()
        .cloned()
        .chain(in_parts.map(str::to_owned))
        .collect()
}

fn is_call(part: &Value) -> bool {
    part.get("type").is_some_and(|kind| kind == "tool_use" || kind == "function_call")
        || part.get("functionCall").is_some()
        || part.get("function_call").is_some()
}

fn read(call: &Value, place: &str) -> RequestedCall {
    // OpenAI's chat completions nest under `function`, Google's parts under `functionCall`; Anthropic's and OpenAI's responses are flat.
    let nested = ["function", "functionCall", "function_call"]
        .iter()
        .find_map(|member| call.get(member).filter(|nested| nested.is_object()));
    let body = nested.unwrap_or(call);
    let text = |holder: &Value, member: &str| Some(holder.get(member)?.as_str()?.to_owned());
    let id = text(call, "call_id")
        .or_else(|| text(call, "id"))
        .or_else(|| text(body, "id"))
        .filter(|id| !id.is_empty());
    let name = text(body, "name").unwrap_or_default();
    let arguments = ["arguments", "input", "args", "parameters"]
        .iter()
        .find_map(|member| body.get(member));
    RequestedCall {
        id: id.unwrap_or_else(|| place.to_owned()),
        arguments: if name.is_empty() {
            Err("the tool call names no tool: expected OpenAI's, Anthropic's or Google's form".to_owned())
        } else {
            object(arguments)
        },
        name,
    }
}

fn object(arguments: Option<&Value>) -> Result<Arguments, String> {
    match arguments {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(members)) => Ok(members.clone()),
        // OpenAI sends JSON text; models write it, and not always well.
        Some(Value::String(text)) if text.trim().is_empty() => Ok(Map::new()),
        Some(Value::String(text)) => match serde_json::from_str(text) {
            Ok(Value::Object(members)) => Ok(members),
            Ok(_) => Err("the arguments of the tool call are no JSON object".to_owned()),
            Err(error) => Err(format!("the arguments of the tool call are no JSON: {error}")),
        },
        Some(_) => Err("the arguments of the tool call are no JSON object".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_one(call: &Value) -> (String, String, Result<Value, String>) {
        let RequestedCall { id, name, arguments } = read(call, "place");
        (id, name, arguments.map(Value::Object))
    }

    #[test]
    fn all_shapes_mean_the_same_call() {
        let expected = ("c1".to_owned(), "add".to_owned(), Ok(json!({"a": 1})));
        for call in [
            json!({"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{\"a\": 1}"}}),
            json!({"id": "c1", "type": "tool_use", "name": "add", "input": {"a": 1}}),
            json!({"functionCall": {"id": "c1", "name": "add", "args": {"a": 1}}}),
            json!({"function_call": {"id": "c1", "name": "add", "args": {"a": 1}}}),
            json!({"id": "c1", "name": "add", "args": {"a": 1}}),
            json!({"type": "function_call", "id": "fc_9", "call_id": "c1", "name": "add", "arguments": "{\"a\": 1}"}),
        ] {
            assert_eq!(read_one(&call), expected, "{call}");
        }
    }

    #[test]
    fn a_call_without_an_id_is_named_by_its_place() {
        let call = json!({"functionCall": {"name": "now"}});
        assert_eq!(read_one(&call), ("place".to_owned(), "now".to_owned(), Ok(json!({}))));
    }

    #[test]
    fn arguments_that_a_model_wrote_badly_are_said_to_be() {
        for arguments in [json!("{\"a\": "), json!("[1]"), json!(5)] {
            let call = json!({"id": "c", "function": {"name": "add", "arguments": arguments}});
            assert!(read_one(&call).2.is_err(), "{call}");
        }
        assert!(read_one(&json!({"id": "c"})).2.is_err());
    }
}
