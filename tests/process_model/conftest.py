# SPDX-License-Identifier: Apache-2.0
"""Cells are independent processes that mostly wait, so a few run at a time, ahead of the tests that judge them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.process_model import cells

AT_A_TIME = 3

Run = Callable[..., cells.Result]


@pytest.fixture(scope="package")
def matrix(request: pytest.FixtureRequest) -> Iterator[Callable[[str, str], cells.Result]]:
    """Return the result of a cell; all that were selected are under way."""
    wanted = [item.callspec.params for item in request.session.items if "matrix" in getattr(item, "fixturenames", ())]
    pool = ThreadPoolExecutor(AT_A_TIME)
    futures: dict[tuple[str, str], Future[cells.Result]] = {}
    for params in wanted:
        key = (params["kind"], params["state"])
        if key not in futures:
            futures[key] = pool.submit(cells.run, *key)
    yield lambda kind, state: futures[kind, state].result()
    pool.shutdown(cancel_futures=True)
