# SPDX-License-Identifier: Apache-2.0
"""Nova's cell 1, and the addresses of both cells as they are now (the ports of a cloud may change)."""

import sys

from nova import config, context, objects
from nova.objects import cell_mapping
from oslo_config import cfg
from oslo_utils import uuidutils

CELL1 = "cell1"


def main() -> None:
    config.parse_args(["cells", *sys.argv[1:]])
    objects.register_all()
    admin = context.get_admin_context()
    cells = {cell.name: cell for cell in objects.CellMappingList.get_all(admin)}
    main_database = cfg.CONF.database.connection
    cell0 = cells["cell0"]
    cell0.database_connection = main_database.replace("/nova?", "/nova_cell0?")
    cell0.save()
    cell1 = cells.get(CELL1) or cell_mapping.CellMapping(admin, uuid=uuidutils.generate_uuid(), name=CELL1)
    cell1.database_connection = main_database
    cell1.transport_url = cfg.CONF.transport_url
    cell1.save() if CELL1 in cells else cell1.create()


main()
