# SPDX-License-Identifier: Apache-2.0
"""The way from the API to the worker, through oslo.messaging."""

from __future__ import annotations

import oslo_messaging

from backups.config import CONF
from backups.context import Context

TOPIC = "backups"


class Serializer(oslo_messaging.NoOpSerializer):
    """Request contexts as they travel."""

    def serialize_context(self, context):
        return context.to_dict()

    def deserialize_context(self, context):
        return Context.from_dict(context)


class Worker:
    """What the API asks of the worker."""

    def __init__(self, transport):
        target = oslo_messaging.Target(topic=TOPIC)
        self._client = oslo_messaging.get_rpc_client(transport, target, serializer=Serializer(), timeout=10)

    def create(self, context, backup):
        """Ask for a backup, and do not wait."""
        self._client.cast(context, "create", **backup)

    def restore(self, context, backup):
        """Have a backup restored, and wait for it."""
        return self._client.call(context, "restore", **backup)


def server(transport, endpoint):
    """Return the server that calls `endpoint`."""
    target = oslo_messaging.Target(topic=TOPIC, server=CONF.host)
    return oslo_messaging.get_rpc_server(transport, target, [endpoint], executor="threading", serializer=Serializer())
