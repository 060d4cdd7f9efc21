# SPDX-License-Identifier: Apache-2.0
"""What was found to hurt, or might: the kept cases of the fuzzing, by the place where they come in."""

from __future__ import annotations

import itertools

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"

# Values of the wrong type, of any environ key or context key.
TYPES = (
    None,
    0,
    -1,
    2**70,
    10**5000,
    1.5,
    float("nan"),
    True,
    b"bytes",
    b"\xff" * 70000,
    [],
    ["a"],
    {},
    {"a": 1},
    (),
    object(),
)

TEXTS = (
    "",
    " ",
    "\x00",
    "a\x00b",
    "\r\n",
    "a\r\nX-Injected: yes",
    "\ud800",
    "\udcff\udc80",
    "é",
    "\xff\xfe",
    "\U0001f600" * 300,
    "٣",  # a digit that is not ASCII
    "%00",
    "../" * 500,
    "//",
    "?",
    "#",
    "{id}",
    "%s%n%d",
    "a" * 100_000,
    " " * 100_000,
    "," * 100_000,
    "\t," * 20_000,
    "=" * 10_000,
    "1" * 5000,
    "-1",
    "1_000",
    "1e400",
    "nan",
    "inf",
    "0x10",
    "+5",
)

PARENTS = (
    PARENT,
    PARENT.upper(),
    f" {PARENT}\t",
    PARENT[:-1],
    f"{PARENT}-extra",
    f"01-{TRACE}-{SPAN}-01-extra",
    f"cc-{TRACE}-{SPAN}-01-" + " " * 100_000 + "\nx",  # quadratic in the SDK's pattern
    f"ff-{TRACE}-{SPAN}-01",
    f"00-{'0' * 32}-{SPAN}-01",
    f"00-{TRACE}-{'0' * 16}-01",
    f"00-{TRACE}-{SPAN}-ff",
    f"00-{TRACE}-{SPAN}-0g",
    f"00-{TRACE}-{SPAN}-01,{PARENT}",
    "00-" + "g" * 32 + f"-{SPAN}-01",
    "-" * 50_000,
    "00-" * 50_000,
)
STATES = (
    "a=1",
    ",".join(f"k{n}={n}" for n in range(32)),
    ",".join(f"k{n}={n}" for n in range(200)),
    ",".join(f"key{n}={'v' * 250}" for n in range(30)),
    f"a={'x' * 100_000}",
    "a=1,a=2",
    "a",
    "=",
    "é=1",
    "\ud800=1",
    "congo=t61rcWkgMzE, rojo=00f067aa0ba902b7 ",
)
BAGGAGE = (
    "a=1",
    "a=" + " " * 8000 + "b",  # quadratic in the SDK's split
    "a" + "\t " * 4000 + "b=1",
    ",".join(f"k{n}=v" for n in range(500)),
    "a=" + "%FF" * 2000,
    "\ud800=1",
    "=",
    "a=1;property=2",
    f"a={'x' * 100_000}",
)

HEADERS = {
    "HTTP_TRACEPARENT": PARENTS,
    "HTTP_TRACESTATE": STATES,
    "HTTP_BAGGAGE": BAGGAGE,
    "HTTP_X_OPENSTACK_REQUEST_ID": ("req-" + "0" * 32, "req-x", "req-" + "a" * 100_000),
    "HTTP_X_REQUEST_START": ("t=1", "t=nan", "t=inf", "t=-1e308", "t=" + "9" * 39, "t=1e308", "t="),
    "CONTENT_LENGTH": ("0", "3", "-1", "1e3", "9" * 4301, "9" * 16, " 3 ", "٣", "1_0"),
    "HTTP_TRANSFER_ENCODING": ("chunked", "gzip, chunked"),
    "HTTP_HOST": (
        "",
        ":",
        "[",
        "[::1]:80",
        "user:geheim@host",
        "h:" + "9" * 4500,
        "h:٣",
        "a" * 100_000,
        "h:-1",
        "\x00",
    ),
    "SERVER_NAME": ("", "::1"),
    "SERVER_PORT": ("0", "99999", "x", "٣"),
    "REQUEST_METHOD": ("GET", "get", "", "BREW", "_OTHER", "G" * 100_000, "GET\r\n"),
    "PATH_INFO": ("", "*", "/", "/a/../../b", "/\xff", "//" * 5000, "/" + "a" * 100_000),
    "SCRIPT_NAME": ("", "/x", "/" * 5000),
    "QUERY_STRING": ("a=1", "token=geheim"),
    "HTTP_USER_AGENT": ("curl/8", "() { :;}; echo", "${jndi:ldap://x}"),
    "REMOTE_ADDR": ("127.0.0.1", "::1", "not an address", "1" * 10_000),
    "SERVER_PROTOCOL": ("HTTP/1.1", "HTTP/", "HTTP/9999999999", "INCLUDED", "http/1.0"),
    "wsgi.url_scheme": ("http", "https", "gopher"),
    "HTTP_X_IDENTITY_STATUS": ("Confirmed", "Invalid"),
    "HTTP_X_USER_ID": ("u", "u\n", "x" * 65),
    "openstack.request_id": ("req-1",),
    "openstack.global_request_id": ("req-2",),
    "keystone.token_info": ({"token": {}},),
    "KEYSTONE_AUTH_CONTEXT": ({"user_id": 5}, {"user_id": "u"}),
    "nova.context": (object(),),
    "mod_wsgi.queue_start": ("1", "x"),
    "wsgiorg.routing_args": ((), ((), {}), "x"),
    "routes.route": ("x",),
}


def environs():
    """Yield what one request has otherwise than an honest one: one key at a time, then pairs that belong together."""
    for key, values in HEADERS.items():
        for value in (*values, *TYPES, *TEXTS):
            yield {key: value}
    for parent, state, baggage in itertools.zip_longest(PARENTS, STATES, BAGGAGE, fillvalue="x"):
        yield {"HTTP_TRACEPARENT": parent, "HTTP_TRACESTATE": state, "HTTP_BAGGAGE": baggage}
    for state in STATES:
        yield {"HTTP_TRACEPARENT": PARENT, "HTTP_TRACESTATE": state}


# Contexts of RPC and notifications: of other versions, of other types, of strangers.
CONTEXTS = (
    None,
    [],
    "text",
    5,
    {},
    {1: 2, None: 3, b"traceparent": PARENT},
    {"traceparent": None},
    {"traceparent": 5},
    {"traceparent": PARENT.encode()},
    {"traceparent": [PARENT]},
    {"traceparent": PARENT, "tracestate": {"a": 1}},
    *({"traceparent": parent} for parent in PARENTS),
    *({"traceparent": PARENT, "tracestate": state} for state in STATES),
    *({"traceparent": PARENT, "baggage": baggage} for baggage in BAGGAGE),
    {"request_id": 5, "project_id": None, "user_id": ["u"], "global_request_id": "\ud800"},
    {"request_id": "r" * 100_000, "project_id": "\x00", "user_id": "u\n"},
    {"_context_traceparent": PARENT},
)
# Bodies of RPC messages, as the driver unpacks them.
BODIES = (
    {"method": "echo", "args": {"value": 1}},
    {"method": "echo", "args": {"value": 1}, "namespace": None, "version": "1.0"},
    {"method": "echo", "args": {"value": 1}, "version": "99.9"},
    {"method": "missing", "args": {}},
    {"method": "m" * 100_000, "args": {}},
    {"method": "\ud800\x00", "args": {}},
    {"method": "echo", "args": {"value": 1}, "namespace": "n" * 100_000},
    {"method": "fail", "args": {"value": "geheim"}},
    {"method": "__class__", "args": {}},
)
# The same of strangers who know no oslo.messaging: the server itself fails on them, and so must it with us.
BROKEN = (
    None,
    "text",
    [],
    {},
    {"method": None},
    {"method": 5, "args": {}},
    {"method": ["echo"]},
    {"method": "echo", "args": None},
)
PAYLOADS = (
    {"event_type": "x", "priority": "INFO", "payload": {}, "publisher_id": "p", "message_id": "m", "timestamp": "t"},
    {"event_type": None, "priority": None, "payload": None, "message_id": 5},
    {"event_type": "e" * 100_000, "priority": "p" * 100_000, "payload": "x", "message_id": "m" * 100_000},
    {"event_type": "x", "priority": "\ud800", "payload": {}, "message_id": "\ud800"},
    {"event_type": "x", "priority": ["info"], "payload": {}, "message_id": {}},
)
