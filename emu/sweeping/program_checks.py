"""Which values of the compiler's keys leave no program that fits the machine: refused before a point runs."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import EmuError, UsageError
from ..inputs.words import shown
from .keys import MODEL, in_keys, key_of
from .points import Point
from .values import Value
from .variants import GEOMETRY

MOST_MISFITS = 50  # programs that do not fit, until nothing more is looked for


def check_programs(points: Iterable[Point]) -> None:
    """Refuse a value with which no program of these points can be: a long prompt no machine of the study holds.

    Programs are planned, not written: each until all of its values are in one that can be. A program that cannot be
    although each of its values is in another that can is a point that fails.

    Raises
    ------
    UsageError
        Names the values, and what the compiler says.
    """
    from ..models.compiler import check_plan

    good: set[tuple[str, Value]] = set()
    misfits: list[tuple[list[tuple[str, Value]], str]] = []
    seen: set[str] = set()
    for point in points:
        if MODEL not in point.values or point.group in seen:
            continue
        seen.add(point.group)
        values = [(key, value) for key, value in point.values.items() if _is_of_program(key)]
        if good.issuperset(values):
            continue
        try:
            check_plan(str(point.values[MODEL]), weights="none", **point.specification["program"]["options"])
            good.update(values)
        except EmuError as error:
            misfits.append((values, in_keys(str(error))))
            if len(misfits) > MOST_MISFITS:
                return
    for values, message in misfits:
        bad = dict(value for value in values if value not in good)
        if len(bad) > 1:
            bad.pop(MODEL, None)  # one model, with which nothing else fits: the others say more
        if bad:
            told = ", ".join(f"{key} {value if isinstance(value, str) else shown(value)}" for key, value in bad.items())
            raise UsageError(f"{told}: {message}")


def _is_of_program(key):
    return key_of(key).scope in ("program", "compile") or key.removeprefix("settings.") in GEOMETRY
