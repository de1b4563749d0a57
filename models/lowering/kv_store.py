"""attn.kv_store: rows of K or V to the stored cache, in the KV type (spec §3.3, §9.2)."""

from __future__ import annotations

from plena_emu.models.builder import Builder
from plena_emu.models.machine import HbmTensor, Machine, ceil_div

from .linear import KV, WEIGHTS


def store_rows(
    b: Builder, machine: Machine, cache: HbmTensor, *, source: int, sequences: int, sequence_step: int, blocks: int,
    block_step: int, column: int, column_step: int, rows: int, first_row: int, rows_per_sequence: int,
) -> None:
    """Store `rows` rows of every sequence and column block from row `first_row` of the sequence's region on.

    H_STORE_V writes SV rows at a time: the rows up to the next multiple of SV are written as well, from the vector
    SRAM rows that follow.

    Parameters
    ----------
    cache : HbmTensor
        The first block goes to `column`, the next to `column` + `column_step`, …; sequence s starts at row
        s · rows_per_sequence.
    source : int
        Element address of the first row; `sequence_step` and `block_step` lead to the next sequence and block.
    """
    chunks = ceil_div(rows, machine.write_back)
    row_chunk = machine.write_back * machine.mlen
    b.set_transfer(WEIGHTS, cache.address, cache.scale, cache.columns)
    first = b.register(source), b.register(first_row * cache.columns + column)
    with first[0] as row, first[1] as offset, b.step(machine.write_back * cache.columns) as down, b.loop(sequences):
        with b.loop(blocks):
            with b.loop(chunks):
                b.emit("H_STORE_V", row, offset, WEIGHTS, 1, KV)
                b.advance(row, row_chunk)
                b.advance(offset, down)
            b.advance(row, block_step - chunks * row_chunk)
            b.advance(offset, column_step - chunks * machine.write_back * cache.columns)
        b.advance(row, sequence_step - blocks * block_step)
        b.advance(offset, rows_per_sequence * cache.columns - blocks * column_step)
