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
    with b.registers(2) as (row, masking), b.register(scratch) as sums:
        b.set(row, scores)
        if mask is not None:
            b.set(masking, mask)
        if not shape.causal:
            last = shape.block_step * (shape.key_blocks - 1)
            with b.register() as masked:
                b.advance(masked, last, row)
                with b.loop(shape.real_rows, unroll=4 if shape.key_blocks == 1 else 1):
                    _row(b, shape, lowest, row, masked, mask is not None and masking, sums, None)
                    b.advance(row, machine.mlen)
                    b.advance(masked, machine.mlen)
            return
        whole, rest = divmod(shape.real_rows, machine.mlen)
        with b.registers(2) as (missing, masked):
            b.set(missing, shape.key_blocks - 1)
            b.set(masked, row)
            for blocks, rows in ((whole, machine.mlen), (1, rest)):
                if blocks and rows:
                    with b.loop(blocks):
                        _query_block(b, machine, shape, lowest, rows, row, masked, masking, sums, missing)
                        b.advance(row, shape.query_step - rows * machine.mlen)
                        b.advance(masked, shape.query_step + shape.block_step - rows * machine.mlen)
                        b.set(masking, mask)
                        b.advance(missing, -1)


def _query_block(b, machine, shape, lowest, rows, row, masked, masking, sums, missing):
    with b.loop(rows, unroll=4 if shape.key_blocks == 1 else 1):
        _row(b, shape, lowest, row, masked, masking, sums, missing)
        for register in (row, masked, masking):
            b.advance(register, machine.mlen)


def _row(b, shape, lowest, row, masked, masking, sums, missing):
    """One row; `masked` is its last key block, `missing` (None: 0) the key blocks it does not attend to."""
    if masking:
        b.emit("V_ADD_VV", masked, masked, masking)
    b.emit("S_LD_FP", 1, 0, lowest)
    b.emit("S_ADD_FP", 2, 0, 0)
    if shape.key_blocks == 1:
        b.emit("V_RED_MAX", 1, row)
        b.emit("V_SUB_VF", row, row, 1, 0, 0)
        b.emit("V_EXP_V", row, row)
        b.emit("V_RED_SUM", 2, row)
        b.emit("S_RECI_FP", 2, 2)
        b.emit("V_MUL_VF", row, row, 2)
        return
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
