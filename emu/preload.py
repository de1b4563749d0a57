"""Preload files into the machine (spec §2.7)."""

import os

import numpy as np

from .arrays import use_huge_pages
from .errors import EmuError
from .formats import unpack_sram
from .kernels.layout import FP_SRAM_SIZE, INT_SRAM_SIZE
from .kernels.tables import to_bf16


def read_file(path: str, what: str) -> bytes:
    """Bytes of a file; `what` names its role in the error."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise EmuError(f"{what} {path}: {error.strerror or error}") from None


def load_fp_sram(path: str, fp_sram: np.ndarray) -> None:
    """f16 values from index 0, each converted to bf16 through f32; a trailing odd byte is ignored."""
    data = read_file(path, "fp SRAM preload")
    count = len(data) // 2
    if count > FP_SRAM_SIZE:
        raise EmuError(f"fp SRAM preload {path}: {count} values, expected at most {FP_SRAM_SIZE}")
    fp_sram[:count] = np.frombuffer(data, dtype="<f2", count=count)
    to_bf16(fp_sram[:count])


def load_int_sram(path: str, int_sram: np.ndarray) -> None:
    """Little-endian u32 words from index 0; trailing odd bytes are ignored."""
    data = read_file(path, "int SRAM preload")
    count = len(data) // 4
    if count > INT_SRAM_SIZE:
        raise EmuError(f"int SRAM preload {path}: {count} values, expected at most {INT_SRAM_SIZE}")
    int_sram[:count] = np.frombuffer(data, dtype="<u4", count=count)


def load_vector_sram(path: str, row_words: np.ndarray, row_touched: np.ndarray, vlen: int, mantissa: int) -> None:
    """Packed SRAM-type values from row 0; a short last row is padded with zeros."""
    data = read_file(path, "vector SRAM preload")
    row_bytes = vlen * (9 + mantissa) // 8
    rows = -(-len(data) // row_bytes)
    if rows > len(row_touched):
        raise EmuError(
            f"vector SRAM preload {path}: {len(data)} bytes are {rows} rows of {row_bytes} bytes,"
            f" expected at most {len(row_touched)} rows"
        )
    values = unpack_sram(data.ljust(rows * row_bytes, b"\0"), mantissa)
    row_words[: len(values)] = values
    row_touched[:rows] = 1


def load_hbm(path: str, hbm: np.ndarray) -> int:
    """Raw bytes from address 0, read straight into the HBM's own memory; returns how many."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > len(hbm):
                raise EmuError(f"HBM preload {path}: {size} bytes, expected at most {len(hbm)} (the HBM size)")
            use_huge_pages(hbm, size)
            done = 0
            view = memoryview(hbm)[:size]
            while done < size:
                got = file.readinto(view[done:])
                if not got:
                    raise EmuError(f"HBM preload {path}: ended after {done} bytes, expected {size}")
                done += got
    except OSError as error:
        raise EmuError(f"HBM preload {path}: {error.strerror or error}") from None
    return size
