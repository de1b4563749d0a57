"""residual, biases and the SwiGLU activation: operators that take one row at a time."""

from __future__ import annotations

from plena_emu.models.builder import Builder
from plena_emu.models.constants import Constants
from plena_emu.models.machine import Activation

from .rows import each_row


def add(b: Builder, x: Activation, y: Activation, *, rows: int) -> None:
    """Add `y` to `x`, both with the same rows; only the first `rows` of each column block."""
    with b.registers(2) as (to, source):
        b.set(to, x.address)
        b.set(source, y.address)
        _blocks(b, x, y, rows, to, source)


def _blocks(b, x, y, rows, to, source):
    together = rows == x.rows == y.rows  # the blocks follow one another without a gap
    with b.loop(1 if together else x.blocks):
        with each_row(b, rows * x.blocks if together else rows, (to, x.vlen), (source, y.vlen), unroll=8):
            b.emit("V_ADD_VV", to, to, source)
        if not together:
            b.advance(to, (x.rows - rows) * x.vlen)
            b.advance(source, (y.rows - rows) * y.vlen)


def add_bias(b: Builder, out: int, bias: int, *, blocks: int, rows: int, row_step: int, block_step: int,
             bias_step: int) -> None:
    """Add to every row its block's part of a bias.

    `out` and `bias` are element addresses; the bias has a row a block, `bias_step` apart; steps count elements.
    """
    with b.registers(2) as (to, source):
        b.set(to, out)
        b.set(source, bias)
        with b.loop(blocks):
            with each_row(b, rows, (to, row_step), unroll=8):
                b.emit("V_ADD_VV", to, to, source)
            b.advance(to, block_step - rows * row_step)
            b.advance(source, bias_step)


def swiglu(b: Builder, constants: Constants, gate: Activation, up: Activation, *, rows: int,
           scratch: int) -> None:
    """Replace `gate` by silu(g) · u = g · u / (1 + exp(−g)); `gate` holds −g and `up` −u, both with the same rows.

    `rows` counts rows of each column block from the first on; `scratch` is the element address of a row.
    """
    one = constants.address(1.0)
    together = rows == gate.rows
    with b.register(gate.address) as g, b.register(up.address) as u, b.register(scratch) as e:
        b.emit("S_LD_FP", 1, 0, one)
        with b.loop(1 if together else gate.blocks):
            with each_row(b, rows * gate.blocks if together else rows, (g, gate.vlen), (u, up.vlen), unroll=8):
                b.emit("V_EXP_V", e, g)
                b.emit("V_ADD_VF", e, e, 1)
                b.emit("V_RECI_V", e, e)
                b.emit("V_MUL_VV", g, g, u)
                b.emit("V_MUL_VV", g, g, e)
            if not together:
                b.advance(g, (gate.rows - rows) * gate.vlen)
                b.advance(u, (up.rows - rows) * up.vlen)
