"""What a program is compiled for, and where its matrices lie: geometry, activations, HBM tensors (spec §1.1, §9.3)."""

from __future__ import annotations

import msgspec

from .presets import Preset

BLOCK = 8  # elements that share a scale byte
VECTOR_SRAM_ROWS = 4_194_304
MATRIX_SRAM_SIZE = 4096
MAX_LOOP_INSTRUCTIONS = 100_000


def ceil_div(value: int, unit: int) -> int:
    """Divide and round up.

    Returns
    -------
    int
    """
    return -(-value // unit)


def round_up(value: int, unit: int) -> int:
    """Round `value` up to a multiple of `unit`.

    Returns
    -------
    int
    """
    return ceil_div(value, unit) * unit


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """The geometry a program is compiled for; the names are those of spec §1.1.

    `write_back` is SV, the rows that H_STORE_V writes; `tiles` the tiles of the matrix SRAM; `vector_rows` the rows of
    the vector SRAM.
    """

    mlen: int
    blen: int
    hlen: int
    broadcast: int
    write_back: int
    tiles: int
    vector_rows: int = VECTOR_SRAM_ROWS
    max_loop_instructions: int = MAX_LOOP_INSTRUCTIONS

    @classmethod
    def of(cls, preset: Preset, vector_rows: int | None = None) -> Machine:
        """Take the geometry of a preset and of the settings that go with it (§9.8).

        Returns
        -------
        Machine
        """
        return cls(mlen=preset.mlen, blen=preset.blen, hlen=preset.hlen, broadcast=preset.broadcast,
                   write_back=preset.blen, tiles=MATRIX_SRAM_SIZE // preset.mlen,
                   vector_rows=vector_rows or VECTOR_SRAM_ROWS)

    @property
    def tile(self) -> int:
        """Elements of a matrix tile: the distance of two tile addresses."""
        return self.mlen * self.mlen

    @property
    def blocks(self) -> int:
        """Column blocks of BLEN in a tile."""
        return self.mlen // self.blen

    def tiles_of(self, columns: int) -> int:
        """Count the tiles, or column blocks of an activation, that hold `columns` columns.

        Returns
        -------
        int
        """
        return ceil_div(columns, self.mlen)

    def blocks_of(self, columns: int) -> int:
        """Count the BLEN blocks that hold `columns` columns.

        Returns
        -------
        int
        """
        return ceil_div(columns, self.blen)


class Activation(msgspec.Struct, frozen=True):
    """A matrix in the vector SRAM, column-block major: block c of row r is row c · rows + r from `address` on.

    `address` counts elements, `rows` the physical rows of a block, `columns` the columns that hold numbers.
    """

    address: int
    rows: int
    columns: int
    vlen: int

    @property
    def block_step(self) -> int:
        """Elements between a row's part in one column block and in the next."""
        return self.rows * self.vlen

    @property
    def blocks(self) -> int:
        """Column blocks."""
        return ceil_div(self.columns, self.vlen)

    def at(self, block: int, row: int = 0) -> int:
        """Find the element address of a row's part in a column block.

        Returns
        -------
        int
        """
        return self.address + (block * self.rows + row) * self.vlen


class HbmTensor(msgspec.Struct, frozen=True):
    """A matrix in the HBM: rows · columns element bytes from `address` on, then their scale bytes (§9.3)."""

    name: str
    address: int
    rows: int
    columns: int

    @property
    def scale(self) -> int:
        """Value of the scale register: the scales' offset from `address`."""
        return self.rows * self.columns

    @property
    def size(self) -> int:
        """Bytes with the scales."""
        return self.scale + self.scale // BLOCK
