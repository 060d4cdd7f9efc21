# SPDX-License-Identifier: Apache-2.0
"""Fields of real versioned objects: read where they are set, never loaded."""

import uuid

from oslo_versionedobjects import base, fields

from otel_openstack.developer.expressions import parse, reader


def read(text, value):
    return reader(parse(text))(value)


@base.VersionedObjectRegistry.register
class Flavor(base.VersionedObject):
    fields = {"name": fields.StringField(), "vcpus": fields.IntegerField()}  # noqa: RUF012


loads = []


@base.VersionedObjectRegistry.register
class Instance(base.VersionedObject, base.VersionedObjectDictCompat):
    fields = {  # noqa: RUF012
        "uuid": fields.UUIDField(),
        "flavor": fields.ObjectField("Flavor"),
        "metadata": fields.DictOfStringsField(),
        "tags": fields.ListOfStringsField(),
        "host": fields.StringField(nullable=True),
    }

    @property
    def name(self):
        loads.append("name")
        return "computed"

    def obj_load_attr(self, attrname):
        loads.append(attrname)
        self.flavor = Flavor(name="loaded")


def main():
    instance = Instance(uuid=str(uuid.uuid4()), metadata={"k": "v"}, tags=["a", "b"], host=None)
    assert read("instance.flavor.name", instance) is None
    assert read("instance.name", instance) is None
    assert read("instance['uuid']", instance) is None
    assert read("instance.host", instance) is None
    assert read("instance.uuid", instance) == instance.uuid
    assert read("instance.metadata['k']", instance) == "v"
    assert read("len(instance.tags)", instance) == 2
    assert loads == []
    assert instance.flavor.name == "loaded"  # asked for by the service, it is loaded
    assert loads == ["flavor"]
    assert read("instance.flavor.name", instance) == "loaded"
    assert read("instance.flavor.vcpus", instance) is None
    assert loads == ["flavor"]


if __name__ == "__main__":
    main()
    print("done")
