"""Hooks of the fuzzer: an empty query parameter counts as absent, so what is empty on the wire breaks no rule."""

from typing import Any

import schemathesis


def is_empty(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(is_empty(item) for item in value)
    if isinstance(value, dict):
        return all(is_empty(item) for item in value.values())
    return value is None or value == ""


@schemathesis.hook
def filter_query(context: schemathesis.HookContext, query: dict[str, Any] | None) -> bool:
    return not any(is_empty(value) for value in (query or {}).values())
