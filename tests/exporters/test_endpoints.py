# SPDX-License-Identifier: Apache-2.0
"""The standard variables of OTLP/HTTP mean what the specification says."""

from __future__ import annotations

import pytest

from otel_openstack.exporters import endpoints

PREFIX = "OTEL_EXPORTER_OTLP_"


def read(signal="traces", **variables):
    endpoint, problems = endpoints.read(signal, {PREFIX + name: text for name, text in variables.items()})
    assert problems == []
    return endpoint


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({}, "http://localhost:4318/v1/traces"),
        ({"ENDPOINT": ""}, "http://localhost:4318/v1/traces"),
        ({"ENDPOINT": "http://c:4318"}, "http://c:4318/v1/traces"),
        ({"ENDPOINT": "http://c:4318/"}, "http://c:4318/v1/traces"),
        ({"ENDPOINT": "https://c/base"}, "https://c/base/v1/traces"),
        ({"ENDPOINT": "https://c/base/"}, "https://c/base/v1/traces"),
        ({"ENDPOINT": "http://c/?key=1"}, "http://c/v1/traces?key=1"),
        ({"TRACES_ENDPOINT": "http://t:1"}, "http://t:1/"),
        ({"TRACES_ENDPOINT": "http://t:1/x"}, "http://t:1/x"),
        ({"TRACES_ENDPOINT": "http://t:1/x/"}, "http://t:1/x/"),
        ({"ENDPOINT": "http://c", "TRACES_ENDPOINT": "http://t/x"}, "http://t/x"),
        ({"ENDPOINT": "http://c", "METRICS_ENDPOINT": "http://m/x"}, "http://c/v1/traces"),
        ({"ENDPOINT": "http://[::1]:4318"}, "http://[::1]:4318/v1/traces"),
    ],
)
def test_where(variables, url):
    assert read(**variables).url == url


@pytest.mark.parametrize(
    "wrong", ["localhost:4318", "c", "ftp://c", "http://", "http://c:port", "http://c:0", "http://c /x"]
)
def test_an_endpoint_that_cannot_be_used_names_its_variable(wrong):
    with pytest.raises(ValueError, match=r"OTEL_EXPORTER_OTLP_ENDPOINT=.*no http or https URL"):
        read(ENDPOINT=wrong)


@pytest.mark.parametrize(
    ("text", "headers"),
    [
        ("a=1", {"a": "1"}),
        ("Api-Key=k%20e%3Dy , b = two", {"api-key": "k e=y", "b": "two"}),
        ("a=x=y", {"a": "x=y"}),
        ("authorization=Bearer t0ken", {"authorization": "Bearer t0ken"}),
    ],
)
def test_headers_are_percent_decoded(text, headers):
    assert dict(read(HEADERS=text).headers) == headers


def test_headers_of_a_signal_replace_the_general_ones():
    assert dict(read(HEADERS="a=1,b=2", TRACES_HEADERS="c=3").headers) == {"c": "3"}


@pytest.mark.parametrize("text", ["secret", "a=1%0d%0ax: y", "b ad=1", "=secret"])
def test_a_header_that_could_split_the_request_is_left_out_and_not_repeated(text):
    endpoint, problems = endpoints.read("traces", {PREFIX + "HEADERS": text})
    assert endpoint.headers == ()
    assert len(problems) == 1
    assert "OTEL_EXPORTER_OTLP_HEADERS" in problems[0]
    assert "secret" not in problems[0]


@pytest.mark.parametrize(("text", "seconds"), [("", 10.0), ("5", 5.0), ("0.5", 0.5), ("10000", 10.0)])
def test_timeout(text, seconds):
    assert read(TIMEOUT=text).timeout == seconds


@pytest.mark.parametrize("text", ["soon", "-1", "0", "nan", "inf"])
def test_a_bad_timeout_falls_back_and_says_so(text):
    endpoint, problems = endpoints.read("traces", {PREFIX + "TIMEOUT": text})
    assert endpoint.timeout == 10.0
    assert "OTEL_EXPORTER_OTLP_TIMEOUT" in problems[0]


def test_compression():
    assert read().compression == ""
    assert read(COMPRESSION="gzip").compression == "gzip"
    assert read(COMPRESSION="gzip", TRACES_COMPRESSION="none").compression == ""
    assert endpoints.read("traces", {PREFIX + "COMPRESSION": "brotli"})[1] != []


def test_certificates():
    tls = read(CERTIFICATE="ca", CLIENT_CERTIFICATE="c", TRACES_CLIENT_KEY="k").origin.tls
    assert tls == endpoints.Tls("ca", "c", "k")


def test_user_and_password_of_the_url_become_a_header_and_are_not_shown():
    endpoint = read(ENDPOINT="http://me:s%40crt@c:1")
    assert dict(endpoint.headers) == {"authorization": "Basic bWU6c0BjcnQ="}
    assert endpoint.url == "http://c:1/v1/traces"


@pytest.mark.parametrize(
    ("host", "no_proxy", "used"),
    [
        ("c.example", "", True),
        ("c.example", "example", False),
        ("c.example", ".example,other", False),
        ("c.example", "*", False),
        ("localhost", "", False),
        ("127.0.0.1", "", False),
        ("[::1]", "", False),
    ],
)
def test_proxies_are_used_but_not_for_this_machine(host, no_proxy, used):
    environ = {"http_proxy": "http://u:p@proxy:8080", "no_proxy": no_proxy, PREFIX + "ENDPOINT": f"http://{host}:1"}
    proxy = endpoints.read("traces", environ)[0].origin.proxy
    assert proxy == (("proxy", 8080, "Basic dTpw") if used else None)
