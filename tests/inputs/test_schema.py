"""Does the one message mapper find what msgspec refuses, and say it in one wording without msgspec's words?"""

import copy
import re
import subprocess
import sys
from typing import Annotated, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta
from support import settings_document

from plena_emu.bench.record import BenchRecord
from plena_emu.boards.dram_schema import DramFile
from plena_emu.boards.schema import BoardFile
from plena_emu.config.settings import _document
from plena_emu.errors import EmuError
from plena_emu.inputs.number_formats import Fp, Int, Mx, Plain
from plena_emu.inputs.schema import convert
from plena_emu.inputs.words import cut, shown
from plena_emu.manifests.schema import _File


class Row(msgspec.Struct, array_like=True):
    level: Literal["rank", "bank"]
    clocks: Annotated[int, Meta(ge=0, le=9)]
    window: int = 1


class Form(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1)]
    share: Annotated[int, Meta(ge=1)] | Annotated[float, Meta(gt=0)]
    kind: Plain | Mx
    rows: list[Row] = []
    pair: tuple[float, float] = (0.0, 0.0)
    cells: dict[Literal["a", "b"], bool] = {}
    bits: Annotated[str, Meta(pattern="^[0-9]+$", description="bits joined by ^")] | None = None


SOUND = {"name": "x", "share": 2, "kind": {"format": "Plain", "DATA_TYPE": {"type": "Int", "width": 8}}}
MX = {"format": "Mx", "block": 8, "ELEM": {"type": "Int", "width": 8}, "SCALE": {"type": "Fp", "sign": False,
      "exponent": 8, "mantissa": 0}}


@pytest.mark.parametrize("change, line", [
    ({"name": ""}, "name: found '', expected text that is not empty"),
    ({"name": 7}, "name: found 7, expected text"),
    ({"share": 0}, "share: found 0, expected a number above 0"),
    ({"share": True}, "share: found true, expected a number above 0"),
    ({"share": "1"}, "share: found '1', expected a number above 0"),
    ({"kind": 3}, "kind: found 3, expected a table"),
    ({"kind": {}}, "kind.format: found nothing, expected one of Plain, Mx"),
    ({"kind": {"format": "mx"}}, "kind.format: found 'mx', expected one of Plain, Mx"),
    ({"kind": {"format": "Plain"}}, "kind.DATA_TYPE: found nothing, expected a table"),
    ({"kind": MX | {"block": 0}}, "kind.block: found 0, expected an integer from 1 to 65535"),
    ({"kind": MX | {"SCALE": {"type": "Fp", "sign": 1, "exponent": 8, "mantissa": 0}}},
     "kind.SCALE.sign: found 1, expected true or false"),
    ({"rows": {}}, "rows: found a table, expected a list"),
    ({"rows": [["rank", 1], ["chip", 1]]}, "rows[1][0]: found 'chip', expected one of bank, rank"),
    ({"rows": [["rank", 10]]}, "rows[0][1]: found 10, expected an integer from 0 to 9"),
    ({"rows": [["rank"]]}, "rows[0]: found a list of 1, expected a list of level, clocks, [window]"),
    ({"rows": ["rank"]}, "rows[0]: found 'rank', expected a list of level, clocks, [window]"),
    ({"pair": [1.0]}, "pair: found a list, expected a list of 2 values"),
    ({"pair": [1, "2"]}, "pair[1]: found '2', expected a number"),
    ({"cells": {"c": True}}, "cells.c: found an unknown key, expected one of a, b"),
    ({"cells": {"a": 1}}, "cells.a: found 1, expected true or false"),
    ({"bits": "x"}, "bits: found 'x', expected bits joined by ^"),
    ({"shares": 1}, "shares: found an unknown key, expected share perhaps"),
    ({"share": 2**300, "name": 0}, "name: found 0, expected text"),
])
def test_wordings(change, line):
    with pytest.raises(EmuError) as caught:
        convert(SOUND | change, Form, "form f.x")
    assert str(caught.value) == f"form f.x: {line}"


def test_a_missing_key_and_a_document_that_is_none():
    with pytest.raises(EmuError, match="^f: share: found nothing, expected a number above 0$"):
        convert({"name": "x"}, Form, "f")
    with pytest.raises(EmuError, match="^f: found an empty list, expected a table$"):
        convert([], Form, "f")


def test_unknown_keys_at_every_depth():
    data = copy.deepcopy(SOUND)
    data["kind"]["DATA_TYPE"]["colour"] = 1
    assert convert(data, Form, "f").kind == Plain(Int(8))
    with pytest.raises(EmuError, match=r"^f: kind.DATA_TYPE.colour: found an unknown key, expected width$"):
        convert(data, Form, "f", known_only=True)


def test_values_are_shown_short():
    assert shown("x" * 50) == "'" + "x" * 37 + "...'" and cut("x" * 40) == "x" * 40
    assert shown(0xF << 16000) == "an integer of 16004 bits"
    deep = []
    for _ in range(10**5):
        deep = [deep]
    assert shown(deep) == "a list" and [shown(v) for v in (None, False, 1.5, {})] == ["null", "false", "1.5", "a table"]


MSGSPEC = re.compile(r"`|Expected |got |Object|Invalid|Decod|\$")
values = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
                      lambda inner: (st.lists(inner, max_size=3)
                                     | st.dictionaries(st.text(max_size=5), inner, max_size=3)), max_leaves=5)


def places(data, path=()):
    """Every path into nested dicts and lists."""
    yield path
    for key, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield from places(value, (*path, key))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_is_refused_is_explained(data):
    """A value somewhere in a sound document replaced by anything: accepted as before, or named by its place."""
    document = settings_document()
    path = data.draw(st.sampled_from(list(places(document))[1:]))
    parent = document
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = data.draw(values)
    try:
        convert(document, _document(), "settings s")
    except EmuError as error:
        words = str(error)
        where = re.fullmatch(r"settings s: ([\w.]+): found .*, expected .*", words, re.DOTALL)
        assert where and not MSGSPEC.search(words.partition("expected")[2]), words
        common = ".".join(path)
        assert where[1].startswith(common) or common.startswith(where[1])


@pytest.mark.parametrize("kind", [BenchRecord, DramFile, BoardFile, _File])
@settings(max_examples=60, deadline=None)
@given(data=values)
def test_every_schema_has_words(kind, data):
    with pytest.raises(EmuError, match="^f: .*found .*, expected .*") as caught:
        convert(data, kind, "f")
    assert not MSGSPEC.search(str(caught.value).partition("expected")[2])


def test_number_formats():
    assert (str(Fp(True, 8, 7)), Mx(Fp(True, 4, 3), Fp(False, 8, 0), 8).ratio) == ("e8m7", 8)
    assert msgspec.to_builtins(Plain(Int(8))) == SOUND["kind"]


THREADS = """
import sys, threading
import msgspec
from plena_emu.inputs.schema import convert

sys.setswitchinterval(1e-6)

def job(kind):
    begin.wait()
    made.append(convert(data, kind, "x"))

made = []
data = {f"g{i}": {f"f{j}": [1] for j in range(20)} for i in range(20)}
for number in range(30):
    inner = msgspec.defstruct(f"Inner{number}", [(f"f{j}", list[int | None]) for j in range(20)])
    kind = msgspec.defstruct(f"Outer{number}", [(f"g{i}", inner | None) for i in range(20)])
    begin = threading.Barrier(8)
    threads = [threading.Thread(target=job, args=(kind,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print(len(made), all(msgspec.to_builtins(one) == data for one in made))
"""


def test_first_uses_of_a_type_in_many_threads():
    """Msgspec alone crashes here: one thread meets the type that another is still building."""
    run = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True, timeout=120)
    assert (run.returncode, run.stdout, run.stderr) == (0, "240 True\n", "")


class Inner(msgspec.Struct, rename={"first": "from"}):
    first: int
    rate: float = 1.0


class Outer(msgspec.Struct):
    inner: Inner
    rows: list[Inner] = []
    names: dict[str, int | float] = {}
    anything: object = None


FITS = {"inner": {"from": 1, "rate": 2}, "rows": [{"from": 2}, {"from": 3, "rate": 0.5}], "names": {"a": 1, "b": 1.5},
        "anything": [1, {"x": None}]}


def test_what_holds_nothing_unknown_is_not_walked(monkeypatch):
    monkeypatch.setattr("plena_emu.inputs.schema._find_misfit", lambda *_: pytest.fail("walked"))
    made = convert(FITS, Outer, "file f", known_only=True)
    assert made.rows[1] == Inner(first=3, rate=0.5) and made.anything == [1, {"x": None}]


@pytest.mark.parametrize(("change", "message"), [
    ({"extra": 1}, "extra: found an unknown key"),
    ({"inner": {"from": 1, "first": 2}}, "inner.first: found an unknown key"),
    ({"rows": [{"from": 1}, {"from": 1, "rates": 1.0}]}, "rows[1].rates: found an unknown key"),
    ({"inner": {"from": 1, "rate": float("inf")}}, "inner.rate: found inf"),
    ({"names": {"a": float("nan")}}, "names.a: found nan"),
])
def test_unknown_keys_are_refused_at_every_depth(change, message):
    with pytest.raises(EmuError, match=re.escape(message)):
        convert(FITS | change, Outer, "file f", known_only=True)
