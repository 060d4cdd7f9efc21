# SPDX-License-Identifier: Apache-2.0
"""Forks, announced and not."""

from __future__ import annotations

import pytest

# uWSGI forks from C, holding the GIL: Python's hooks do not run. A fork through ctypes is the same. (Scripts wait until
# the export thread sleeps: one that asks for the GIL at the very moment would leave it locked in the child.)
FORKS = {"announced": "os.fork", "from C": "__import__('ctypes').PyDLL(None).fork"}


@pytest.fixture(params=FORKS)
def fork(request):
    return FORKS[request.param]


def test_a_child_is_somebody_else(script, fork):
    done = script(f"""
        from otel_openstack.runtime import process
        process.ensure()
        before = process.instance_id(), process.start_time_unix_nano()
        child = {fork}()
        if not child:
            process.ensure()
            assert process.pid() == os.getpid()
            assert process.instance_id() != before[0]
            assert process.start_time_unix_nano() > before[1]
            say("child"); os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert (process.instance_id(), process.start_time_unix_nano()) == before
    """)
    assert done.out == ["child"]


def test_an_announced_child_is_reset_before_it_does_anything(script):
    done = script("""
        from otel_openstack.runtime import process
        process.on_child(lambda: say("reset"))
        if not os.fork():
            say("child"); os._exit(0)
        os.wait()
    """)
    assert done.out == ["reset", "child"]


def test_a_child_resets_once_and_exports_with_a_thread_of_its_own(script, fork):
    done = script(f"""
        from otel_openstack.runtime import process, stop, worker
        from otel_openstack.exporters.accounting import account
        worker.add(Job(interval=0.25))
        process.on_child(lambda: say("reset"))
        process.ensure()
        time.sleep(0.1)
        account("traces").recorded += 5; account("traces").drop(2, "full")
        child = {fork}()
        if not child:
            for _ in range(3): process.ensure()
            say("books", account("traces").recorded, account("traces").dropped)
            time.sleep(0.7)
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
        account("traces").delivered = 3
        os.kill(os.getpid(), signal.SIGKILL)
    """, "pids", check=False)  # fmt: skip
    pids = {line.split()[-1] for line in done.out if "run" in line}
    assert done.out.count("reset") == 1
    assert "books 0 0" in done.out
    assert len(pids) == 2


def test_a_child_that_records_nothing_gets_no_thread_and_its_end_costs_nothing(script, fork):
    done = script(f"""
        from otel_openstack.runtime import process, stop, worker
        worker.add(Job())
        process.ensure()
        time.sleep(0.1)
        child = {fork}()
        if not child:
            say(len(os.listdir("/proc/self/task"))); sys.exit(0)
        os.waitpid(child, 0)
    """, "pids")  # fmt: skip
    assert done.out[0] == "1"
    assert len([line for line in done.out if "final" in line]) == 1


def test_a_fork_while_locks_are_held(script, fork):
    done = script(f"""
        from otel_openstack.runtime import process, worker, stop, notices
        worker.add(Job())
        process.ensure()
        time.sleep(0.1)
        process._gates[os.getpid()].acquire()
        stop._claim.acquire(); stop._ended.acquire()
        child = {fork}()
        if not child:
            process.ensure()
            time.sleep(0.2)
            sys.exit(0)
        say("child", os.waitpid(child, 0)[1])
        os.kill(os.getpid(), signal.SIGKILL)
    """, check=False)  # fmt: skip
    assert "child 0" in done.out
    assert "job final" in done.out


def test_threads_that_meet_in_a_new_process_reset_it_once(script, fork):
    done = script(f"""
        import threading
        from otel_openstack.runtime import process
        process.on_child(lambda: (say("reset"), time.sleep(0.2)))
        process.on_start(lambda: say("start"))
        child = {fork}()
        if not child:
            threads = [threading.Thread(target=process.ensure) for _ in range(8)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            os._exit(0)
        os.waitpid(child, 0)
    """)
    assert done.out == ["reset", "start"]


def test_recording_in_a_callback_does_not_hang(script):
    done = script("""
        from otel_openstack.runtime import process
        process.on_start(process.ensure)
        process.on_start(lambda: 1 / 0)
        process.on_start(lambda: say("start"))
        process.ensure(); process.ensure()
    """)
    assert done.out == ["start"]
