# SPDX-License-Identifier: Apache-2.0
"""A service that fails in every way in which a secret was seen to get out. Each holds the word that is searched."""

from __future__ import annotations

import contextlib
import http.client
import sys
import warnings

warnings.simplefilter("ignore")

import flask
import requests
import sqlalchemy as sa
from opentelemetry import metrics, trace
from opentelemetry.trace import Link, SpanContext, Status, StatusCode, TraceFlags

from otel_openstack.patching import guard

SECRET = "geheim"
FERNET = f"gAAAAABm{SECRET}-_abcdefghijklmnopqrstuvwxyz0123456789=="
SIGNED = f"http://user:{SECRET}@127.0.0.1:1/v1/AUTH_x/c/o?temp_url_sig={SECRET}&temp_url_expires={SECRET}&X-Amz-Signature={SECRET}"
TEXTS = (
    f"mysql+pymysql://root:{SECRET}@127.0.0.1:3306/nova",
    f"rabbit://u:{SECRET}@h1:5672,u:{SECRET}/x@h2:5672/vh",
    f"amqp://u:pre{SECRET}%40@h/",
    SIGNED,
    f"X-Auth-Token: {SECRET}",
    f"token {FERNET}",
    f"Token {'0123456789abcdef' * 2} {SECRET}"[:38],
    f"{{'auth': {{'password': '{SECRET}', 'x': ['adminPass=', \"secret={SECRET}\"]}}}}",
    f'{{"passwordCredentials": {{"username": "x", "password": "{SECRET} with \\"quotes\\" {SECRET}"}}}}',
    repr(f"'password': '{SECRET}'"),
    repr(repr(f"it's {{'password': '{SECRET}'}}")),
    f"curl -H 'Authorization: Bearer {SECRET}abc' --os-password {SECRET}",
    f"<adminPass>{SECRET}</adminPass>",
    f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----",
    f"Remote error: KeyError '{SECRET}'\n['Traceback (most recent call last):\\n', '{SECRET}'].",
    f"{'x' * 1000} mysql://root:{SECRET}{'y' * 20_000}@host/nova",
    f"(1062, \"Duplicate entry '{SECRET}' for key 'name'\")",
)

app = flask.Flask("api")
app.config["PROPAGATE_EXCEPTIONS"] = True
tracer = trace.get_tracer("service")
engine = sa.create_engine("sqlite://")
users = sa.Table(
    "users", sa.MetaData(), sa.Column("name", sa.String(50), primary_key=True), sa.Column("hash", sa.String(50))
)


def insert() -> None:
    with engine.begin() as connection:
        connection.execute(users.insert(), {"name": SECRET, "hash": SECRET})


@app.get("/db/<name>")
def db(name: str) -> str:
    users.metadata.create_all(engine)
    insert()
    insert()
    return "never"


@app.get("/nested")
def nested() -> str:
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"SELECT '{SECRET}', \"{SECRET}\" FROM missing")
    except sa.exc.OperationalError as error:
        raise RuntimeError(f"could not: {error!r}") from error
    return "never"


@app.get("/plain")
def plain() -> str:
    raise ValueError("\n".join(TEXTS))


@app.get("/calls")
def calls() -> str:
    for call in (requests.get, requests.Session().post):
        try:
            call(SIGNED, headers={"X-Auth-Token": FERNET}, data=SECRET, timeout=5)
        except requests.ConnectionError as error:
            trace.get_current_span().record_exception(error)
    with contextlib.suppress(OSError):
        http.client.HTTPConnection(f"user:{SECRET}@127.0.0.1", 1).request("GET", f"/v2.0/tokens/{FERNET}?x={SECRET}")
    raise RuntimeError(FERNET)


def remote(kind: type[Exception]) -> BaseException:
    """Return what a client gets of an exception of the server, made by oslo.messaging itself."""
    from oslo_messaging._drivers import common

    try:
        raise kind(f"value {SECRET}")  # noqa: TRY301
    except kind:
        data = common.serialize_remote_exception(sys.exc_info())
    found: BaseException = common.deserialize_remote_exception(data, ["requests.exceptions"])
    return found


def own_spans() -> None:
    """Everything that the API has for a text."""
    link = Link(SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1)), {"url.full": SIGNED})
    for number, text in enumerate(TEXTS):
        with tracer.start_as_current_span(
            f"own {number}", attributes={"given": text, "url.full": SIGNED}, links=[link]
        ) as span:
            span.set_attribute("set", text)
            span.set_attributes(
                {
                    "http.url": SIGNED,
                    "http.target": f"/p?x={SECRET}#{SECRET}",
                    "url.query": f"{SECRET}=1&x={SECRET}"[7:],
                }
            )
            span.set_attribute("list", [text, "--password", SECRET])
            span.set_attribute("map", {"password": SECRET, "deep": {"more": text}})
            span.set_attribute(
                "db.statement", f"SELECT '{SECRET}', \"{SECRET}\", 'it''s {SECRET}' /* don't */ WHERE x = '{SECRET}'"
            )
            span.set_attribute("db.query.parameter.0", SECRET)
            span.set_attribute("http.request.header.x-auth-token", (SECRET,))
            span.add_event("exception", {"exception.message": text, "exception.stacktrace": f"Traceback:\n{text}"})
            span.add_event(text, {"any": text})
            span.set_status(Status(StatusCode.ERROR, text))
            span.update_name(f"own {number} {text}")
    for kind in (KeyError, requests.exceptions.InvalidURL, sa.exc.ArgumentError):
        error = remote(kind)
        try:
            with tracer.start_as_current_span("remote"):
                try:
                    raise error  # noqa: TRY301
                except Exception as first:
                    raise RuntimeError("after") from first
        except RuntimeError:
            pass


def main() -> None:
    client = app.test_client()
    headers = {"X-Auth-Token": FERNET, "Cookie": f"session={SECRET}", "Host": f"user:{SECRET}@host", "Referer": SIGNED}
    for path in (f"/db/{'a' * 8}", "/nested", "/plain", "/calls"):
        with contextlib.suppress(Exception):  # it goes on to the server, past our edge
            client.get(f"{path}?token={SECRET}", headers=headers)
    own_spans()
    counter = metrics.get_meter("service").create_counter("own")
    counter.add(1, {"url.full": SIGNED, "note": TEXTS[0], "password": SECRET})
    guard("service.hook").failed("before", ValueError(TEXTS[0]))


# What the service itself writes into its log is its own affair.
app.log_exception = lambda *_: None  # type: ignore[method-assign]
main()
