# SPDX-License-Identifier: Apache-2.0
"""Instrumentors and hooks of other packages that are not loaded beside ours, and why.

The launcher loads every instrumentor that is installed. Some import a library before the service has chosen between
threads and green threads, which stops it; some measure what we measure, so that every operation would be there twice.
An operator who wants one of them all the same names it in `OTEL_OPENSTACK_INSTRUMENTORS`.
"""

from __future__ import annotations

from otel_openstack import settings
from otel_openstack.patching import inventory

EARLY = "imports its library before the service has chosen its concurrency"
PARENT = "keeps the pid of the parent over a fork, and every process would count the whole host"
TWICE = "would record what is recorded already"

# By the names of their entry points.
WITHHELD = {
    "aiohttp-client": EARLY,
    "asyncio": TWICE,
    "botocore": EARLY,
    "boto3": EARLY,
    "confluent_kafka": TWICE,
    "dbapi": TWICE,
    "django": TWICE,
    "falcon": TWICE,
    "flask": TWICE,
    "httpx": EARLY,
    "keystoneauth1": EARLY,
    "keystonemiddleware": EARLY,
    "kombu": TWICE,
    "logging": TWICE,
    "mysql": TWICE,
    "mysqlclient": TWICE,
    "openstacksdk": EARLY,
    "oslo_concurrency": EARLY,
    "oslo_db": TWICE,
    "oslo_log": TWICE,
    "oslo_messaging": EARLY,
    "oslo_middleware": TWICE,
    "oslo_service": EARLY,
    "pika": TWICE,
    "psycopg": TWICE,
    "psycopg2": TWICE,
    "pymemcache": TWICE,
    "pymysql": TWICE,
    "pyramid": TWICE,
    "requests": EARLY,
    "sqlalchemy": TWICE,
    "sqlite3": TWICE,
    "system_metrics": PARENT,
    "taskflow": EARLY,
    "threading": TWICE,
    "urllib": TWICE,
    "urllib3": EARLY,
    "wsgi": TWICE,
}

# Hooks that the launcher runs before it loads any instrumentor, whether that is loaded or not.
WITHHELD_HOOKS = {
    "oslo_service": "chooses the concurrency of oslo.service for the service, and imports eventlet",
}


def noted(kind: str, name: str) -> bool:
    """Return whether the entry point `name` is left out; the inventory gets the reason.

    Args:
        kind: "instrumentor", or "hook" for one of pre_instrument; any other is never left out.
        name: that of the entry point.
    """
    why = _REASONS[kind](name) if kind in _REASONS else ""
    if why:
        inventory.aside(f"{kind} {name}", why)
    return bool(why)


def hook(name: str) -> str:
    """Return why the pre_instrument hook called `name` is not run; empty if it is."""
    return WITHHELD_HOOKS.get(_normal(name), "") if reason(name) else ""


def reason(name: str) -> str:
    """Return why the instrumentor called `name` is not loaded; empty if it is."""
    normal = _normal(name)
    asked = {_normal(wanted) for wanted in settings.get().instrumentors}
    return "" if normal in asked else _BY_NORMAL_NAME.get(normal, "")


def _normal(name: str) -> str:
    return name.lower().replace("-", "_")


_BY_NORMAL_NAME = {_normal(name): why for name, why in WITHHELD.items()}
_REASONS = {"hook": hook, "instrumentor": reason}
