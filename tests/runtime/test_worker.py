# SPDX-License-Identifier: Apache-2.0
"""The export thread: when it starts, when it runs, how it ends."""

from __future__ import annotations


def test_no_thread_before_the_first_record(script):
    done = script("""
        from otel_openstack.runtime import process, stop, worker
        worker.add(Job(interval=0.01))
        time.sleep(0.1)
        say(len(os.listdir("/proc/self/task")))
        process.ensure()
        say(len(os.listdir("/proc/self/task")))
        import threading
        say([thread.name for thread in threading.enumerate()])
        os.kill(os.getpid(), signal.SIGKILL)
    """, check=False)  # fmt: skip
    alive = [line for line in done.out if "job" not in line]
    assert alive == ["1", "2", "['MainThread']"]


def test_jobs_run_at_their_intervals(script):
    done = script("""
        from otel_openstack.runtime import process, stop, worker
        worker.add(Job("quick", 0.1)); worker.add(Job("slow", 0.35))
        process.ensure()
        time.sleep(0.95)
        os.kill(os.getpid(), signal.SIGKILL)
    """, check=False)  # fmt: skip
    assert 6 <= done.out.count("quick run") <= 9
    assert done.out.count("slow run") == 2


def test_wake_runs_the_named_job_now(script):
    done = script("""
        from otel_openstack.runtime import process, stop, worker
        worker.add(Job("traces")); worker.add(Job("metrics"))
        process.ensure()
        for _ in range(3):
            worker.wake("traces")
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGKILL)
    """, check=False)  # fmt: skip
    assert done.out == ["traces run"] * 3


def test_flush_waits_for_a_whole_round(script):
    done = script("""
        from otel_openstack.runtime import process, stop, worker
        worker.add(Job("a", act=lambda *_: time.sleep(0.2))); worker.add(Job("b"))
        say(worker.flush(1))
        process.ensure()
        say(worker.flush(5), "flushed")
        say(worker.flush(0.05), "too short")
    """)
    assert done.out[:5] == ["False", "a run", "b run", "True flushed", "a run"]
    assert "False too short" in done.out


def test_flush_lets_green_threads_run(script):
    done = script("""
        import eventlet
        eventlet.monkey_patch()
        from otel_openstack.runtime import originals, process, stop, worker
        worker.add(Job("a", act=lambda *_: originals.sleep(0.3)))
        process.ensure()
        ticks = []
        def tick():
            while True:
                ticks.append(1); eventlet.sleep(0.01)
        eventlet.spawn(tick)
        say(worker.flush(5))
        say(len(ticks) > 10)
    """)
    assert done.out[:3] == ["a run", "True", "True"]


def test_a_job_that_fails_is_told_once_and_the_others_go_on(script):
    done = script("""
        from otel_openstack.runtime import process, stop, worker
        def fail(*_): raise RuntimeError("no good")
        worker.add(Job("bad", 0.05, fail)); worker.add(Job("good", 0.05))
        process.ensure()
        time.sleep(0.4)
    """)
    assert done.out.count("good run") > 3
    assert done.out[-2:] == ["bad final", "good final"]
    assert done.err.count("export of bad failed: RuntimeError: no good") == 1
    assert "Traceback" not in done.err


def test_the_final_round_is_bounded_and_shared(script):
    done = script("""
        from otel_openstack.runtime import originals, process, stop, worker
        def until_cutoff(deadline, final):
            begin = originals.monotonic()
            while originals.monotonic() < min(deadline, worker.cutoff()): originals.sleep(0.005)
            say(round(originals.monotonic() - begin, 1))
        worker.add(Job("first", act=until_cutoff)); worker.add(Job("last", act=until_cutoff))
        process.ensure()
    """)
    assert done.out == ["first final", "0.3", "last final", "0.2"]


def test_a_job_that_ignores_the_end_is_left_behind(script):
    done = script("""
        from otel_openstack.runtime import originals, process, stop, worker
        worker.add(Job(act=lambda *_: originals.sleep(30)))
        process.ensure()
        say("end")
    """)
    assert done.out == ["end", "job final"]
    assert done.seconds < 5
    assert "left behind" in done.err


def test_what_the_collector_takes_prolongs_the_end_within_the_limit(script):
    done = script("""
        from otel_openstack.runtime import originals, process, stop, worker
        def slowly(deadline, final):
            begin = originals.monotonic()
            while originals.monotonic() < min(deadline, worker.cutoff()):
                originals.sleep(0.02); worker.progress()
                say(originals.monotonic() - begin)
        worker.add(Job(act=slowly))
        process.ensure()
    """)
    assert done.out[0] == "job final"
    assert 0.6 <= float(done.out[-1]) <= 1.5  # it would be 0.5
