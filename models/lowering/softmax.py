"""attn.softmax: probabilities of the key blocks of each query row, in place (spec §9.4).

All scores of a row are in the vector SRAM, so the maximum is the row's own and nothing is rescaled later.
"""

from __future__ import annotations

import contextlib

from plena_emu.models.builder import Builder, Register
from plena_emu.models.constants import Constants
from plena_emu.models.machine import Machine

from .score_rows import ScoreRows

LOWEST = -60000.0  # below every score, and f16 holds it


def softmax_rows(b: Builder, machine: Machine, constants: Constants, shape: ScoreRows, scores: Register, *,
                 mask: int | None, scratch: int) -> None:
    """Replace the scores of one query head by their softmax.

    Parameters
    ----------
    scores : Register
        First score row; kept.
    mask : int or None
        Element address of what is added to a row's last key block: MLEN rows, one a query of a block (causal), or one
        row for all (padding keys).
    scratch : int
        Element address of a row.
    """
    lowest = constants.address(LOWEST)
    if shape.key_blocks == 1:
        _single_block(b, machine, shape, lowest, scores, mask)
        return
    with b.registers(2) as (row, masked), b.register(scratch) as sums:
        b.set(row, scores)
        with _optional(b, mask) as mask_row:
            if shape.causal:
                _causal(b, machine, shape, lowest, (row, masked, mask_row, sums), mask)
                return
            b.advance(masked, shape.block_step * (shape.key_blocks - 1), row)
            for times, rows in shape.runs(shape.real_rows, machine.mlen):
                with b.loop(times):
                    with b.loop(rows):
                        _row(b, shape, lowest, row, masked, mask_row, sums, None)
                        b.advance(row, machine.mlen)
                        b.advance(masked, machine.mlen)
                    if rows < shape.real_rows:
                        b.advance(row, shape.query_step - rows * machine.mlen)
                        b.advance(masked, shape.query_step - rows * machine.mlen)


def _optional(b, value):
    """A register with `value`, or nothing where that is None."""
    return contextlib.nullcontext() if value is None else b.register(value)


def _causal(b, machine, shape, lowest, registers, mask):
    """Block of queries by block of queries, each seeing one key block more."""
    row, masked, mask_row, sums = registers
    b.set(masked, row)
    with b.register(shape.key_blocks - 1) as missing:
        for times, rows in shape.runs(shape.real_rows, machine.mlen):
            with b.loop(times):
                with b.loop(rows):
                    _row(b, shape, lowest, row, masked, mask_row, sums, missing)
                    for register in (row, masked, mask_row):
                        b.advance(register, machine.mlen)
                b.advance(row, shape.query_step - rows * machine.mlen)
                b.advance(masked, shape.query_step + shape.block_step - rows * machine.mlen)
                b.set(mask_row, mask)
                b.advance(missing, -1)


def _single_block(b, machine, shape, lowest, scores, mask):
    """All keys are in one block: a row of scores is one SRAM row."""
    with b.register() as row, _optional(b, mask) as mask_row:
        b.set(row, scores)
        with b.loop(shape.real_rows, unroll=4):
            if mask_row:
                b.emit("V_ADD_VV", row, row, mask_row)
            b.emit("S_LD_FP", 1, 0, lowest)
            b.emit("S_ADD_FP", 2, 0, 0)
            b.emit("V_RED_MAX", 1, row)
            b.emit("V_SUB_VF", row, row, 1, 0, 0)
            b.emit("V_EXP_V", row, row)
            b.emit("V_RED_SUM", 2, row)
            b.emit("S_RECI_FP", 2, 2)
            b.emit("V_MUL_VF", row, row, 2)
            b.advance(row, machine.mlen)
            if shape.causal:
                b.advance(mask_row, machine.mlen)


def _row(b, shape, lowest, row, masked, mask_row, sums, missing):
    """One row; `masked` is its last key block, `missing` (None: 0) the key blocks it does not attend to."""
    if mask_row:
        b.emit("V_ADD_VV", masked, masked, mask_row)
    b.emit("S_LD_FP", 1, 0, lowest)
    b.emit("S_ADD_FP", 2, 0, 0)
    with b.register() as block:
        with _blocks(b, shape, row, block, missing):
            b.emit("V_RED_MAX", 1, block)
        # The lanes of all blocks are added before the one reduction; finite − itself is 0.
        b.emit("V_SUB_VV", sums, masked, masked)
        with _blocks(b, shape, row, block, missing):
            b.emit("V_SUB_VF", block, block, 1, 0, 0)
            b.emit("V_EXP_V", block, block)
            b.emit("V_ADD_VV", sums, sums, block)
        b.emit("V_RED_SUM", 2, sums)
        b.emit("S_RECI_FP", 2, 2)
        with _blocks(b, shape, row, block, missing):
            b.emit("V_MUL_VF", block, block, 2)


@contextlib.contextmanager
def _blocks(b, shape, row, block, missing):
    """Execute the block for each key block of the row."""
    b.set(block, row)
    if missing is None:
        with b.loop(shape.key_blocks, unroll=8):
            yield
            b.advance(block, shape.block_step)
        return
    with b.register() as left:
        b.set(left, missing)
        with b.loop_short_of(shape.key_blocks, left):
            yield
            b.advance(block, shape.block_step)
