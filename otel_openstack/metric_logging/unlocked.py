# SPDX-License-Identifier: Apache-2.0
"""What the handlers of measurements have in common."""

from __future__ import annotations

import logging


class UnlockedHandler(logging.Handler):
    """Takes records without `logging`'s lock.

    What records into metrics and events, or queues, needs none, and none can be held across a fork.
    """

    def handle(self, record: logging.LogRecord) -> bool:
        """See `logging.Handler`."""
        passed = self.filter(record)
        if passed:
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return bool(passed)
