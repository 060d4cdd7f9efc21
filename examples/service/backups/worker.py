# SPDX-License-Identifier: Apache-2.0
"""The worker: makes and restores backups. What it measures by hand stands above its methods, in a line each."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from oslo_service import periodic_task

from backups import db
from backups.config import CONF
from backups.context import Context
from otel_openstack import counted, counter, deep, event, timed, traced

PART = 4  # MiB
MIB = 2**20
LARGEST = 64  # MiB

blocks = counter("backups.blocks")
expired = counter("backups.expired")


class StorageFull(Exception):  # noqa: N818 (named as services name theirs)
    """There is no room for a backup."""


class NotAvailable(Exception):  # noqa: N818
    """There is no complete backup to restore."""


class Worker(periodic_task.PeriodicTasks):
    """The endpoint of RPC, and the periodic task beside it."""

    def __init__(self):
        super().__init__(CONF)
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="upload")

    def create(self, context, id, kind, size):  # noqa: A002 (as it is called in the API)
        """Make the backup `id` of `size` MiB."""
        try:
            self._store(context, id, kind, size)
        except StorageFull:
            db.set_status(context, id, "error")
            raise
        db.set_status(context, id, "available")

    def restore(self, context, id, size):  # noqa: A002
        """Restore a backup: part after part, so it takes long."""
        if db.get(context, id)["status"] != "available":
            raise NotAvailable(f"backup {id} cannot be restored")
        for number in range(0, size, PART):
            self._transfer(number // PART, 8 * PART)
        return {"restored": id}

    @timed("backups.create.duration", attributes={"backups.kind": "kind"})
    @counted("backups.stored", number="result", attributes={"backups.kind": "kind"})
    @event("backups.create", attributes={"backups.id": "backup_id", "backups.kind": "kind"})
    def _store(self, context, backup_id, kind, size):
        """Upload the parts side by side; returns the bytes."""
        if size > LARGEST:
            raise StorageFull(f"{size} MiB do not fit")
        parts = [self._pool.submit(self._transfer, number // PART, PART) for number in range(0, size, PART)]
        for part in parts:
            part.result()
        return size * MIB

    @traced("backups.upload", attributes={"backups.part": "number"})
    def _transfer(self, number, mib):
        for _ in range(mib):
            time.sleep(CONF.upload_seconds_per_mib)
            if __debug__ and deep:
                blocks.add(1)

    @periodic_task.periodic_task(spacing=1, run_immediately=True)
    def expire(self, context):
        """Delete what has been kept long enough."""
        number = db.expire(context)
        if number:
            expired.add(number)

    def run_due(self):
        """Run the periodic tasks that are due."""
        self.run_periodic_tasks(Context(user_id="backups", overwrite=False))

    def close(self):
        """Let uploads end."""
        self._pool.shutdown()
