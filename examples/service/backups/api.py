# SPDX-License-Identifier: Apache-2.0
"""The API. Nothing in it measures anything: the distribution does."""

from __future__ import annotations

import flask

from backups import db
from backups.config import CONF
from backups.context import NoAuth

KINDS = ("full", "incremental")


def application(worker):
    """Return the WSGI application; `worker` is what it asks over RPC."""
    app = flask.Flask("backups")

    def context():
        return flask.request.environ["backups.context"]

    def found(backup_id):
        backup = db.get(context(), backup_id)
        if backup is None:
            flask.abort(404)
        return backup

    @app.post("/v1/backups")
    def create():
        asked = flask.request.get_json()
        if asked.get("kind") not in KINDS or not isinstance(asked.get("size"), int):
            flask.abort(400)
        backup = {"kind": asked["kind"], "size": asked["size"]}
        backup["id"] = db.create(context(), **backup, keep=int(asked.get("keep", CONF.keep_seconds)))
        worker.create(context(), backup)
        return backup, 202

    @app.get("/v1/backups")
    def every():
        return {"backups": db.every(context())}

    @app.get("/v1/backups/<backup_id>")
    def show(backup_id):
        return found(backup_id)

    @app.post("/v1/backups/<backup_id>/restore")
    def restore(backup_id):
        backup = found(backup_id)
        return worker.restore(context(), {"id": backup_id, "size": backup["size"]})

    return NoAuth(app.wsgi_app)
