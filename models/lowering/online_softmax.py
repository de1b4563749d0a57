"""Online softmax: probabilities of a row whose keys come chunk by chunk (spec §9.4).

A row has a running maximum m and a running sum l of exp(score − m), and its values are summed without dividing by l.
Where a chunk raises m, what was summed so far is multiplied by exp(m before − m). The division by l comes at the end.

m and l are two neighbouring rows of the vector SRAM, the *state* of a query row: m in every lane, l lane by lane. So
the state of any number of rows fits, and a row needs one reduction for its sum.
"""

from __future__ import annotations

import contextlib

from plena_emu.models.builder import Builder, Register
from plena_emu.models.constants import Constants
from plena_emu.models.machine import Machine

from .rows import each_row
from .softmax import LOWEST

STATE_ROWS = 2


def start_rows(b: Builder, machine: Machine, constants: Constants, *, state: int, rows: int, sums: int, sum_rows: int,
               finite: int) -> None:
    """Begin `rows` softmax rows, none of which has seen a key, and `sum_rows` rows of value sums.

    `state`, `sums` and `finite`, a row without Inf and NaN, are element addresses.
    """
    with b.register(state) as row, b.register(finite) as zero:
        b.emit("S_LD_FP", 1, 0, constants.address(LOWEST))
        with each_row(b, rows, (row, machine.mlen), unroll=2):
            b.emit("V_SUB_VV", row, zero, zero)
            b.emit("V_ADD_VF", row, row, 1)
            b.advance(row, machine.mlen)
            b.emit("V_SUB_VV", row, zero, zero)
        b.set(row, sums)
        with each_row(b, sum_rows, (row, machine.mlen), unroll=8):
            b.emit("V_SUB_VV", row, zero, zero)


def update_rows(
    b: Builder, machine: Machine, constants: Constants, *, rows: int, most: int, block_step: int, scores: Register,
    seen: Register, state: Register, sums: Register, parts: int, mask: Register | None, mask_step: Register | int,
    scratch: int, lanes: int = 0,
) -> None:
    """Replace the scores of a chunk by exp(score − m), and bring state and sums of their rows up to date.

    Parameters
    ----------
    rows : int
        Query rows, which follow one another.
    most, block_step : int
        Key blocks of a chunk, and elements from a row's part for one to that for the next.
    scores, seen : Register
        First score row; key blocks that the rows see, times `block_step`. Kept.
    state, sums : Register
        First rows of state and value sums (`parts` a query row); they move past them.
    mask : Register or None
        What is added to a row's last key block; `mask_step` leads to the next row's. It moves.
    scratch : int
        Element address of a row.
    lanes : int
        1 where the sums share their rows with other heads: `v_mask` then selects the head's (§1.5).
    """
    lowest, step = constants.address(LOWEST), machine.mlen
    with b.registers(3) as (row, end, walk), b.register(scratch) as added, contextlib.ExitStack() as more:
        next_block = more.enter_context(b.step(block_step))
        if mask:
            before_last = more.enter_context(b.register())
            with b.register(block_step) as block:
                b.emit("S_SUB_INT", before_last, seen, block)
        b.set(row, scores)
        with b.loop(rows):
            b.emit("S_ADD_INT", end, row, seen)
            if mask:
                b.emit("S_ADD_INT", walk, row, before_last)
                b.emit("V_ADD_VV", walk, walk, mask)
                b.advance(mask, mask_step)
            b.emit("S_LD_FP", 1, 0, lowest)
            b.emit("V_RED_MAX", 1, state)
            b.emit("S_ADD_FP", 3, 1, 0)
            b.set(walk, row)
            with b.loop_until(most, walk, end):
                b.emit("V_RED_MAX", 1, walk)
                b.advance(walk, next_block)
            b.emit("S_SUB_FP", 3, 3, 1)
            b.emit("S_EXP_FP", 3, 3)
            b.emit("V_SUB_VV", added, state, state)  # finite − itself is 0
            b.emit("V_ADD_VF", state, added, 1)
            b.advance(state, step)
            for _ in range(parts):
                b.emit("V_MUL_VF", sums, sums, 3, lanes)
                b.advance(sums, step)
            b.emit("V_MUL_VF", state, state, 3)
            b.set(walk, row)
            # A chunk's exponentials are added to one another first: small ones would vanish in a large sum.
            with b.loop_until(most, walk, end):
                b.emit("V_SUB_VF", walk, walk, 1, 0, 0)
                b.emit("V_EXP_V", walk, walk)
                b.emit("V_ADD_VV", added, added, walk)
                b.advance(walk, next_block)
            b.emit("V_ADD_VV", state, state, added)
            b.advance(state, step)
            b.advance(row, step)


def load_reciprocal(b: Builder, state: Register) -> None:
    """Load f2 with 1 / l of a query row; `state` stands at its l."""
    b.emit("S_ADD_FP", 2, 0, 0)
    b.emit("V_RED_SUM", 2, state)
    b.emit("S_RECI_FP", 2, 2)
