# SPDX-License-Identifier: Apache-2.0
"""The end of a process, and the line about what was lost."""

from __future__ import annotations

import pytest

LOSE = """
from otel_openstack.runtime import process, stop, worker
from otel_openstack.exporters.accounting import account
from otel_openstack.instrumentation import oslo_service_stop
for patch in oslo_service_stop.PATCHES: patch.install()
worker.add(Job())
process.ensure()
account("traces").recorded += 5
account("traces").delivered += 2
account("traces").drop(1, "queue full")
"""
GREEN = "import eventlet; eventlet.monkey_patch(); "
LINE = "3 spans dropped of 5 spans recorded (queue full; not delivered before the end of the process)"


@pytest.mark.parametrize(
    "end",
    [
        "",
        "sys.exit(0)",
        "os._exit(0)",
        "os._exit(status=0)",
        "stop.stop('somebody'); stop.stop('again'); os._exit(0)",
        "import threading; threading.Thread(target=os._exit, args=(0,)).start(); time.sleep(5)",
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); os.kill(os.getpid(), signal.SIGTERM)",
        "signal.signal(signal.SIGALRM, lambda *_: os._exit(0)); signal.alarm(1); time.sleep(5)",
        GREEN + "eventlet.spawn(os._exit, 0); eventlet.sleep(5)",
        GREEN + "eventlet.hubs.get_hub().schedule_call_global(0, os._exit, 0); eventlet.sleep(5)",
    ],
)
def test_every_end_is_one_last_round_and_one_line(script, end):
    done = script(LOSE + end)
    assert done.out == ["job final"]
    assert done.err.count(LINE) == 1
    assert done.err.count(" dropped of ") == 1


def test_an_interrupt(script):
    done = script(LOSE + "os.kill(os.getpid(), signal.SIGINT); time.sleep(5)", check=False)
    assert done.out == ["job final"]
    assert LINE in done.err


def test_multiprocessing(script):
    done = script("""
        import multiprocessing
        def child():
            exec(LOSE, globals())
        LOSE = sys.argv[1]
        process = multiprocessing.get_context("fork").Process(target=child)
        from otel_openstack.instrumentation import oslo_service_stop
        for patch in oslo_service_stop.PATCHES: patch.install()
        process.start(); process.join()
        say(process.exitcode)
    """, LOSE.split("for patch", maxsplit=1)[0] + "worker.add" + LOSE.split("worker.add", 1)[1])  # fmt: skip
    assert done.out == ["job final", "0"]
    assert LINE in done.err


def test_nothing_lost_is_nothing_said(script):
    done = script(LOSE.replace('.drop(1, "queue full")', ".delivered += 3"))
    assert "dropped" not in done.err


def test_exit_codes_pass(script):
    assert script(LOSE + "os._exit(7)", check=False).returncode == 7


def test_undone_the_original_is_back(script):
    script("""
        import posix
        from otel_openstack.instrumentation import oslo_service_stop
        for patch in oslo_service_stop.PATCHES: patch.install()
        assert os._exit is not posix._exit
        for patch in oslo_service_stop.PATCHES: patch.undo()
        assert os._exit is posix._exit
    """)


def test_a_signal_during_the_last_round_does_not_add_up(script):
    done = script(LOSE + """
worker.add(Job("hang", act=lambda *_: time.sleep(30)))
signal.signal(signal.SIGALRM, lambda *_: os._exit(3))
signal.setitimer(signal.ITIMER_REAL, 0.3)
os._exit(0)
    """, check=False)  # fmt: skip
    assert done.returncode == 3
    assert done.seconds < 5


def test_a_second_thread_waits_for_the_first(script):
    done = script(
        LOSE
        + """
import threading
worker.add(Job("late", act=lambda *_: (time.sleep(0.4), say("through"))))
threading.Thread(target=stop.stop, args=("first",)).start()
time.sleep(0.1)
os._exit(0)
    """
    )
    assert done.out == ["job final", "late final", "through"]


def test_the_wait_is_a_setting(script, monkeypatch):
    monkeypatch.setenv("OTEL_OPENSTACK_EXIT_TIMEOUT", "0.1")
    done = script("""
        from otel_openstack.runtime import originals, process, stop, worker
        def wait(deadline, final):
            begin = originals.monotonic()
            while originals.monotonic() < min(deadline, worker.cutoff()): originals.sleep(0.005)
            say(round(originals.monotonic() - begin, 1))
        worker.add(Job(act=wait)); process.ensure()
    """)
    assert done.out == ["job final", "0.1"]
