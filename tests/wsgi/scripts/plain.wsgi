# SPDX-License-Identifier: Apache-2.0
# Before the script has made its application there is none; what it does with it before it is at its end goes to the
# application, not to an edge.
try:
    application
except NameError:
    assert "application" not in globals()
else:
    raise AssertionError


class Application:
    version = 1

    def __call__(self, environ, start_response):
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]


application = Application()
application.version = 2
assert application.version == 2
assert type(application) is Application
assert globals()["application"] is application
serve = application
