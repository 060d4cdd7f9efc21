# SPDX-License-Identifier: Apache-2.0
"""Notifications that this process emits, as log events: rules say which, with what attributes, and what pairs.

Nothing of it touches the bus: what a service hands to oslo.messaging's notifier is looked at there, whatever the
drivers make of it. `docs/notifications.md` describes the files of rules.
"""
