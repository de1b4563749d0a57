"""What a program or a settings file asks for and this machine, like the reference, does otherwise: one warning each.

None of it is an error: the results are those of the reference. Nothing here applies to what production DMA does
(spec §7.2), nor to anything that stock settings contain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import isa
from ..config.hardware import DEFAULT_CHANNELS
from ..config.settings import Settings
from ..inputs.number_formats import Int
from ..inputs.words import shown
from ..kernels import layout
from ..kernels.limits import ACCESS_BYTES
from ..program.decode import Program
from ..request import RunRequest

if TYPE_CHECKING:
    from ..boards.dram_schema import DramDescription

# DMA descriptors of each operation: precision field 0, and any other (§3.2).
_DESCRIPTORS = {
    isa.H_PREFETCH_M: (layout.DESCRIPTOR_M_WEIGHT, layout.DESCRIPTOR_M_KV),
    isa.H_PREFETCH_V: (layout.DESCRIPTOR_V_ACT, layout.DESCRIPTOR_V_KV),
    isa.H_STORE_V: (layout.DESCRIPTOR_STORE_ACT, layout.DESCRIPTOR_STORE_KV),
}
_KEYS = ("HBM_M_WEIGHT_TYPE", "HBM_M_KV_TYPE", "HBM_V_ACT_TYPE", "HBM_V_KV_TYPE", "HBM_V_ACT_TYPE", "HBM_V_KV_TYPE")


def settings_caveats(settings: Settings, request: RunRequest) -> list[str]:
    """List the keys of a settings file that say something else than what the run does.

    Returns
    -------
    list of str
    """
    lines = [f"settings {settings.source}: {key}: {otherwise}" for key, otherwise in settings.otherwise]
    if not request.is_hardware:
        for key, value, usual, what in (
            ("HBM_CHANNELS", settings.hbm_channels, 8, "the model hbm has 8 channels without --dma production"),
            ("CLOCK_PERIOD_PS", settings.clock_period, 1000, "a cycle takes 1000 ps without --timing rtl-v1 or"
                                                             " --dma production"),
        ):
            if value is not None and value != usual:
                lines.append(f"settings {settings.source}: TRANSACTIONAL.CONFIG.{key}: not used, {what}")
    return lines


def channel_caveats(settings: Settings, request: RunRequest, dram: DramDescription | None) -> list[str]:
    """List the channels that were asked for where the memory of a run with hardware timing has others (spec §7.1).

    Only hbm2 under production DMA takes HBM_CHANNELS. The default of 8 in a settings file asks for nothing.

    Parameters
    ----------
    dram : DramDescription or None
        The memory that is timed; None for the idealised DDR of §3.5, which has no channels.

    Returns
    -------
    list of str
    """
    channels = None if dram is None else dram.organisation.channel
    if dram is None:
        why = "the idealised DDR of §3.5 has no channels"
    elif dram.name == "hbm2" and request.dma == "reference":
        why = f"{dram.name} has {_count(channels)} without {request.called('dma')} production"
    else:
        why = f"{dram.name} has {_count(channels)}"
    lines = []
    stated = settings.hbm_channels
    if request.hbm_channels is None and stated not in (None, DEFAULT_CHANNELS, channels):
        lines.append(f"settings {settings.source}: TRANSACTIONAL.CONFIG.HBM_CHANNELS: found {shown(stated)}, not used:"
                     f" {why}")
    if request.hbm_channels not in (None, channels):
        lines.append(f"{request.called('hbm_channels')} is not used: {why}")
    return lines


def _count(channels):
    return f"{channels} channel{'' if channels == 1 else 's'}"


def format_caveats(program: Program, settings: Settings, descriptors: np.ndarray) -> list[str]:
    """List the number formats whose transfers do not do what their name promises, with the first pc that uses them.

    Returns
    -------
    list of str
    """
    kinds = (settings.hbm_m_weight_type, settings.hbm_m_kv_type, settings.hbm_v_act_type, settings.hbm_v_kv_type) + (
        settings.hbm_v_act_type, settings.hbm_v_kv_type)
    lines = []
    for op, numbers in _DESCRIPTORS.items():
        for precision, number in enumerate(numbers):
            pcs = _users(program.table, op, precision)
            if len(pcs) and not descriptors[number, layout.DESC_PACKED]:
                named = f"{isa.BY_ID[op].name(program.revision)}: {_KEYS[number]} has"
                stepping = pcs[program.table[pcs, layout.OP_RS3] != 1]
                found = [*_as_bytes(kinds[number].elem, descriptors[number], stepping),
                         *(_unsigned(kinds[number].elem, pcs) if op != isa.H_STORE_V else ())]
                lines += [f"pc={pc} {named} {what}" for pc, what in found]
    return lines


def _as_bytes(elem, descriptor, stepping):
    """Rows one after the other, of elements that are no bytes: §3.2 counts elements where it steps bytes."""
    elements = int(descriptor[layout.DESC_ELEMENTS])
    if elem.size_in_bits != 8 and len(stepping) and descriptor[layout.DESC_ROWS] > 1:
        yield stepping[0], (f"{elem.size_in_bits}-bit elements, addressed as bytes: rows are taken {elements} bytes"
                            f" apart, not {elem.size_in_bits * elements // 8}")


def _unsigned(elem, pcs):
    """Integers, whose bits a prefetch takes as an unsigned number (§2.2)."""
    if isinstance(elem, Int):
        yield pcs[0], (f"{elem} elements, which a prefetch reads as unsigned: -1 comes back as {2**elem.width - 1},"
                       " times its scale")


def _users(table, op, precision):
    """Word indices of an operation with a precision field of 0, or another."""
    return np.flatnonzero((table[:, layout.OP_ID] == op) & ((table[:, layout.OP_F1] != 0) == bool(precision)))


class ScaleLines:
    """Watches prefetches for scale rows that cross a 64-byte line: what lies past the line is not delivered (§3.2).

    Parameters
    ----------
    descriptors : int64[NUM_DESCRIPTORS, DESC_WIDTH]
    """

    def __init__(self, descriptors: np.ndarray):
        self._descriptors = descriptors
        prefetches = descriptors[:, layout.DESC_STORE] == 0
        reads_scales = descriptors[:, layout.DESC_SCALE_BYTES] > 1
        loose = descriptors[:, layout.DESC_PACKED] == 0
        watched = prefetches & reads_scales & loose
        self._left = set(np.flatnonzero(watched).tolist())
        self._found: dict[int, tuple[int, int]] = {}  # by descriptor: pc, and bytes that one row misses
        # Rows of scales that divide a line and start at multiples of their length stay within lines.
        self._starts = np.where(watched, descriptors[:, layout.DESC_SCALE_BYTES], 1)
        self._steps = np.where(watched, self._starts * descriptors[:, layout.DESC_RATIO], 1)
        self._odd = ACCESS_BYTES % self._starts != 0

    def watch(self, events: np.ndarray, count: int) -> None:
        """Look at the first `count` of int64[:, MEV_WIDTH] memory events; stops at the first finding of each kind."""
        if not self._left or count == 0:
            return
        numbers, scales, steps = events[:count, [layout.MEV_DESCRIPTOR, layout.MEV_SCALE, layout.MEV_STEP]].T
        may_cross = (scales % self._starts[numbers] != 0) | (steps % self._steps[numbers] != 0) | self._odd[numbers]
        if not may_cross.any():
            return
        for event in events[:count][may_cross].tolist():
            number = event[layout.MEV_DESCRIPTOR]
            missed = self._missed(event, self._descriptors[number]) if number in self._left else 0
            if missed:
                self._found[number] = event[layout.MEV_PC], missed
                self._left.remove(number)

    def _missed(self, event, descriptor):
        """Most scale bytes that a row of a prefetch misses."""
        scales, ratio = int(descriptor[layout.DESC_SCALE_BYTES]), int(descriptor[layout.DESC_RATIO])
        rows = np.arange(int(descriptor[layout.DESC_ROWS]))
        starts = event[layout.MEV_SCALE] + (
            rows.astype(np.float32) * (np.float32(event[layout.MEV_STEP]) / np.float32(ratio))).astype(np.int64)
        return int(np.maximum(scales - (ACCESS_BYTES - (starts & (ACCESS_BYTES - 1))), 0).max(initial=0))

    def warnings(self) -> list[str]:
        """Name the first prefetch of each kind that missed scales.

        Returns
        -------
        list of str
        """
        return [self._line(number, *found) for number, found in sorted(self._found.items())]

    def _line(self, number, pc, missed):
        scales = int(self._descriptors[number, layout.DESC_SCALE_BYTES])
        return (f"pc={pc}: a row of scales of {_KEYS[number]} crosses a 64-byte line, of which only the first is read:"
                f" up to {missed} of the {scales} scale bytes of a row are taken as 0")
