# SPDX-License-Identifier: Apache-2.0
"""Attribute expressions on notifications: `payload.instance_id`, `payload['nova_object.data'].uuid`.

As for decorators (`developer/expressions.py`), with the roots `payload` and `context`; and since a payload is made of
dicts, a name after a dot is a key of one. No code of the service runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from otel_openstack.developer import reading
from otel_openstack.developer.expressions import CONTEXT, Expression, ExpressionError, parse
from otel_openstack.developer.reading import ABSENT, Plain

PAYLOAD = "payload"
Read = Callable[[Any, Any], Plain]
"""Takes payload and context of a notification; None where there is no such value."""


def reader(text: Any) -> Read:
    """Return what reads an expression.

    Raises:
        ExpressionError: it is none, or begins with something else.
    """
    expression = parse(text)
    if expression.root not in (PAYLOAD, CONTEXT):
        raise ExpressionError(f"{text!r} begins with neither {PAYLOAD} nor {CONTEXT}")
    of_payload = expression.root == PAYLOAD
    return lambda payload, context: _follow(expression, payload if of_payload else context)


def _follow(expression: Expression, value: Any) -> Plain:
    for _, key in expression.steps:
        found = reading.item(value, key)
        if found is ABSENT and isinstance(key, str):
            found = reading.attribute(value, key)
        if found is ABSENT:
            return None
        value = found
    return reading.length(value) if expression.length else reading.bounded(value)
