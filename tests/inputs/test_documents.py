"""Do JSON, TOML and YAML give plain values or one line of our own words, never a traceback?"""

import json
import tomllib

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from plena_emu.errors import EmuError
from plena_emu.inputs.documents import parse_json, parse_toml, parse_yaml

PARSERS = {"json": parse_json, "toml": parse_toml, "yaml": parse_yaml}
PYTHONS_WORDS = ("4300", "sys.set_int", "invalid literal", "not enough values", "month must", "NoneType")


def refused(parse, text):
    with pytest.raises(EmuError) as caught:
        parse(text, "board x")
    message = str(caught.value)
    assert message.startswith("board x") and message.isprintable() and not any(w in message for w in PYTHONS_WORDS)
    return message


@pytest.mark.parametrize("kind, text, words", [
    ("json", "{", "not JSON: line 1, column 2"), ("json", "", "not JSON: line 1"), ("json", "[" * 100000, "nested too"),
    ("json", "1" * 5000, "too many digits"), ("json", '{"a": 1, "a": 2}', "x: a: found twice, expected once"),
    ("json", '{"p": [0, {"q": {"a": 1, "b": 2, "a": 1}}]}', "x: p[1].q.a: found twice, expected once"),
    ("json", r'{"\ud800": 1}', "halves of surrogate pairs"), ("json", r'[["\udc00"]]', "halves of surrogate pairs"),
    ("json", '{"a": NaN}', "found NaN, expected a finite number"), ("json", "[-Infinity]", "found -Infinity"),
    ("json", "[1e999]", "found 1e999, expected"), ("json", "1" * 400 + ".0", "expected a finite number"),
    ("toml", "x = 1\nx = 2", "not valid TOML"), ("toml", "x = " + "1" * 5000, "too many digits"),
    ("toml", "x = " + "[" * 5000, "nested too"), ("toml", "x = 1979-13-01", "not valid TOML"),
    ("yaml", "name: [", "line"), ("yaml", "a: 1\n b: 2\n", "line 2"), ("yaml", "a: 1\na: 2\n", "line 2: not valid"),
    ("yaml", "[" * 5000, "nested too"), ("yaml", "a: \x01", "not valid YAML"), ("yaml", 'name: "\\uD800"', "halves"),
    *[("yaml", text, "not valid YAML") for text in (
        "!!map [a, b]", "!!set [a]", "name: !!int ''", "!!float ''", "!!bool x", "!!timestamp x", "!!python/none x",
        "a: " + "1" * 5000)],
])
def test_what_is_refused(kind, text, words):
    assert words in refused(PARSERS[kind], text)


def test_pairs_of_surrogates_are_text():
    assert parse_json(r'{"\ud83d\ude00": 1}', "x") == {"\U0001f600": 1}


def test_a_yaml_value_that_contains_itself():
    data = parse_yaml("&a [*a]", "x")
    assert data[0] is data


plain = st.recursive(st.none() | st.booleans() | st.integers(-2**70, 2**70) | st.text(st.characters(codec="utf-8")),
                     lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=4), inner), max_leaves=12)


@settings(max_examples=100, deadline=None)
@given(plain)
def test_json_arrives(data):
    assert parse_json(json.dumps(data), "x") == data


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(PARSERS)), st.text(st.sampled_from("{}[]:,\"'-!&*|>#=. \n0xea\\u"), max_size=30))
def test_noise_gives_a_value_or_a_line(kind, text):
    try:
        data = PARSERS[kind](text, "board x")
    except EmuError as error:
        assert str(error).startswith("board x") and str(error).isprintable()
    else:
        known = {"json": json.loads, "toml": tomllib.loads, "yaml": yaml.safe_load}[kind]
        assert repr(data) == repr(known(text))
