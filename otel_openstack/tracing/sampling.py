# SPDX-License-Identifier: Apache-2.0
"""Recognises the samplers whose decision is one comparison, so that they need not be called."""

from __future__ import annotations

from typing import NamedTuple

from opentelemetry.sdk.trace import sampling
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, StaticSampler, TraceIdRatioBased

EVERY_ID = TraceIdRatioBased.TRACE_ID_LIMIT + 1
LOW_BITS = TraceIdRatioBased.TRACE_ID_LIMIT

# The exact classes that are known; a subclass made by others may decide otherwise and is called.
RATIO_CLASSES = (TraceIdRatioBased,)
STATIC_CLASSES = (StaticSampler, *(type(s) for s in (sampling.ALWAYS_ON, sampling.ALWAYS_OFF)))
PARENT_CLASSES = (ParentBased, sampling.ParentBasedTraceIdRatio)


class Rule(NamedTuple):
    """A recognised sampler.

    parent_based: a span with a parent takes the parent's decision.
    bound: other spans are sampled when the low 64 bits of the trace id are below it.
    """

    parent_based: bool
    bound: int


def recognise(sampler: Sampler) -> Rule | None:
    """Return the rule equal to `sampler`, or None if it has to be called."""
    try:
        if type(sampler) in PARENT_CLASSES:
            return _parent_based(sampler)
        bound = _bound(sampler)
    except AttributeError:  # an SDK that keeps its samplers' parts elsewhere: call it
        return None
    return None if bound is None else Rule(parent_based=False, bound=bound)


def _bound(sampler: Sampler) -> int | None:
    if type(sampler) in RATIO_CLASSES:
        return int(sampler.bound)  # type: ignore[attr-defined]
    if type(sampler) in STATIC_CLASSES:
        decisions = {Decision.RECORD_AND_SAMPLE: EVERY_ID, Decision.DROP: 0}
        return decisions.get(sampler._decision)  # type: ignore[attr-defined]
    return None


def _parent_based(sampler: Sampler) -> Rule | None:
    parts = vars(sampler)
    bound = _bound(parts["_root"]) if "_root" in parts else None
    follows = all(
        _bound(parts.get(f"_{where}_parent_{name}", sampler)) == expected
        for where in ("remote", "local")
        for name, expected in (("sampled", EVERY_ID), ("not_sampled", 0))
    )
    return Rule(parent_based=True, bound=bound) if follows and bound is not None else None
