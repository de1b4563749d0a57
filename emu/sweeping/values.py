"""Values of an axis as people write them: lists, ranges that double, ranges of steps, ranges of N geometric points."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import NamedTuple

import yaml

from ..config.units import U64_MAX, parse_count, parse_rate, parse_size
from ..errors import UsageError
from ..inputs.words import cut, shown

Value = int | float | str | bool | None

MOST_VALUES = 100_000  # of one axis
_RANGE = re.compile(r"(?P<first>[^/:]+?)\.\.(?P<last>[^/:]+?)(?:/(?P<count>[^/:]*)|:(?P<step>[^/:]*))?")
_SUFFIX = re.compile(r"[0-9.]+[kKmMgGtT]([iI]?[bB])?(/s)?")
_DEFAULT = "default"


class Kind(NamedTuple):
    """How a value of an axis is written: its name in messages, its reader, and what a number of a range becomes.

    `read` takes text and raises `UsageError`; `number` is None where there are no ranges, else `int` or `float`.
    """

    name: str
    read: Callable[[str], Value]
    number: type | None


def _number(text):
    try:
        found = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise UsageError(f"number {cut(text)!r}: expected a finite number such as 133.5")
    return found


def _name(text):
    if not text:
        raise UsageError("found an empty name")
    return text


def _flag(text):
    if text not in ("true", "false"):
        raise UsageError(f"flag {cut(text)!r}: expected true or false")
    return text == "true"


def _scalar(text):
    """A value of a YAML file, as YAML reads it; sizes with a suffix are bytes."""
    if re.fullmatch(r"[0-9]+[KMGT](i?B)?", text):
        return parse_size(text)
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        found = text
    return found if isinstance(found, int | float | bool | str) else text


SIZE = Kind("size", parse_size, int)
RATE = Kind("rate", parse_rate, int)
COUNT = Kind("count", lambda text: parse_count(text), int)
NUMBER = Kind("number", _number, float)
NAME = Kind("name", _name, None)
FLAG = Kind("flag", _flag, None)
SCALAR = Kind("value", _scalar, int)


def read_values(written: object, kind: Kind, key: str) -> list[Value]:
    """Read the values of an axis.

    Parameters
    ----------
    written : str, number, bool, None or list of those
        Text may hold a list (`a,b`) and ranges: `2M..1G` doubles, `2..9` steps by 1, `64..512:64` steps by 64,
        `2M..1G/9` is nine points whose quotients are equal. `default`, like None, leaves a key out.
    kind : Kind
        How the values are written.
    key : str
        Name of the axis, for messages.

    Returns
    -------
    list
        In the order written, each once.

    Raises
    ------
    UsageError
        A value is none of its kind, a range is empty or endless, or a value stands there twice.
    """
    found: list[Value] = []
    for part in written if isinstance(written, list | tuple) else [written]:
        try:
            found += _values_of(part, kind)
        except UsageError as error:
            raise UsageError(f"{key}: {error}") from None
    if not found:
        raise UsageError(f"{key}: found no value, expected at least one")
    if len(found) > MOST_VALUES:
        raise UsageError(f"{key}: found {len(found)} values, expected at most {MOST_VALUES}")
    seen = set()
    for value in found:
        mark = (type(value) is bool, value)
        if mark in seen:
            raise UsageError(f"{key}: found {shown(value)} twice, expected each value once")
        seen.add(mark)
    return found


def _values_of(part, kind):
    if part is None:
        return [None]
    if isinstance(part, str):
        return [value for text in part.split(",") for value in _values_of_text(text.strip(), kind)]
    if isinstance(part, bool) and kind in (FLAG, SCALAR):
        return [part]
    if isinstance(part, int | float) and not isinstance(part, bool):
        text = str(int(part)) if isinstance(part, float) and part.is_integer() and kind.number is int else str(part)
        return [part] if kind is SCALAR else [kind.read(text)]
    raise UsageError(f"found {shown(part)}, expected a {kind.name}, a list of them or a range")


def _values_of_text(text, kind):
    if text == _DEFAULT:
        return [None]
    match = _RANGE.fullmatch(text) if kind.number else None
    if match is None:
        return [kind.read(text)]
    first, last = (_end(match[name], kind) for name in ("first", "last"))
    if kind is SCALAR and (isinstance(first, str | bool) or isinstance(last, str | bool)):
        return [kind.read(text)]
    if not first <= last:
        began, ended = match["first"].strip(), match["last"].strip()
        raise UsageError(f"range {cut(text)!r}: begins at {began} and ends at {ended}, expected the smaller first")
    whole = isinstance(first, int) and isinstance(last, int)
    if match["count"] is not None:
        return _geometric(text, first, last, match["count"], whole)
    if match["step"] is not None:
        return _stepped(text, first, last, kind.read(match["step"]))
    if _SUFFIX.fullmatch(match["first"]) or _SUFFIX.fullmatch(match["last"]):
        return _doubled(text, first, last)
    return _stepped(text, first, last, 1)


def _end(text, kind):
    return kind.read(text.strip())


def _doubled(text, first, last):
    if first <= 0:
        raise UsageError(f"range {cut(text)!r}: begins at {first}, which no doubling leaves")
    values = [first]
    while values[-1] * 2 <= last:
        values.append(values[-1] * 2)
    return values


def _stepped(text, first, last, step):
    if isinstance(step, str | bool) or not step > 0:
        raise UsageError(f"range {cut(text)!r}: found a step of {shown(step)}, expected more than 0")
    count = math.floor((last - first) / step + 1e-9) + 1
    if count > MOST_VALUES:
        raise UsageError(f"range {cut(text)!r}: has {count} values, expected at most {MOST_VALUES}")
    return [first + number * step for number in range(count)]


def _geometric(text, first, last, count, whole):
    """N points from the first to the last, each the same multiple of the one before; whole numbers are rounded."""
    number = parse_count(count, "number of points")
    if not 2 <= number <= MOST_VALUES or first <= 0:
        raise UsageError(f"range {cut(text)!r}: expected 2 to {MOST_VALUES} points of a range above 0")
    ratio = math.log(last / first)
    values = [first * math.exp(ratio * step / (number - 1)) for step in range(number)]
    values[0], values[-1] = first, last
    found = list(dict.fromkeys(round(value) for value in values)) if whole else values
    if whole and max(found) > U64_MAX:
        raise UsageError(f"range {cut(text)!r}: does not fit in 64 bits")
    return found
