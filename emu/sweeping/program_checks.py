"""Which values of the compiler's keys leave no program that fits the machine: refused before a point runs."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import EmuError, UsageError
from ..inputs.words import shown
from .keys import MODEL, in_keys, key_of
from .points import Point
from .values import Value
from .variants import GEOMETRY

_GROWING = ("prefill", "past", "batch", "layers")  # where a program fits, one with less of it does
MOST_MISFITS = 50  # programs that do not fit, until nothing more is looked for


def check_programs(points: Iterable[Point]) -> None:
    """Refuse a value with which no program of these points can be: a long prompt no machine of the study holds.

    Programs are planned, not written, the largest first, until each value is in one that can be. A program that cannot
    be although each of its values is in another that can is a point that fails.

    Raises
    ------
    UsageError
        Names the values, and what the compiler says.
    """
    from ..models.compiler import check_plan

    good: set[tuple[str, Value]] = set()
    most: dict[str, int] = dict.fromkeys(_GROWING, 0)  # the largest that fitted
    misfits: list[tuple[list[tuple[str, Value]], str]] = []
    programs = {point.group: point for point in points if MODEL in point.values}
    for point in sorted(programs.values(), key=_size, reverse=True):
        values = [(key, value) for key, value in point.values.items() if _is_of_program(key)]
        if all(value in good or _size_of(*value) <= most.get(value[0], -1) for value in values):
            continue
        try:
            check_plan(str(point.values[MODEL]), weights="none", **point.specification["program"]["options"])
        except EmuError as error:
            misfits.append((values, in_keys(str(error))))
            if len(misfits) > MOST_MISFITS:
                return
        else:
            good.update(values)
            most = {key: max(number, _size_of(key, point.values.get(key))) for key, number in most.items()}
    for values, message in misfits:
        bad = dict(value for value in values if value not in good and _size_of(*value) > most.get(value[0], -1))
        if len(bad) > 1:
            bad.pop(MODEL, None)  # one model, with which nothing else fits: the others say more
        if bad:
            told = ", ".join(f"{key} {value if isinstance(value, str) else shown(value)}" for key, value in bad.items())
            raise UsageError(f"{told}: {message}")


def _size(point):
    return [_size_of(key, point.values.get(key)) for key in _GROWING]


def _size_of(key, value):
    """How large a program a value makes; 0 for keys of which that cannot be said."""
    return value if key in _GROWING and isinstance(value, int) else 0


def _is_of_program(key):
    return key_of(key).scope in ("program", "compile") or key.removeprefix("settings.") in GEOMETRY
