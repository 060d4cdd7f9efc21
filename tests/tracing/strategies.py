# SPDX-License-Identifier: Apache-2.0
"""Random spans: the calls that make one, to be played on any tracer."""

from hypothesis import strategies as st
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode, TraceFlags, TraceState

from otel_openstack import scrub

# Hypothesis draws the literals of the code under test too: what the scrubber takes out is compared elsewhere.
# Texts on both sides of attributes.SHORT.
texts = st.text(max_size=100).filter(lambda drawn: scrub.text(drawn) == drawn)
keys = st.text(min_size=1, max_size=12).filter(lambda drawn: scrub.rule(drawn) is scrub.any_value)
scalars = st.one_of(
    texts,
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.none(),
    st.binary(max_size=20),
)
values = st.one_of(
    scalars,
    st.lists(st.one_of(texts, st.integers(-5, 5), st.none()), max_size=4),
    st.dictionaries(keys, scalars, max_size=3),
    st.lists(st.lists(st.integers(0, 3), max_size=2), max_size=2),
)
attributes = st.dictionaries(keys, values, max_size=6)
times = st.integers(0, 2**63)
states = st.sampled_from([None, TraceState([("vendor", "value")]), TraceState([("a", "1"), ("b", "2")])])
contexts = st.builds(
    SpanContext,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
    st.sampled_from([TraceFlags(0), TraceFlags(1), TraceFlags(3)]),
    states,
)
links = st.lists(st.builds(Link, contexts, attributes), max_size=3)
changes = st.lists(
    st.one_of(
        st.tuples(st.just("set_attribute"), keys, values),
        st.tuples(st.just("set_attributes"), attributes),
        st.tuples(st.just("add_event"), texts, attributes, times),
        st.tuples(st.just("add_link"), contexts, attributes),
        st.tuples(st.just("update_name"), texts),
        st.tuples(st.just("set_status"), st.sampled_from(StatusCode)),
        st.tuples(st.just("set_status"), st.just(StatusCode.ERROR), texts),
    ),
    max_size=10,
)
kinds = st.sampled_from(SpanKind)
plans = st.fixed_dictionaries(
    {
        "name": texts,
        "kind": kinds,
        "attributes": st.one_of(st.none(), attributes),
        "links": links,
        "parent": st.one_of(st.none(), contexts),
        "start": times,
        "end": times,
        "changes": changes,
    }
)


def play(tracer, plan):
    """Make the planned span on `tracer` and end it."""
    from opentelemetry import trace
    from opentelemetry.context import Context

    context = Context()
    if plan["parent"] is not None:
        context = trace.set_span_in_context(trace.NonRecordingSpan(plan["parent"]), context)
    # the SDK writes into the Link objects that it is given
    own_links = [Link(link.context, dict(link.attributes)) for link in plan["links"]]
    span = tracer.start_span(plan["name"], context, plan["kind"], plan["attributes"], own_links, plan["start"])
    for method, *arguments in plan["changes"]:
        getattr(span, method)(*arguments)
    span.end(plan["end"])
    return span
