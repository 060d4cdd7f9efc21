# SPDX-License-Identifier: Apache-2.0
"""Helpers for the files beside this one, by the names that Tach's had. Each returns (args, kwargs, label).

A label is what a call is filed under, so it has to be one of few: no id of anything may be in it.
"""

from __future__ import annotations

from typing import Any

Labelled = tuple[tuple[Any, ...], dict[str, Any], str]


def queue_receive(*args: Any, **kwargs: Any) -> Labelled:
    """Return the RPC method, of `_do_dispatch(self, endpoint, method, ctxt, args)`."""
    return args, kwargs, f"nova.compute.{args[2]}"


def network_queue_receive(*args: Any, **kwargs: Any) -> Labelled:
    """Return the same for nova-network."""
    return args, kwargs, f"nova.network.{args[2]}"


def scheduler_queue_receive(*args: Any, **kwargs: Any) -> Labelled:
    """Return the same for nova-scheduler."""
    return args, kwargs, f"nova.scheduler.{args[2]}"


def process_stack(*args: Any, **kwargs: Any) -> Labelled:
    """Return resource, action and verb, of `_process_stack(self, request, action, ...)`."""
    environ = args[1].environ
    matched = environ.get("wsgiorg.routing_args", ((), {}))[1]  # a list of versions is matched by nothing
    words = [word for word in environ["PATH_INFO"].split("/") if word]
    if words and words[0] == matched.get("project_id"):
        words.pop(0)
    parts = ("nova.api", words[0] if words else "", args[2] or "", environ["REQUEST_METHOD"])
    return args, kwargs, ".".join(part for part in parts if part)
