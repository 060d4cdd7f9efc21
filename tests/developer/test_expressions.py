# SPDX-License-Identifier: Apache-2.0
"""Attribute expressions: what is understood, what is read, and that no code of the service runs for it."""

from __future__ import annotations

import collections
import dataclasses
import enum
import subprocess
import sys
import types
import uuid
from pathlib import Path

import pytest
import sqlalchemy
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import orm

from otel_openstack.developer import reading
from otel_openstack.developer.expressions import Expression, ExpressionError, Step, parse, reader

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,12}", fullmatch=True)
KEYS = st.text(st.characters(exclude_characters="'\"\\]", exclude_categories=("Cs", "Cc")), max_size=12)
STEPS = st.one_of(
    st.builds(Step, st.just("attribute"), NAMES),
    st.builds(Step, st.just("item"), st.one_of(KEYS, st.integers(-(10**8), 10**8))),
)


def read(text, value):
    return reader(parse(text))(value)


def written(root, steps):
    return root + "".join(f".{key}" if kind == "attribute" else f"[{_quoted(key)}]" for kind, key in steps)


def _quoted(key):
    return str(key) if isinstance(key, int) else f"'{key}'"


# What is understood


@given(NAMES, st.lists(STEPS, max_size=8), st.booleans())
def test_what_is_written_is_understood(root, steps, length):
    text = written(root, steps)
    text = f"len({text})" if length else text
    assert parse(text) == Expression(text, root, tuple(steps), length)


@given(st.text(max_size=40))
def test_anything_is_understood_or_refused(text):
    try:
        found = parse(text)
    except ExpressionError as error:
        assert str(error)  # noqa: PT017
    else:
        assert found.root.isidentifier()


@pytest.mark.parametrize(
    "text",
    ["", " ", "a.", ".a", "a..b", "a[", "a[b]", "a['b", "a[1.5]", "a()", "a.b()", "a + b", "a if b else c", "1", "a b",
     "__import__('os')", "len(a", "len(len(a))", "a['b' + 'c']", "a[:2]", "lambda: 1", "a\n.b", "a" * 300,
     "a" + ".b" * 20, "²", "a.²", None, 5],
)  # fmt: skip
def test_what_is_no_path_is_refused(text):
    with pytest.raises(ExpressionError):
        parse(text)


def test_the_error_says_where():
    with pytest.raises(ExpressionError, match=r"'instance\.flavor\(\)' cannot be understood from '\(\)' on"):
        parse("instance.flavor()")


# What is read

LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=300), st.binary(max_size=4))
DATA = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3), st.tuples(inner)),
    max_leaves=12,
)


def by_python(value, steps):
    for _, key in steps:
        value = value[key]
    return value


@given(DATA, st.lists(STEPS.filter(lambda step: step.kind == "item"), max_size=4), st.data())
def test_items_are_what_python_says(value, steps, data):
    path, inner = [], value
    while isinstance(inner, list | tuple | dict) and inner and data.draw(st.booleans()):
        keys = list(inner) if isinstance(inner, dict) else list(range(-len(inner), len(inner)))
        path.append(Step("item", data.draw(st.sampled_from(keys))))
        inner = inner[path[-1].key]
    assert read(written("x", path), value) == reading.bounded(inner)
    try:
        expected = reading.bounded(by_python(value, steps))
    except (KeyError, IndexError, TypeError):
        expected = None
    else:
        if not all(isinstance(step.key, int) for step in steps) and isinstance(value, str):
            expected = None
    if not _through_text(value, steps):
        assert read(written("x", steps), value) == expected


def _through_text(value, steps):
    """Texts and bytes have items in Python; here they have none."""
    for _, key in steps:
        if isinstance(value, str | bytes):
            return True
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return False
    return False


@given(DATA)
def test_values_are_bounded(value):
    found = reading.bounded(value)
    assert type(found) in (str, int, float, bool, type(None))
    if isinstance(found, str):
        assert len(found) <= reading.LONGEST_VALUE
    if type(found) is int:
        assert -(2**63) < found < 2**63
    if type(found) is float:
        assert found - found == 0


Pair = collections.namedtuple("Pair", "left right")  # noqa: PYI024


class Colour(enum.Enum):
    RED = "red"


class Shade(str, enum.Enum):
    DARK = "dark"


class Slots:
    __slots__ = ("empty", "full")

    def __init__(self):
        self.full = "slot"


@dataclasses.dataclass
class Plain:
    one: object = 1
    two: object = None
    kind = "of the class"


def test_what_an_object_holds_is_read():
    plain = Plain(two={"k": [Pair("l", 2), Slots(), Colour.RED, Shade.DARK]})
    plain.own = types.SimpleNamespace(deep=True)
    assert read("x.one", plain) == 1
    assert read("x.kind", plain) == "of the class"
    assert read("x.own.deep", plain) is True
    assert read("x.two['k'][0].left", plain) == "l"
    assert read('x.two["k"][0][1]', plain) == 2
    assert read("x.two['k'][1].full", plain) == "slot"
    assert read("x.two['k'][1].empty", plain) is None
    assert read("x.two['k'][2].value", plain) == "red"
    assert read("x.two['k'][-2].name", plain) == "RED"
    assert read("x.two['k'][3]", plain) == "dark"
    assert read("len(x.two['k'])", plain) == 4
    assert read("x.__class__.__name__", plain) == "Plain"
    assert read("x.kind", Plain) == "of the class"
    assert read("len(x)", collections.deque([1])) is None
    assert read("x['k']", collections.OrderedDict(k=1)) == read("x['k']", collections.defaultdict(int, k=1)) == 1
    assert read("x.missing", plain) is read("x.one.two.three", plain) is read("x['k']", plain) is None
    assert read("x", uuid.uuid4()) is read("x", b"bytes") is read("x", [1]) is read("x", 2**70) is None


# No code of the service runs


class Ran(BaseException):
    """Not an Exception, so that nothing of ours could hide it."""


def run(*_, **__):
    raise Ran


class Trap(type):
    __eq__ = __hash__ = __getattribute__ = __instancecheck__ = __subclasscheck__ = run


class Descriptor:
    __get__ = run


class DataDescriptor:
    __get__ = __set__ = __getattribute__ = run
    __class__ = property(run)


class Lazy(dict):
    __getitem__ = __missing__ = __contains__ = get = __len__ = __iter__ = run


class Sequence(list):
    __getitem__ = __len__ = __iter__ = run


class Text(str):  # noqa: SLOT000
    __str__ = __len__ = __getitem__ = __hash__ = __eq__ = run


class Number(int):
    __int__ = __index__ = __add__ = bit_length = __bool__ = run


class Hostile:
    __getattr__ = __getattribute__ = __len__ = __getitem__ = __eq__ = __hash__ = __bool__ = __iter__ = run
    lazy = property(run)
    descriptor = Descriptor()
    data = DataDescriptor()

    def method(self):
        raise Ran


class HiddenDict:
    __dict__ = property(run)


def hostile():
    class OfTrap(metaclass=Trap):  # not in the module: pytest looks at what is there
        pass

    found = object.__new__(Hostile)
    object.__setattr__(found, "held", "value")
    object.__setattr__(found, "items", Lazy(k=1))
    object.__setattr__(found, "list", Sequence([1]))
    object.__setattr__(found, "text", Text("t"))
    object.__setattr__(found, "number", Number(7))
    object.__setattr__(found, "trap", OfTrap())
    object.__setattr__(found, "hidden", HiddenDict())
    # A property is code even where the instance holds something of the same name.
    object.__getattribute__(found, "__dict__")["lazy"] = "held under the property's name"
    return found


READINGS = {
    "x.held": "value", "x.text": "t", "x.number": 7, "x.lazy": None, "x.descriptor": None, "x.data": None,
    "x.method": None, "x.nothing": None, "x.items['k']": None, "x.items['other']": None, "len(x.items)": None,
    "x.list[0]": None, "len(x.list)": None, "len(x)": None, "x['k']": None, "x[0]": None, "len(x.text)": None,
    "x.trap.anything": None, "x.hidden.anything": None, "x.hidden.__dict__": None,
    "x.trap.__class__.__name__": "OfTrap",
}  # fmt: skip


@pytest.mark.parametrize("text", READINGS)
def test_nothing_of_the_service_is_called(text):
    for _ in range(2):  # what is remembered of a class, too
        assert read(text, hostile()) == READINGS[text]


@given(st.lists(STEPS, max_size=4), st.booleans())
def test_no_path_calls_anything(steps, length):
    text = written("x", steps)
    read(f"len({text})" if length else text, hostile())


def test_a_property_that_came_later_is_not_called():
    class Service:
        def __init__(self):
            self.name = "held"

    service = Service()
    assert read("x.name", service) == "held"
    Service.name = property(run)
    assert read("x.name", service) in ("held", None)


# Versioned objects: oslo.versionedobjects' own, in a process of its own, for it brings oslo.service with a backend


def test_fields_of_versioned_objects_are_read_when_they_are_set():
    program = Path(__file__).parent / "programs" / "versioned_objects.py"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


# SQLAlchemy: what is loaded, without a query


class Base(orm.DeclarativeBase):
    pass


class Project(Base):
    __tablename__ = "projects"
    id = sqlalchemy.Column(sqlalchemy.Integer, primary_key=True)
    name = sqlalchemy.Column(sqlalchemy.String(20))
    servers = orm.relationship("Server", back_populates="project")


class Server(Base):
    __tablename__ = "servers"
    id = sqlalchemy.Column(sqlalchemy.Integer, primary_key=True)
    name = sqlalchemy.Column(sqlalchemy.String(20))
    notes = orm.deferred(sqlalchemy.Column(sqlalchemy.String(20)))
    project_id = sqlalchemy.Column(sqlalchemy.ForeignKey("projects.id"))
    project = orm.relationship(Project, back_populates="servers")


@pytest.fixture
def session():
    engine = sqlalchemy.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with orm.Session(engine) as made:
        made.add(Server(id=1, name="vm", notes="long", project=Project(id=7, name="p")))
        made.commit()
        statements = made.statements = []
        sqlalchemy.event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
        yield made
    engine.dispose()


def test_columns_and_relations_are_read_when_they_are_loaded(session):
    server = session.get(Server, 1)
    asked = len(session.statements)
    assert read("server.name", server) == "vm"
    assert read("server.project_id", server) == 7
    assert read("server.notes", server) is None
    assert read("server.project.name", server) is None
    assert len(session.statements) == asked
    assert server.project.name == "p"
    asked = len(session.statements)
    assert read("server.project.name", server) == "p"
    session.expire(server)
    assert read("server.name", server) is None
    assert len(session.statements) == asked
    session.expunge(server)
    assert read("server.name", server) is None  # detached: asking it would raise
    assert read("Server.name", Server) is None
