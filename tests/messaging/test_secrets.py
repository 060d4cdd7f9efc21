# SPDX-License-Identifier: Apache-2.0
"""An error that comes back over RabbitMQ leaves as its type alone: its message holds the other side's traceback."""

from __future__ import annotations

from typing import Any

import pytest

from otel_openstack.testing import Telemetry
from otel_openstack.tracing import encoding, encoding_json
from tests.messaging.bus import Bus

SECRET = "geheim"


class UnknownError(Exception):
    """No module of the client's: it becomes a RemoteError."""


class Endpoint:
    def unknown(self, context: Any, value: str) -> None:
        raise UnknownError(f"cannot use {value}")

    def known(self, context: Any, value: str) -> None:
        raise KeyError(value)


def fails(tracer: Any, client: Any, method: str) -> None:
    """Call as a service does, and put into an error of its own what came back."""
    with tracer.start_as_current_span(method):
        try:
            client.call({}, method, value=SECRET)
        except Exception as error:
            told = f"{error}" if method == "unknown" else ""
            raise RuntimeError(f"no: {told}") from error


def test_remote_errors_are_told_by_their_type(rabbit: Bus, seen: Telemetry) -> None:
    rabbit.serve("compute", Endpoint())
    client = rabbit.client("compute")
    tracer = seen.provider.get_tracer("service")
    for method in ("unknown", "known"):
        with pytest.raises(RuntimeError):
            fails(tracer, client, method)
    # The server's own spans hold the message of its own exception, scrubbed like any other: it is no secret by itself.
    seen.wait(lambda: len(seen.provider.queue) >= 6)
    taken = [span for span in seen.provider.queue.take(99) if span.kind.name != "SERVER"]
    assert {span.name for span in taken} == {"unknown", "known", "compute/unknown", "compute/known"}
    for form in (encoding, encoding_json):
        exported = form.SpanEncoder().encode(taken, lambda: None).payload
        assert SECRET.encode() not in exported
        assert b"dispatcher.py" not in exported  # a frame of the server
        assert (
            b"Remote error: tests.messaging.test_secrets.UnknownError" in exported
            or b"Remote error: UnknownError" in exported
        )
        assert b"Remote error: KeyError" in exported
