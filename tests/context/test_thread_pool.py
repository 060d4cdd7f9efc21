# SPDX-License-Identifier: Apache-2.0
"""Items of multiprocessing's ThreadPool are carried; a pool of processes pickles its items and is left alone."""

import multiprocessing
from multiprocessing.pool import Pool, ThreadPool

import pytest
from opentelemetry.trace import SpanKind, get_current_span

from otel_openstack import tracing

WAYS = {
    "apply": lambda pool, work: [pool.apply(work, (1,))],
    "apply_async": lambda pool, work: [pool.apply_async(work, (1,)).get(10)],
    "map": lambda pool, work: pool.map(work, [1, 2]),
    "map_async": lambda pool, work: pool.map_async(work, [1, 2]).get(10),
    "starmap": lambda pool, work: pool.starmap(work, [(1,), (2,)]),
    "starmap_async": lambda pool, work: pool.starmap_async(work, [(1,), (2,)]).get(10),
    "imap": lambda pool, work: list(pool.imap(work, [1, 2])),
    "imap with chunks": lambda pool, work: list(pool.imap(work, [1, 2], chunksize=2)),
    "imap_unordered": lambda pool, work: list(pool.imap_unordered(work, [1, 2])),
}


def current_trace(_argument=None):
    return get_current_span().get_span_context().trace_id


@pytest.mark.parametrize("way", list(WAYS))
def test_items_are_carried_and_workers_keep_nothing(telemetry, way):
    with telemetry.patched("threads", "threads_pool"):
        operation = tracing.root("test", "GET /", SpanKind.SERVER)
        with ThreadPool(1) as pool:
            inside = WAYS[way](pool, current_trace)
            operation.finish()
            outside = WAYS[way](pool, current_trace)
    assert set(inside) == {operation.span.get_span_context().trace_id}
    assert set(outside) == {0}


def test_errors_are_the_service_s_own(telemetry):
    def fail(_argument):
        raise LookupError("mine")

    with telemetry.patched("threads_pool"), ThreadPool(1) as pool:
        operation = tracing.root("test", "GET /", SpanKind.SERVER)
        with pytest.raises(LookupError, match="mine"):
            pool.map(fail, [1])
        operation.finish()


def test_a_pool_of_processes_is_left_alone(telemetry):
    with telemetry.patched("threads_pool"), multiprocessing.get_context("spawn").Pool(1) as pool:
        operation = tracing.root("test", "GET /", SpanKind.SERVER)
        assert pool.map(abs, [-1, -2]) == [1, 2]
        operation.finish()


def test_undo_restores_the_originals(telemetry):
    names = ("apply_async", "_map_async", "imap", "imap_unordered")
    originals = [vars(Pool)[name] for name in names]
    with telemetry.patched("threads_pool"):
        assert not any(vars(Pool)[name] is original for name, original in zip(names, originals, strict=True))
    assert [vars(Pool)[name] for name in names] == originals
