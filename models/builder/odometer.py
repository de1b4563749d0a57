"""Nested loops as one loop that counts its indices itself.

MAX_LOOP_INSTRUCTIONS bounds one iteration of every active loop, inner iterations included (spec §9.4). Of nested loops
the outer ones soon reach it; of one loop over all combinations of their indices only the body counts.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence

import msgspec

from .program import Builder, Register


class Digit(msgspec.Struct, frozen=True):
    """An index from 0 to `count` − 1, or to `count` − 1 − `less` · the index that is `behind` places before it."""

    count: int
    less: int = 0
    behind: int = 1


def combinations(digits: Sequence[Digit]) -> int:
    """Count the combinations of indices.

    Returns
    -------
    int
    """
    reach = max((digit.behind for digit in digits if digit.less), default=0)
    counts: dict[tuple[int, ...], int] = {(): 1}  # the last indices that matter: combinations that end with them
    total = 1
    for digit in digits:
        left = {before: digit.count - (digit.less * before[-digit.behind] if digit.less else 0) for before in counts}
        total = sum(times * left[before] for before, times in counts.items())
        after: dict[tuple[int, ...], int] = {}
        for before, times in counts.items():
            if not reach or digit is digits[-1]:
                after[()] = total
                break
            for index in range(left[before]):
                key = (*before, index)[-reach:]
                after[key] = after.get(key, 0) + times
        counts = after
    return total


@contextlib.contextmanager
def every_index(b: Builder, *digits: Digit) -> Iterator[tuple[Register, ...]]:
    """Execute the block for every combination of indices, the last one running fastest.

    For two digits of 2 and 3 the block sees (0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2).

    Yields
    ------
    tuple of Register
        An index a digit; the block keeps them. gp0 for a digit that is always 0.
    """
    moving = [digit.count > 1 for digit in digits]
    with b.registers(sum(moving)) as lent, contextlib.ExitStack() as stack:
        for index in lent:
            b.set(index, 0)
        stack.enter_context(b.loop(combinations(digits)))
        left = iter(lent)
        indices = [next(left) if moves else Register(0) for moves in moving]
        yield tuple(indices)
        _count_up(b, digits, indices)


def _count_up(b, digits, indices):
    """Add 1 to the last index that moves, and carry."""
    places = [place for place, digit in enumerate(digits) if digit.count > 1]
    if places:
        b.advance(indices[places[-1]], 1)
    for to, place in reversed(list(itertools.pairwise(places))):
        digit, index = digits[place], indices[place]
        with b.registers(2) as (count, full):
            b.set(count, digit.count)
            if digit.less and indices[place - digit.behind] != Register(0):
                b.advance_times(count, indices[place - digit.behind], -digit.less)
            with b.register() as rest:
                b.emit("S_SUB_INT", rest, count, index)
                b.is_zero(full, rest)
            b.emit("S_MUL_INT", count, count, full)
            b.emit("S_SUB_INT", index, index, count)
            b.emit("S_ADD_INT", indices[to], indices[to], full)
