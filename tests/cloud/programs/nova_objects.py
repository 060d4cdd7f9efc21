# SPDX-License-Identifier: Apache-2.0
"""Attribute expressions on nova's own Instance: what is set is read, and nothing is loaded over RPC or SQL."""

import nova.conf
import nova.objects
from nova import context, objects
from nova.db.main import api as database
from nova.objects import base

from otel_openstack.developer.expressions import parse, reader

calls = []


class Conductor:
    """Stands where nova-compute calls its conductor."""

    def __getattr__(self, name):
        calls.append(name)
        raise RuntimeError(name)


def read(text):
    return reader(parse(text))(instance)


nova.conf.CONF([], project="nova", default_config_files=[])
nova.objects.register_all()
base.NovaObject.indirection_api = Conductor()
for name in dir(database):
    if name.startswith(("instance", "block_device")):
        setattr(database, name, lambda *_, called=name, **__: calls.append(called))

requested = context.RequestContext("user", "project", is_admin=False)
instance = objects.Instance(requested, uuid="00000000-0000-0000-0000-000000000001", host="h", metadata={"a": "b"})
ABSENT = (
    "instance.flavor.name", "instance.info_cache.network_info", "instance.name", "len(instance.tags)",
    "instance['host']", "instance.system_metadata['x']",
    "instance.security_groups.objects[0].name", "instance.fault.code",
)  # fmt: skip
assert [text for text in ABSENT if read(text) is not None] == []
assert (read("instance.host"), read("instance.metadata['a']")) == ("h", "b")
assert read("instance._context.project_id") == "project"
instance.flavor = objects.Flavor(requested, name="m1.tiny")
assert read("instance.flavor.name") == "m1.tiny"
assert calls == []
try:
    print(instance.info_cache)  # asked for by the service, it is loaded: the witness works
except RuntimeError:
    print("called", *calls)
