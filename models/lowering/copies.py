"""Row copies: the last tokens of a batch, and the pixel shuffle of the connector (spec §9.1, §9.2)."""

from __future__ import annotations

from plena_emu.models.builder import Builder
from plena_emu.models.machine import Activation


def copy_rows(b: Builder, x: Activation, out: Activation, *, first_row: int, step: int, count: int) -> None:
    """Copy `count` rows, `step` rows apart from `first_row` on, to the first rows of `out`, in every column block."""
    with b.register(x.at(0, first_row)) as source, b.register(out.address) as to, b.loop(out.blocks):
        with b.loop(count):
            b.emit("V_ADD_VF", to, source, 0)
            b.advance(source, step * x.vlen)
            b.advance(to, out.vlen)
        b.advance(source, x.block_step - count * step * x.vlen)
        b.advance(to, out.block_step - count * out.vlen)


def pixel_shuffle(b: Builder, x: Activation, out: Activation, *, side: int, scale: int) -> None:
    """Put the patches of each `scale` × `scale` square side by side in one row of `out`.

    Patch (i · scale + di, j · scale + dj) becomes the column blocks (di · scale + dj) · blocks … of row (i, j), where
    blocks is the number of column blocks of `x`.
    """
    few = side // scale
    with b.register(x.address) as source, b.register(out.address) as to, b.loop(scale):
        with b.loop(scale):
            with b.loop(x.blocks):
                with b.loop(few):
                    with b.loop(few):
                        b.emit("V_ADD_VF", to, source, 0)
                        b.advance(source, scale * x.vlen)
                        b.advance(to, out.vlen)
                    b.advance(source, (scale - 1) * side * x.vlen)
                b.advance(source, x.block_step - side * side * x.vlen)
                b.advance(to, out.block_step - few * few * out.vlen)
            b.advance(source, x.vlen - x.blocks * x.block_step)
        b.advance(source, (side - scale) * x.vlen)
