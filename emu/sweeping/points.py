"""Points of a study: every combination of its axes that counts, each with a specification and the hash of it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol, TypeVar

from ..errors import UsageError
from ..inputs.words import cut
from .keys import BUILD, MODEL
from .snapshots import canonical, digest_of
from .study import Study
from .values import Value

MOST_COMBINATIONS = 100_000_000


class Point(NamedTuple):
    """One configuration.

    Attributes
    ----------
    id : str
        Hash over specification and emulator: equal points have equal results.
    values : dict
        The values of the axes, by key; keys without a value are left out.
    specification : dict
        Plain values: everything that decides about the result, inputs by hash (`specify`).
    group : str
        Equal for points of one program, whose control work can be shared.
    """

    id: str
    values: dict[str, Value]
    specification: dict
    group: str


class HasId(Protocol):
    """Whatever is of one point."""

    @property
    def id(self) -> str: ...


_Found = TypeVar("_Found", bound=HasId)


def combinations(study: Study) -> int:
    """Count the combinations of the axes, those that conditions leave out included.

    Returns
    -------
    int
    """
    return math.prod(len(rows) for _, rows in _columns(study))


def assignments(study: Study) -> Iterator[dict[str, Value]]:
    """Yield the values of each point, the last axis changing fastest; zipped axes change together.

    Yields
    ------
    dict
        By key; keys without a value are left out.

    Raises
    ------
    UsageError
        There are too many combinations, or a condition compares what cannot be compared.
    """
    total = combinations(study)
    if total > MOST_COMBINATIONS:
        raise UsageError(f"study: has {total} combinations, expected at most {MOST_COMBINATIONS}")
    columns = _columns(study)
    keys = [key for names, _ in columns for key in names]
    for row in itertools.product(*(rows for _, rows in columns)):
        values = dict(zip(keys, itertools.chain.from_iterable(row), strict=True))
        found = {key: values[key] for key in study.axes if values[key] is not None}
        if all(condition.holds(found) for condition in study.conditions):
            yield found


def _columns(study):
    """Pairs of keys and the rows of their values: zipped keys are one column."""
    zipped = {key: names for names in study.zipped for key in names}
    columns, seen = [], set()
    for key, found in study.axes.items():
        if key in seen:
            continue
        names = zipped.get(key, [key])
        seen.update(names)
        rows = [(value,) for value in found] if key not in zipped else list(
            zip(*(study.axes[name] for name in names), strict=True))
        columns.append((names, rows))
    return columns


def make_point(values: dict[str, Value], specification: dict, emulator: str) -> Point:
    """Make the point of a specification on an emulator, which its fingerprint names.

    Returns
    -------
    Point
    """
    group = digest_of(canonical([specification["program"], specification.get("settings")]))
    return Point(digest_of(canonical([emulator, specification])), values, specification, group)


def find_row(points: Sequence[_Found], beginning: str) -> _Found:
    """Find the point, or the row of a point, whose id begins so.

    Returns
    -------
    Point or Row

    Raises
    ------
    UsageError
        It is none or several.
    """
    found = [point for point in points if beginning and point.id.startswith(beginning)]
    if len(found) != 1:
        raise UsageError(f"point {cut(beginning)!r}: {len(found) or 'none'} of the study's ids begin so, expected one")
    return found[0]


def program_name(values: dict[str, Value]) -> str:
    """Name the program of a point for people: build or model."""
    return str(values.get(BUILD) or values.get(MODEL))
