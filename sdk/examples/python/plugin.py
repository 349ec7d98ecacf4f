"""A plugin with one tool, in Python. The bindings are made of sdk/wit: `list-tools` is `list_tools`."""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.tools import Tool, ToolResult
from wit_world.imports import call, llmring_plugin_types as types, log

INPUT_SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "description": "Who to greet."}},
    "required": ["name"],
    "additionalProperties": False,
}


class Tools(exports.Tools):
    def list_tools(self) -> list[Tool]:
        return [Tool("greet", None, "Greets somebody by name.", json.dumps(INPUT_SCHEMA), None, None, [], None)]

    def call_tool(self, name: str, arguments: str, call: call.Call) -> ToolResult:
        if name != "greet":
            raise Err(types.Error_NotFound(f"there is no tool {name}"))
        who = json.loads(arguments).get("name")
        if not isinstance(who, str):
            raise Err(types.Error_InvalidArguments(types.InvalidArgument("/name", "a string is wanted")))
        log.log(log.Level.INFO, f"greeting in call {call.id()}")
        text = types.Content_Text(f"Hello, {who}!")
        return ToolResult([types.ContentBlock(text, None, None)], None, False, None)
