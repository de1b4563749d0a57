"""Loops over vector rows: the frame of every row-wise operator."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from plena_emu.models.builder import Builder, Register

# Where the constant of a norm comes from, for errors; the program adds width · ε to a sum of squares.
EPSILON = "rms_norm_eps or layer_norm_eps times the width:"


@contextlib.contextmanager
def each_row(b: Builder, count: int, *steps: tuple[Register, int], unroll: int = 4) -> Iterator[None]:
    """Execute the block once a row; afterwards each register of `steps` moves by its step.

    Registers keep moving past the last row, so that loops over neighbouring matrices can follow one another.
    """
    with b.loop(count, unroll=unroll):
        yield
        for register, step in steps:
            b.advance(register, step)
