# SPDX-License-Identifier: Apache-2.0
"""The database: one table, through oslo.db."""

from __future__ import annotations

import datetime as dt
import uuid

import sqlalchemy as sa
from oslo_db.sqlalchemy import enginefacade, models
from sqlalchemy import orm

from backups.config import CONF

Base = orm.declarative_base()
_main = enginefacade.transaction_context()


class Backup(Base, models.ModelBase):
    """One backup of one server."""

    __tablename__ = "backups"

    id = sa.Column(sa.String(36), primary_key=True)
    project_id = sa.Column(sa.String(64), nullable=False)
    kind = sa.Column(sa.String(16), nullable=False)
    size = sa.Column(sa.Integer, nullable=False)  # MiB
    status = sa.Column(sa.String(16), nullable=False)
    expires = sa.Column(sa.DateTime, nullable=False)


def prepare():
    """Open the database and make its table."""
    _main.configure(connection=CONF.database.connection, sqlite_fk=True)
    Base.metadata.create_all(_main.writer.get_engine())


def create(context, kind, size, keep):
    """Note a backup that is to be made, and kept for so many seconds; returns its id."""
    with _main.writer.using(context) as session:
        made = Backup(
            id=str(uuid.uuid4()), project_id=context.project_id, kind=kind, size=size, status="creating",
            expires=_now() + dt.timedelta(seconds=keep),
        )  # fmt: skip
        session.add(made)
        return made.id


def get(context, backup_id):
    """Return a backup of the caller's project, None if there is none of that id."""
    with _main.reader.using(context) as session:
        found = session.get(Backup, backup_id)
        return _view(found) if found is not None and found.project_id == context.project_id else None


def every(context):
    """Return the backups of the caller's project."""
    with _main.reader.using(context) as session:
        return [_view(found) for found in session.query(Backup).filter_by(project_id=context.project_id)]


def set_status(context, backup_id, status):
    """Note how far a backup is."""
    with _main.writer.using(context) as session:
        session.query(Backup).filter_by(id=backup_id).update({"status": status})


def expire(context):
    """Delete what has been kept long enough; returns how many that were."""
    with _main.writer.using(context) as session:
        old = session.query(Backup).filter(Backup.expires < _now(), Backup.status != "creating")
        return old.delete()


def _now():
    return dt.datetime.now(dt.timezone.utc).replace(tzinfo=None)


def _view(backup):
    return {name: getattr(backup, name) for name in ("id", "kind", "size", "status")}
