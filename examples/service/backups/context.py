# SPDX-License-Identifier: Apache-2.0
"""Who asks. There is no keystone here: as in nova's noauth, a header is believed."""

from __future__ import annotations

from oslo_context import context


class Context(context.RequestContext):
    """A request context as it travels with messages."""


class NoAuth:
    """A middleware that makes the context; distribution and service both find it in the environ."""

    def __init__(self, application):
        self._application = application

    def __call__(self, environ, start_response):
        asking = Context(
            user_id=environ.get("HTTP_X_USER_ID", "nobody"),
            project_id=environ.get("HTTP_X_PROJECT_ID"),
            project_domain_id="default",
        )
        environ["backups.context"] = asking
        environ["openstack.request_id"] = asking.request_id

        def answer(status, headers, *error):
            return start_response(status, [*headers, ("X-OpenStack-Request-Id", asking.request_id)], *error)

        return self._application(environ, answer)
