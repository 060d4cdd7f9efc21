# SPDX-License-Identifier: Apache-2.0
"""The primitives stay native, whoever comes first; notices never touch a green lock."""

from __future__ import annotations

import pytest

PATCH = "import eventlet; eventlet.monkey_patch()\n"
OURS = "from otel_openstack.runtime import notices, originals, process, stop, worker\n"
CHECK = """
import threading
def native():
    # Were the primitives green, this would make a hub in this thread, or never come back.
    lock = originals.allocate_lock(); lock.acquire()
    lock.acquire(True, 0.05)
    originals.sleep(0.05)
    a, b = __import__("_socket").socketpair()
    waiter = originals.poll(); waiter.register(a.fileno(), originals.POLLIN); waiter.poll(50)
    say("through", originals.get_ident() != main, hasattr(hubs._threadlocal, "hub"))
    a.close(); b.close()
import eventlet.hubs as hubs
main = originals.get_ident()
originals.start_new_thread(native, ())
eventlet.sleep(0.5)
say(originals.is_green(), type(originals.allocate_lock()).__module__)
"""


@pytest.mark.parametrize("order", [PATCH + OURS, OURS + PATCH], ids=["eventlet first", "we first"])
def test_native_whatever_the_order(script, order):
    done = script(order + CHECK)
    assert done.out == ["through True False", "True _thread"]


def test_not_green_before_the_patch(script):
    done = script(OURS + "say(originals.is_green())\nimport eventlet\nsay(originals.is_green())")
    assert done.out == ["False", "False"]


def test_eventlet_is_not_imported(script):
    script(OURS + """
from otel_openstack.exporters import choose
choose.choose({})
process.ensure()
assert not any("eventlet" in name for name in sys.modules)
    """)  # fmt: skip


@pytest.mark.parametrize("order", [PATCH + OURS, OURS + PATCH], ids=["eventlet first", "we first"])
def test_a_notice_of_the_export_thread_while_a_green_thread_holds_the_logs_lock(script, order):
    done = script(order + """
handler = logging.getLogger().handlers[0]
worker.add(Job(interval=0.05, act=lambda *_: notices.say("warning", "from the export thread")))
handler.acquire()
process.ensure()
eventlet.sleep(0.3)
os.write(2, b"before the release\\n")
handler.release()
    """)  # fmt: skip
    first = done.err.partition("before the release")[0]
    assert "WARNING otel_openstack otel-openstack: from the export thread" in first


def test_a_notice_stays_on_one_line(script):
    done = script(OURS + 'notices.say("warning", "two\\nlines\\r\\n")')
    assert "otel-openstack: two lines\n" in done.err
