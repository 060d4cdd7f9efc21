# SPDX-License-Identifier: Apache-2.0
"""Texts as services, libraries and clients write them, and what is to be left of each."""

from __future__ import annotations

SECRET = "geheim"

ALTERED = {
    # URLs
    "mysql+pymysql://root:geheim@127.0.0.1:3306/nova failed": "mysql+pymysql://***@127.0.0.1:3306/nova failed",
    "rabbit://u:geheim@h1:5672,v:geheim@h2:5672/vh": "rabbit://***@h2:5672/vh",
    "rabbit://u:geheim/?#@h1:5672/": "rabbit://***@h1:5672/",
    "amqp://geheim@h/": "amqp://***@h/",
    "https://u:pre@geheim@h/p": "https://***@h/p",
    "url: /o?temp_url_sig=geheim&a=geheim (Caused": "url: /o?temp_url_sig=***&a=*** (Caused",
    "GET /x?X-Amz-Signature=geheim y": "GET /x?X-Amz-Signature=*** y",
    # pairs
    "password=geheim": "password=***",
    "Password : geheim, x": "Password : ***, x",
    "OS_PASSWORD=geheim OS_USER=x": "OS_PASSWORD=*** OS_USER=x",
    "db_password: 'geheim with spaces', x": "db_password: '***', x",
    "{'auth': {'password': 'ge\\'geheim'}, 'x': 1}": "{'auth': {'password': '***'}, 'x': 1}",
    '{"adminPass": "geheim", "id": 4}': '{"adminPass": "***", "id": 4}',
    "{'secret': b'geheim', 'x': 1}": "{'secret': b'***', 'x': 1}",
    "{'password': ['geheim', 'geheim'], 'x': 1}": "{'password': ***, 'x': 1}",
    "\"{'password': \\'geheim\\', \\'x\\': 1}\"": "\"{'password': \\'***\\', \\'x\\': 1}\"",
    "[('X-Auth-Token', 'geheim'), ('Accept', 'x')]": "[('X-Auth-Token', '***'), ('Accept', 'x')]",
    "X-Auth-Token: geheim": "X-Auth-Token: ***",
    "Cookie: a=geheim; b=geheim\nx": "Cookie: ***\nx",
    "Authorization: Basic geheim1234== x": "Authorization: *** *** x",
    "curl -H 'bearer geheim1234'": "curl -H 'bearer ***'",
    "nova --os-password geheim --debug": "nova --os-password *** --debug",
    "<user><adminPass>geheim</adminPass></user>": "<user><adminPass>***</adminPass></user>",
    "path=%3Ftoken%3Dgeheim": "path=%3Ftoken%3D***",
    # tokens and keys
    "token gAAAAABmgeheim-_x== is bad": "token *** is bad",
    "Could not find token: 0123456789abcdef0123456789abcdef.": "Could not find token: ***",
    "The token 0123456789abcdef0123456789abcdef has expired": "The token *** has expired",
    "eyJhbGciOiJFUzI1NiJ9.geheim.geheim x": "*** x",
    "-----BEGIN RSA PRIVATE KEY-----\ngeheim\n-----END RSA PRIVATE KEY-----": "-----BEGIN RSA PRIVATE KEY ***",
    # databases
    "(pymysql.err.IntegrityError) (1062, \"Duplicate entry 'geheim' for key 'name'\")\n[SQL: INSERT geheim]\n"
    "[parameters: {'x': 'geheim'}]\n(Background on this error at: x)": (
        "(pymysql.err.IntegrityError) (1062, \"Duplicate entry '?' for key 'name'\")"
    ),
    "(1062, \"Duplicate entry 'it's 'geheim' for key 'x'' for key 'name'\")": (
        "(1062, \"Duplicate entry '?' for key 'name'\")"
    ),
    "pymysql (1366, \"Incorrect integer value: 'geheim' for column 'age' at row 1\")": (
        "pymysql (1366, \"Incorrect integer value: '?' for column 'age' at row 1\")"
    ),
    "psycopg2.errors: duplicate key\nDETAIL:  Key (email)=(geheim) already exists.": (
        "psycopg2.errors: duplicate key\nDETAIL:  Key (email)=('?') already exists."
    ),
    'psycopg: invalid input syntax for type uuid: "geheim"\nLINE 1: geheim': (
        'psycopg: invalid input syntax for type uuid: "?"'
    ),
    "sqlalchemy failed\\n[SQL: geheim]\\n[parameters: (geheim,)]": "sqlalchemy failed",
    # other processes
    "Remote error: KeyError 'geheim'\n['Traceback (most recent call last):\\n'].": "Remote error: KeyError",
    "no: nova.exception.Bad_Remote: geheim\nTraceback": "no: nova.exception.Bad_Remote: ***",
    "bad\nTraceback (most recent call last):\n  File geheim": "bad",
}  # fmt: skip

KEPT = (
    "",
    "req-7c9e6679-7425-40de-944b-e07fc1f90ae7",
    "http://host:8080/v3/users/7c9e6679742540de944be07fc1f90ae7?",
    "http://[::1]:9696/v2.0/ports",
    "Can't connect to 'compute1': timed out",
    "No valid host was found. There are not enough hosts available.",
    "Instance 7c9e6679-7425-40de-944b-e07fc1f90ae7 could not be found.",
    "nova.exception.InstanceNotFound: x",
    "KeyError: 'flavor'",
    "Policy doesn't allow os_compute_api:servers:create to be performed.",
    "a, b: c = d; e@example.com",
    "Unknown column for key 'x' in table",
)
