# SPDX-License-Identifier: Apache-2.0
"""Stands in for neutron-openvswitch-agent: reports its state over RPC and marks the ports of this host up. No OVS."""

import sys
import threading

import oslo_messaging
from neutron.agent import rpc as agent_rpc
from neutron.common import config
from neutron.conf.agent import common as agent_conf
from neutron_lib import constants, context
from neutron_lib.agent import topics
from oslo_config import cfg
from oslo_service import loopingcall

HOST = "demo-host"
REPORT_EVERY = 10  # seconds
PLUGGING_TAKES = 0.2  # seconds
IGNORED = ("port_delete", "network_update", "network_delete", "security_groups_rule_updated",
           "security_groups_member_updated")  # fmt: skip
STATE = {
    "binary": "neutron-openvswitch-agent",
    "host": HOST,
    "topic": constants.L2_AGENT_TOPIC,
    "agent_type": constants.AGENT_TYPE_OVS,
    "configurations": {
        "bridge_mappings": {}, "tunnel_types": [], "tunneling_ip": "127.0.0.1", "datapath_type": "system",
        "ovs_capabilities": {"datapath_types": ["system"], "iface_types": []}, "ovs_hybrid_plug": False,
        "vhostuser_socket_dir": "/tmp", "devices": 0, "l2_population": False,
    },
    "start_flag": True,
}  # fmt: skip


class Endpoint:
    """What the plugin tells its agents."""

    target = oslo_messaging.Target(version="1.4")

    def __init__(self, admin, plugin):
        self.admin, self.plugin = admin, plugin
        for name in IGNORED:
            setattr(self, name, lambda _context, **_arguments: None)

    def port_update(self, _context, **arguments):
        port = arguments.get("port") or {}
        ours = port.get("binding:host_id") == HOST and port.get("device_owner", "").startswith("compute:")
        if ours and port.get("status") == "DOWN":
            threading.Timer(PLUGGING_TAKES, self._up, (port["id"],)).start()

    def _up(self, port_id):
        self.plugin.update_device_up(self.admin, port_id, "fake-agent", HOST)


def main():
    config.register_common_config_options()
    agent_conf.register_agent_state_opts_helper(cfg.CONF)
    config.init(sys.argv[1:])
    config.setup_logging()
    admin = context.get_admin_context_without_session()
    endpoint = Endpoint(admin, agent_rpc.PluginApi(topics.PLUGIN))
    agent_rpc.create_consumers([endpoint], topics.AGENT, [[topics.PORT, topics.UPDATE]], start_listening=True)
    reports = agent_rpc.PluginReportStateAPI(topics.REPORTS)
    state = dict(STATE)

    def report_state():
        try:
            reports.report_state(admin, state, use_call=True)
        except Exception as error:  # the plugin may not be there yet
            print("report failed:", repr(error)[:200], flush=True)
        else:
            state.pop("start_flag", None)

    # As neutron's own agents do.
    loopingcall.FixedIntervalLoopingCall(report_state).start(interval=REPORT_EVERY).wait()


main()
