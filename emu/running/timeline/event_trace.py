"""Event traces of the drop-in (spec §7.11): one JSON object an instruction, written as the run goes on.

The validation stands before the events in the file and is known after them, so events go to a nameless file first.
"""

import shutil
import tempfile
from typing import Any, BinaryIO

from ... import isa
from ...kernels import layout
from ...kernels.hardware.scoreboard import layout as sl
from ...program.decode import Program
from .json_text import json_text
from .rules import Rules, resource_of
from .serial import STATUS

MEMORY_NOTE = "serial service times of the DMAs replayed on the timeline"
COPIED = 1 << 20  # bytes at a time


class EventTrace:
    """One trace file.

    Parameters
    ----------
    path : str
        Where it goes in the end.
    program : Program
    rules : Rules or None
        None in serial mode.
    memory_only : bool
        Whether only DMAs are written (the DMA trace).
    """

    def __init__(self, path: str, program: Program, rules: Rules | None, memory_only: bool = False):
        self.path = path
        self.kind = "DMA event trace" if memory_only else "event trace"
        self._program = program
        self._memory_only = memory_only
        self._reasons = rules.reasons if rules else [""]
        self._tails = [_tail(op_id, rules) for op_id in range(isa.NUM_OPS)]
        self._sequence = 0
        self._written = 0
        self._events = tempfile.TemporaryFile()  # noqa: SIM115 (open while the run goes on)

    def add(self, pcs, placed) -> None:
        """Write the events of a slice: word indices and PLACED_* rows."""
        ops = self._program.table[pcs, layout.OP_ID].tolist()
        texts = []
        rows = zip(pcs.tolist(), ops, placed.tolist(), strict=True)
        for sequence, (pc, op, row) in enumerate(rows, start=self._sequence):
            if not self._memory_only or isa.BY_ID[op].type == "memory":
                texts.append(self._text(sequence, pc, op, row))
        self._sequence += len(pcs)
        if texts:
            self._events.write(((",\n" if self._written else "") + ",\n".join(texts)).encode())
            self._written += len(texts)

    def _text(self, sequence, pc, op, row):
        issue, accepted, recovery, start, result, completion, reason, owner = row
        text = (
            f'    {{\n      "sequence": {sequence},\n      "pc": {pc},\n      "opcode": "{isa.BY_ID[op].mnemonic}",\n'
            f'      "issue_cycle": {issue},\n      "accepted_cycle": {accepted},\n'
            f'      "recovery_cycles": {recovery},\n      "start_cycle": {start},\n'
            f'      "result_ready_cycle": {result},\n      "completion_cycle": {completion},\n{self._tails[op]}'
        )
        if reason != sl.NO_REASON:
            text += f',\n      "stall_reason": "{self._reasons[reason]}"'
        if owner != sl.NONE:
            text += f',\n      "dependency": {owner >> sl.OWNER_BITS}'
        return text + "\n    }"

    def write(self, file: BinaryIO, period_ps: int, calibration: dict | None, validation: dict) -> None:
        """Write the trace into a file that is open; `calibration` is None in serial mode. Raises `OSError`."""
        head: dict[str, Any] = {
            "schema_version": 2 if self._memory_only else 3, "timing_mode": "rtl-v1" if calibration else "legacy",
            "clock_period_ps": period_ps,
        }
        if self._memory_only:
            head["dma_timing_semantics"] = MEMORY_NOTE
        if calibration:
            head["timing_calibration"] = calibration
        head["rtl_validation"] = validation
        text = json_text(head).removesuffix("\n}") + ',\n  "events": '
        file.write(text.encode() + (b"[\n" if self._written else b"[]"))
        self._events.seek(0)
        shutil.copyfileobj(self._events, file, COPIED)
        file.write(b"\n  ]\n}" if self._written else b"\n}")

    def close(self) -> None:
        """Drop the events."""
        self._events.close()


def _tail(op_id, rules):
    """The keys of an event that depend on its operation alone."""
    op = isa.BY_ID[op_id]
    if op is None or rules is not None and op.mnemonic not in rules.by_op:
        return ""
    status, supported, in_domain = (STATUS, True, False) if rules is None else rules.by_op[op.mnemonic]
    return (f'      "resource": "{resource_of(op)}",\n      "calibration_status": "{status}",\n'
            f'      "rtl_supported": {str(supported).lower()},\n'
            f'      "calibration_in_domain": {str(in_domain).lower()}')
