"""The memory profile (spec §7.11): time by category and operation, and what the DMAs moved."""

import numpy as np

from ... import isa
from ...kernels import layout
from ...kernels.hardware.scoreboard import layout as sl
from ...kernels.limits import ACCESS_BYTES
from .reports import percent_of, timeline_report
from .rules import Rules

CATEGORIES = {"memory": "memory", "matrix": "matrix_compute", "vector": "vector_compute", "control": "control",
              "scalar_fp": "scalar_compute", "scalar_int": "scalar_compute"}
LEVELS = ("aggregate", "opcode")
BURST_BYTES = 16


def dma_transfers(descriptors: np.ndarray, operations: np.ndarray, bytes_read: int, bytes_written: int) -> dict:
    """Build the `dma_transfers` object.

    Parameters
    ----------
    descriptors : int64[NUM_DESCRIPTORS, DESC_WIDTH]
    operations : int64[NUM_DESCRIPTORS]
        DMAs of each descriptor.
    bytes_read, bytes_written : int
        Bytes of lines.
    """
    counted = {kind: [0, 0, 0, 0] for kind in (0, 1)}
    for descriptor, times in zip(descriptors.tolist(), operations.tolist(), strict=True):
        counts = counted[descriptor[layout.DESC_STORE]]
        for k, value in enumerate((1, *_moved(descriptor))):
            counts[k] += times * value
    report = {}
    names = ("operations", "logical_elements", "useful_payload_bytes", "packed_transfer_bytes")
    for k, name in enumerate(names):
        report[f"read_{name}"], report[f"write_{name}"] = counted[0][k], counted[1][k]
    for name, unit in (
        ("coalesced_line_requests", ACCESS_BYTES), ("coalesced_line_bytes", 1), ("physical_burst_bytes", 1),
        ("physical_bursts", BURST_BYTES),
    ):  # fmt: skip
        report[f"read_{name}"], report[f"write_{name}"] = bytes_read // unit, bytes_written // unit
    return report


def _moved(descriptor):
    """(elements, bytes of their bits, bytes of whole rows) of one DMA."""
    n, rows, bits, scale_bits, block = (
        descriptor[column] for column in
        (layout.DESC_ELEMENTS, layout.DESC_ROWS, layout.DESC_BITS, layout.DESC_SCALE_BITS, layout.DESC_BLOCK)
    )
    scales = n // block if block else 0
    payload = n * rows * bits + scales * rows * scale_bits
    return n * rows, -(-payload // 8), (-(-n * bits // 8) + -(-scales * scale_bits // 8)) * rows


def memory_profile(head: dict, tail: dict, durations: dict[str, tuple[int, int, int]], total_ps: int, level: str):
    """Put the profile together: `head`, the categories, and with level `opcode` the operations.

    `durations` is mnemonic to (instructions, picoseconds, longest). Percentages are of `total_ps`.

    Returns
    -------
    dict
    """
    by_category: dict[str, list[int]] = {}
    for name, (count, picos, most) in durations.items():
        sums = by_category.setdefault(CATEGORIES[isa.BY_MNEMONIC[name].type], [0, 0, 0])
        sums[0], sums[1], sums[2] = sums[0] + count, sums[1] + picos, max(sums[2], most)
    report = head | tail
    report["categories"] = {name: _times(by_category[name], total_ps) for name in sorted(by_category)}
    if level == "opcode":
        report["opcodes"] = {
            name: {"category": CATEGORIES[isa.BY_MNEMONIC[name].type]} | _times(durations[name], total_ps)
            for name in sorted(durations)
        }
    return report


def _times(sums, total_ps):
    count, picos, most = (int(value) for value in sums)
    return {"count": count, "total_picos": picos, "total_ns": picos / 1000, "max_picos": most,
            "percent_of_profiled_time": percent_of(picos, total_ps)}


def _head(schema, mode, level, total_ps, bytes_read, bytes_written, transfers):
    return {
        "schema_version": schema, "timing_mode": mode, "profile_level": level, "program_total_picos": total_ps,
        "program_total_ns": total_ps / 1000, "hbm_bytes_read": bytes_read, "hbm_bytes_written": bytes_written,
        "dma_transfers": transfers,
    }  # fmt: skip


def rtl_profile(sb: sl.Scoreboard, rules: Rules, moved: tuple[int, int], transfers: dict, level: str) -> dict:
    """Build the memory profile of an rtl-v1 run; `moved` are bytes read and written."""
    period = int(sb.dims[sl.DIM_PERIOD])
    total = int(sb.reg[sl.SB_MAKESPAN]) * period
    rows = {op.mnemonic: sb.by_op[op.id].tolist() for op in isa.OPS if sb.by_op[op.id, sl.OP_COUNT]}
    durations = {name: (count, work * period, most * period) for name, (count, work, most) in rows.items()}
    tail = {"timing_calibration": calibration(rules), "timeline": timeline_report(sb, rules)}
    return memory_profile(_head(2, "rtl-v1", level, total, *moved, transfers), tail, durations, total, level)


def serial_profile(serial, moved: tuple[int, int], transfers: dict, level: str) -> dict:
    """Build the memory profile of a serial run from its `SerialPass`."""
    durations = {op.mnemonic: (serial.count[op.id], serial.total_ps[op.id], serial.most_ps[op.id])
                 for op in isa.OPS if serial.count[op.id]}
    total = int(serial.total_ps.sum())
    return memory_profile(_head(1, "legacy", level, total, *moved, transfers), {}, durations, total, level)


def calibration(rules: Rules) -> dict:
    """Say where the costs come from (the content is free, §7.11)."""
    timing = rules.timing
    return {"name": timing.name, "description": timing.description, "origin": timing.origin}
