"""The HBM image and the vector SRAM preload as files, written in one pass (spec §9.2, §9.3, §9.5)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from .graph import Buffer
from .machine import BLOCK, Activation, HbmTensor
from .number_formats import round_bf16
from .quantise import quantise

if TYPE_CHECKING:
    from plena_emu.config.settings import Mx


def write_tensor(file: BinaryIO, tensor: HbmTensor, chunks: Iterable[np.ndarray], kind: Mx,
                 digest: hashlib._Hash | None = None) -> None:
    """Quantise a tensor chunk by chunk and write elements and scales to their places.

    Parameters
    ----------
    file : binary file
        The image; what is not written reads as 0.
    tensor : HbmTensor
    chunks : iterable of f32 arrays
        `[rows, columns]` from the first row on.
    kind : Mx
    digest : hashlib object or None
        Takes the bytes that are written.
    """
    row = 0
    for values in chunks:
        codes, scales = (part.tobytes() for part in quantise(values, kind))
        file.seek(tensor.address + row * tensor.columns)
        file.write(codes)
        file.seek(tensor.address + tensor.scale + row * tensor.columns // BLOCK)
        file.write(scales)
        if digest:
            digest.update(codes)
            digest.update(scales)
        row += len(values)


def preload_rows(buffers: Iterable[tuple[Buffer, Activation]], values: Callable[[Buffer], np.ndarray],
                 vlen: int) -> np.ndarray:
    """Lay preloaded buffers out in rows from row 0 on.

    Returns
    -------
    u16 array
        `[rows, VLEN]`, bf16.
    """
    parts: list[np.ndarray] = []
    for buffer, place in buffers:
        blocks = np.zeros((buffer.blocks * vlen, buffer.rows), dtype=np.float32).T
        held = values(buffer)
        blocks[: held.shape[0], : held.shape[1]] = held
        assert place.address == sum(len(part) for part in parts) * vlen
        parts.append(blocks.reshape(buffer.rows, buffer.blocks, vlen).swapaxes(0, 1).reshape(-1, vlen))
    rows = round_bf16(np.concatenate(parts))
    return (rows.view(np.uint32) >> np.uint32(16)).astype("<u2")
