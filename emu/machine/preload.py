"""Preload files into the machine (spec §2.7)."""

import os
import stat

import numpy as np

from ..errors import EmuError
from ..inputs.opening import open_input
from ..kernels.layout import INT_SRAM_SIZE
from .formats import to_bf16, unpack_sram
from .lazy_arrays import map_file, use_huge_pages

PART = 1 << 20  # bytes read at a time
MAPPED = 1 << 22  # bytes from which mapping a file is faster than reading it


def read_file(path: str, what: str, most: int, limit: str) -> bytes:
    """Read a file of at most `most` bytes; `what` names its role in errors and `limit` what is expected.

    No more is read than shows that there is too much: the file may be a pipe or a device.

    Returns
    -------
    bytes
    """
    parts = []
    size = 0
    try:
        with open_input(path) as file:
            while part := file.read(PART):
                parts.append(part)
                size += len(part)
                if size > most:
                    raise EmuError(f"{what} {path}: found more than {most} bytes, expected at most {limit}")
    except OSError as error:
        raise EmuError(f"{what} {path}: {error.strerror or error}") from None
    return b"".join(parts)


def load_fp_sram(path: str, fp_sram: np.ndarray) -> None:
    """Load f16 values from index 0, each converted to bf16 through f32; a trailing odd byte is ignored."""
    most = len(fp_sram)
    data = read_file(path, "fp SRAM preload", 2 * most + 1, f"{most} values of 2 bytes")
    count = len(data) // 2
    fp_sram[:count] = np.frombuffer(data, dtype="<f2", count=count)
    to_bf16(fp_sram[:count])


def load_int_sram(path: str, int_sram: np.ndarray) -> None:
    """Load little-endian u32 words from index 0; trailing odd bytes are ignored."""
    data = read_file(path, "int SRAM preload", 4 * INT_SRAM_SIZE + 3, f"{INT_SRAM_SIZE} values of 4 bytes")
    count = len(data) // 4
    int_sram[:count] = np.frombuffer(data, dtype="<u4", count=count)


def load_vector_sram(path: str, row_words: np.ndarray, row_touched: np.ndarray, vlen: int, mantissa: int) -> None:
    """Load packed SRAM-type values from row 0; a short last row is padded with zeros."""
    row_bytes = vlen * (9 + mantissa) // 8
    most = len(row_touched)
    data = read_file(path, "vector SRAM preload", most * row_bytes, f"{most} rows of {row_bytes} bytes")
    rows = -(-len(data) // row_bytes)
    values = unpack_sram(data.ljust(rows * row_bytes, b"\0"), mantissa)
    row_words[: len(values)] = values
    row_touched[:rows] = 1


def load_hbm(path: str, hbm: np.ndarray) -> int:
    """Load raw bytes from address 0: a large file is mapped in the HBM's place, copied where it is written; else read.

    A file must not shrink while a run that maps it goes on.

    Returns
    -------
    int
        Bytes that were there.
    """
    view = memoryview(hbm.data)
    size = 0
    try:
        with open_input(path, buffering=0) as file:
            status = os.fstat(file.fileno())
            if stat.S_ISREG(status.st_mode) and status.st_size > len(hbm):
                raise EmuError(f"HBM preload {path}: {status.st_size} bytes, expected at most {len(hbm)} (the HBM"
                               " size)")
            large = stat.S_ISREG(status.st_mode) and status.st_size >= MAPPED
            if large and map_file(file.fileno(), hbm, status.st_size):
                return status.st_size
            use_huge_pages(hbm, status.st_size)
            while got := file.readinto(view[size:] if size < len(hbm) else bytearray(1)):
                size += got
                if size > len(hbm):
                    raise EmuError(f"HBM preload {path}: found more than {len(hbm)} bytes (the HBM size)")
    except OSError as error:
        raise EmuError(f"HBM preload {path}: {error.strerror or error}") from None
    return size
