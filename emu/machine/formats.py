"""Number formats as arrays for the kernels, and packed values on the host (spec §2.1, §2.3)."""

import numpy as np

from ..inputs.number_formats import Int, Mx
from ..kernels.compiler.jit import entry_of
from ..kernels.layout import FMT_BITS, FMT_EXP, FMT_INT, FMT_MAN, FMT_SIGN, FMT_WIDTH

fill_table, round_words, to_bf16 = (entry_of("data.tables", name) for name in ("fill_table", "round_words", "to_bf16"))


class Formats:
    """Table of the data types a run uses: row numbers for the kernels, values of the narrow codes.

    Attributes
    ----------
    rows : int64[n, FMT_WIDTH]
    tables : float32[n, 256]
        Value of every code of the types of up to 8 bits.
    halves : uint8[n, 256]
        Of the values of the first 128 codes as bf16: the upper bytes, then the lower bytes.
    """

    def __init__(self, storage_types):
        self._ids = {}
        for kind in storage_types:
            for data_type in (kind.elem, kind.scale) if isinstance(kind, Mx) else (kind.elem,):
                self._ids.setdefault(data_type, len(self._ids))
        self.rows = np.array([_row(data_type) for data_type in self._ids], dtype=np.int64)
        self.tables = np.zeros((len(self._ids), 256), dtype=np.float32)
        for row, table in zip(self.rows, self.tables, strict=True):
            if row[FMT_BITS] <= 8:
                fill_table(row, table)
        bits = self.tables[:, :128].view(np.uint32)
        self.halves = np.concatenate((bits >> np.uint32(24), bits >> np.uint32(16)), axis=1).astype(np.uint8)

    def id_of(self, data_type) -> int:
        """Find the row of a data type, or add it."""
        return self._ids[data_type]


def prepare_tables() -> None:
    """Load (or compile) the small kernels of `kernels.data.tables`."""
    fill_table(np.array([0, 1, 0, 1, 0], dtype=np.int64), np.zeros(2, dtype=np.float32))
    to_bf16(np.zeros(1, dtype=np.float32))
    round_words(np.zeros(1, dtype=np.uint32), np.zeros(1, dtype=np.uint32), 7)


def _row(data_type):
    row = [0] * FMT_WIDTH
    row[FMT_BITS] = data_type.size_in_bits
    if isinstance(data_type, Int):
        row[FMT_INT] = 1
    else:
        row[FMT_SIGN] = int(data_type.sign)
        row[FMT_EXP] = data_type.exponent
        row[FMT_MAN] = data_type.mantissa
    return row


def pack_sram(words: np.ndarray, mantissa: int) -> bytes:
    """Pack values given as uint32 f32 bits already rounded to `mantissa` bits (§2.3).

    Returns
    -------
    bytes
    """
    width = 9 + mantissa
    codes = words >> np.uint32(23 - mantissa)
    if width == 16:
        return codes.astype("<u2").tobytes()
    if width == 32:
        return codes.astype("<u4").tobytes()
    bits = (codes[:, None] >> np.arange(width, dtype=np.uint32)) & 1
    return np.packbits(bits.astype(np.uint8).ravel(), bitorder="little").tobytes()


def unpack_sram(data: bytes, mantissa: int) -> np.ndarray:
    """Unpack what `pack_sram` packs; bits past the last whole value are ignored.

    Returns
    -------
    np.ndarray
    """
    width = 9 + mantissa
    if width in (16, 32):
        codes = np.frombuffer(data, dtype=f"<u{width // 8}").astype(np.uint32)
    else:
        stream = np.unpackbits(np.frombuffer(data, dtype=np.uint8), bitorder="little")
        bits = stream[: len(stream) // width * width].reshape(-1, width).astype(np.uint32)
        codes = (bits << np.arange(width, dtype=np.uint32)).sum(axis=1, dtype=np.uint32)
    return codes << np.uint32(23 - mantissa)
