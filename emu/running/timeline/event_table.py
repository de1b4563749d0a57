"""Event traces as tables, Parquet or CSV, written as the run goes on: a row an instruction (spec §7.11).

Columns are the keys of an event of §7.11, in its order; a value that an event does not have is null (CSV: empty). Only
`BATCH_ROWS` rows are held in memory, and at most `most` rows are written.
"""

import shutil
import tempfile
from collections.abc import Sequence
from typing import IO, Any, BinaryIO

import numpy as np

from ... import isa
from ...errors import UsageError
from ...kernels import layout
from ...kernels.hardware.scoreboard import layout as sl
from ...program.decode import Program
from .event_trace import COPIED
from .rules import Rules, resource_of
from .serial import STATUS

SUFFIXES = (".parquet", ".csv")
MOST_ROWS = 10_000_000
BATCH_ROWS = 1 << 17  # of a row group

_CYCLES = (("issue_cycle", sl.PLACED_ISSUE), ("accepted_cycle", sl.PLACED_ACCEPTED),
           ("recovery_cycles", sl.PLACED_RECOVERY), ("start_cycle", sl.PLACED_START),
           ("result_ready_cycle", sl.PLACED_RESULT), ("completion_cycle", sl.PLACED_COMPLETION))
COLUMNS = ("sequence", "pc", "opcode", *(name for name, _ in _CYCLES), "resource", "calibration_status",
           "rtl_supported", "calibration_in_domain", "stall_reason", "dependency")
_NAMED = ("opcode", "resource", "calibration_status", "stall_reason")  # columns of names, few different ones


class EventTable:
    """One table of events.

    Parameters
    ----------
    path : str
        Ends in one of `SUFFIXES`.
    program : Program
    rules : Rules or None
        None in serial mode.
    most : int
        Rows that are written at most; the run goes on beyond.

    Raises
    ------
    UsageError
        pyarrow, which writes Parquet, is not installed.
    """

    def __init__(self, path: str, program: Program, rules: Rules | None, most: int = MOST_ROWS):
        self.path = path
        self.left_out = 0
        self.most = most
        self._table = program.table
        self._sequence = 0
        self._kinds = _Kinds(program, rules)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (open while the run goes on)
        kind = _Parquet if path.endswith(".parquet") else _Csv
        self._writer = kind(self._file, self._kinds)
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []
        self._rows = 0

    def add(self, pcs: np.ndarray, placed: np.ndarray) -> None:
        """Take in the events of a slice: int64[n] word indices and int64[n, PLACED_WIDTH]."""
        room = max(0, self.most - self._sequence - self._rows)
        self.left_out += max(0, len(pcs) - room)
        if room:
            self._waiting.append((pcs[:room].copy(), placed[:room].copy()))
            self._rows += min(room, len(pcs))
        if self._rows >= BATCH_ROWS:
            self._flush()

    def _flush(self):
        if not self._rows:
            return
        pcs, placed = (np.concatenate(part) for part in zip(*self._waiting, strict=True))
        first, self._sequence = self._sequence, self._sequence + self._rows
        self._waiting, self._rows = [], 0
        self._writer.write(np.arange(first, self._sequence), pcs, self._table[pcs, layout.OP_ID], placed)

    def write(self, file: BinaryIO) -> None:
        """Write the table into a file that is open. Raises `OSError`."""
        self._flush()
        self._writer.close()
        self._file.seek(0)
        shutil.copyfileobj(self._file, file, COPIED)

    def close(self) -> None:
        """Drop the rows."""
        self._file.close()


class _Kinds:
    """What a row has of its operation and its reason: an index into `names` for each named column."""

    def __init__(self, program, rules):
        ops = [None if op is None or rules is not None and op.mnemonic not in rules.by_op else op for op in isa.BY_ID]
        known = [None if op is None else (STATUS, True, False) if rules is None else rules.by_op[op.mnemonic]
                 for op in ops]
        self.names: dict[str, list[str]] = {
            "opcode": ["" if op is None else op.mnemonic for op in isa.BY_ID],
            "resource": list(sl.RESOURCES),
            "calibration_status": sorted({found[0] for found in known if found}),
            "stall_reason": list(rules.reasons) if rules else [""],
        }
        self._resource = np.array([0 if op is None else sl.RESOURCES.index(resource_of(op)) for op in ops])
        self._status = np.array([self.names["calibration_status"].index(found[0]) if found else 0 for found in known])
        self._supported = np.array([bool(found and found[1]) for found in known])
        self._in_domain = np.array([bool(found and found[2]) for found in known])

    def columns(self, sequence, pcs, ops, placed) -> dict[str, np.ndarray]:
        """Columns of some rows by name; named ones as indices, `dependency` -1 where there is none."""
        owner = placed[:, sl.PLACED_OWNER]
        return {
            "sequence": sequence, "pc": pcs, "opcode": ops, **{name: placed[:, at] for name, at in _CYCLES},
            "resource": self._resource[ops], "calibration_status": self._status[ops],
            "rtl_supported": self._supported[ops], "calibration_in_domain": self._in_domain[ops],
            "stall_reason": placed[:, sl.PLACED_REASON], "dependency": owner >> sl.OWNER_BITS,
        }  # NONE is -1, and stays so


class _Csv:
    """Rows as comma-separated values; no name needs quotes, flags are 1 and 0."""

    def __init__(self, file: IO[bytes], kinds: _Kinds):
        self._file, self._kinds = file, kinds
        file.write((",".join(COLUMNS) + "\n").encode())

    def write(self, sequence, pcs, ops, placed) -> None:
        columns = self._kinds.columns(sequence, pcs, ops, placed)
        texts = [self._texts(name, columns[name]) for name in COLUMNS]
        self._file.write(("\n".join(map(",".join, zip(*texts, strict=True))) + "\n").encode())

    def _texts(self, name, values) -> Sequence[str]:
        if name in _NAMED:
            names = self._kinds.names[name]
            return [names[value] for value in values.tolist()]
        if name == "dependency":
            return ["" if value < 0 else str(value) for value in values.tolist()]
        return list(map(str, values.astype(np.int64).tolist()))

    def close(self) -> None:
        """Do nothing: every row is complete."""


class _Parquet:
    """Rows as Parquet; columns of names are dictionaries of strings."""

    def __init__(self, file: IO[bytes], kinds: _Kinds):
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise UsageError('event trace: Parquet needs pyarrow (pip install "plena-emu[parquet]"); .csv needs'
                             " nothing") from None
        self._arrow: Any = pyarrow
        self._kinds = kinds
        named, flag, number = pyarrow.dictionary(pyarrow.int32(), pyarrow.string()), pyarrow.bool_(), pyarrow.int64()
        self._schema = pyarrow.schema([
            (name, named if name in _NAMED else flag if name in ("rtl_supported", "calibration_in_domain") else number)
            for name in COLUMNS
        ])
        self._writer = pyarrow.parquet.ParquetWriter(file, self._schema)

    def write(self, sequence, pcs, ops, placed) -> None:
        columns = self._kinds.columns(sequence, pcs, ops, placed)
        arrays = [self._array(name, columns[name]) for name in COLUMNS]
        self._writer.write_table(self._arrow.Table.from_arrays(arrays, schema=self._schema))

    def _array(self, name, values):
        if name == "dependency":
            return self._arrow.array(values, mask=values < 0)
        if name in _NAMED:
            missing = values == sl.NO_REASON if name == "stall_reason" else None
            index = self._arrow.array(values.astype(np.int32), mask=missing)
            return self._arrow.DictionaryArray.from_arrays(index, self._kinds.names[name])
        return self._arrow.array(values)

    def close(self) -> None:
        """Write the end of the file."""
        self._writer.close()
