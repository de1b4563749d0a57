"""The memory accesses of a run as a trace that `plena-emu dram` replays (spec §3.2, §3.3, §4.9).

A memory instruction is a batch: a prefetch is a gather task of its reads, a store a core that reads and writes each
block in turn; each begins so many picoseconds of computing (at the run's clock) after the one before is complete. The
trace holds the whole description of the run's memory, as it was laid over and changed, so a replay takes as long as the
run's memory did, where nothing waited for a host link.
"""

import io
import json
from typing import Any

import msgspec
import numpy as np

from ..atomic_files import write_whole
from ..boards.dram_schema import DramDescription
from ..errors import EmuError
from ..kernels import layout
from ..kernels.limits import ACCESS_BYTES, U32_MASK
from .dram_trace_files import MAX_ACCESSES

BLOCK = -ACCESS_BYTES


class RecordedMemory:
    """A memory model (`memory.interfaces.MemoryModel`) whose memory events are kept; everything else is the model's."""

    def __init__(self, model, descriptors: np.ndarray, revision: str):
        self._model = model
        self._descriptors = descriptors
        self._revision = revision
        self._events: list[np.ndarray] = []

    def __getattr__(self, name):
        return getattr(self._model, name)

    def advance(self, events: np.ndarray, count: int) -> None:
        """Run the first `count` memory events and keep them; raises `EmuError` past the most accesses of a trace."""
        self._events.append(events[:count].copy())
        self._model.advance(events, count)
        if self._model.bytes_read + self._model.bytes_written > ACCESS_BYTES * MAX_ACCESSES:
            raise EmuError(f"memory trace: found more than {MAX_ACCESSES} accesses, the most a trace may have")

    def write(self, path: str) -> None:
        """Write the trace of all events so far as `.npz`; raises `EmuError`."""
        arrays = trace_arrays(np.concatenate([np.zeros((0, layout.MEV_WIDTH), np.int64), *self._events]),
                              self._descriptors)
        data = io.BytesIO()
        values: dict[str, Any] = {"variant": self._revision, "description": _description(self._model.engine.dram),
                                  **arrays}
        np.savez_compressed(data, **values)
        write_whole(path, data.getvalue(), "memory trace")


def _description(dram: DramDescription | None) -> str:
    """Write a description as JSON text, without its path, under the name that tables show; `null` for no DRAM."""
    if dram is None:
        return "null"
    fields = msgspec.to_builtins(dram) | {"name": dram.label}
    del fields["source"]
    return json.dumps(fields)


def trace_arrays(events: np.ndarray, descriptors: np.ndarray) -> dict[str, np.ndarray]:
    """List the 64-byte accesses of memory events.

    Parameters
    ----------
    events : int64[n, MEV_WIDTH]
    descriptors : int64[NUM_DESCRIPTORS, DESC_WIDTH]

    Returns
    -------
    dict
        `batch_kind`, `batch_t` (ps), `batch`, `op` and `addr`, as `dram_replay.replay_batches` takes them.
    """
    which = events[:, layout.MEV_DESCRIPTOR]
    store = descriptors[which, layout.DESC_STORE] == 1
    lists = {number: _blocks(events[which == number], descriptors[number]) for number in np.unique(which)}
    size = np.zeros(len(events), dtype=np.int64)
    for number, (_, counts) in lists.items():
        size[which == number] = counts
    first = np.cumsum(size) - size
    block = np.zeros(int(size.sum()), dtype=np.int64)
    for number, (blocks, counts) in lists.items():
        block[np.repeat(first[which == number], counts) + _within(counts)] = blocks
    batch = np.repeat(np.arange(len(events)), size)
    twice = np.where(store[batch], 2, 1)  # a store reads each block, then writes it
    return {
        "batch_kind": np.where(store, "I", "G"),
        "batch_t": events[:, layout.MEV_DELTA],
        "batch": np.repeat(batch, twice),
        "op": (_within(twice) == 1).astype(np.uint8),
        "addr": np.repeat(block, twice).view(np.uint64),
    }


def _within(counts):
    """0, 1, 2, ... for each count in turn."""
    return np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)


def _blocks(events, descriptor):
    """Addresses of the blocks of events of one descriptor, in issue order, and how many each event has."""
    row = np.arange(descriptor[layout.DESC_ROWS])
    index, scale, step = (events[:, column, None] for column in (layout.MEV_INDEX, layout.MEV_SCALE, layout.MEV_STEP))
    starts = [index + ((row * step) & U32_MASK)]
    lengths = [int(descriptor[layout.DESC_ROW_BYTES])]
    if descriptor[layout.DESC_SCALE_BYTES] > 0:
        pace = step.astype(np.float32) / np.float32(descriptor[layout.DESC_RATIO])
        starts.append(scale + (row.astype(np.float32) * pace).astype(np.int64))
        lengths.append(int(descriptor[layout.DESC_SCALE_BYTES]) if descriptor[layout.DESC_STORE] == 1 else 1)
    start = np.stack(starts, axis=-1)
    counts = ((start & (ACCESS_BYTES - 1)) + np.array(lengths) + ACCESS_BYTES - 1) // ACCESS_BYTES
    flat = counts.ravel()
    blocks = np.repeat((start & BLOCK).ravel(), flat) + ACCESS_BYTES * _within(flat)
    return blocks, counts.reshape(len(events), -1).sum(axis=1)
