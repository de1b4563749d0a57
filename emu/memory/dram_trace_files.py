"""Trace files of a DRAM: CSV of single accesses, and `.npz` of batches."""

import re
import zipfile
import zlib

import msgspec
import numpy as np

from ..errors import EmuError
from ..inputs.text import read_text
from ..inputs.words import cut
from ..isa import REVISIONS
from ..kernels.limits import TIME_LIMIT

HEADER = ["time_ps", "op", "address"]
OPS = {"read": 0, "write": 1}
ARRAYS = {"batch_kind": "U", "batch_t": "iu", "batch": "iu", "op": "iu", "addr": "iu"}
COMPLETIONS = "time_ps,op,address,accept_ps,done_ps"
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]+", re.ASCII)


class Trace(msgspec.Struct, kw_only=True):
    """A trace in the batch form of `dram_trace.replay_batches`; `dram` and `isa` are those its file names, if any."""

    batch_kind: list[str]
    batch_t: np.ndarray
    batch: np.ndarray
    op: np.ndarray
    addr: np.ndarray
    dram: str | None = None
    isa: str | None = None


def read_trace(path: str) -> Trace:
    """Trace of a `.npz` file (batches) or any other (CSV); raises `EmuError` naming file, line or array."""
    try:
        if path.endswith(".npz"):
            return _read_npz(path)
        return _read_csv(path, read_text(path, "trace").splitlines())
    except OSError as error:
        raise EmuError(f"trace {path}: cannot read: {error.strerror or error}") from None


def _read_csv(path, lines):
    """One S batch a line `time_ps,read|write,address`."""
    times, ops, addresses = [], [], []
    first = True
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        fields = [field.strip() for field in text.split(",")]
        header, first = first and fields[0].lower() == HEADER[0], False
        if header:
            if [field.lower() for field in fields[:3]] != HEADER:
                raise EmuError(f"trace {path}:{number}: found header {text!r}, expected {','.join(HEADER)}")
            continue
        where = f"trace {path}:{number}"
        if len(fields) != 3:
            raise EmuError(f"{where}: found {len(fields)} fields, expected 3: time_ps,read|write,address")
        times.append(_number(fields[0], TIME_LIMIT, f"{where}: time_ps"))
        if fields[1].lower() not in OPS:
            raise EmuError(f"{where}: found {cut(fields[1])!r}, expected read or write")
        ops.append(OPS[fields[1].lower()])
        addresses.append(_number(fields[2], 2**64 - 1, f"{where}: address"))
        if addresses[-1] % 64:
            raise EmuError(f"{where}: address: found {cut(fields[2])!r}, expected a multiple of 64")
        if len(times) > 1 and times[-1] < times[-2]:
            raise EmuError(f"{where}: time_ps: found {times[-1]} behind {times[-2]}, expected no falling times")
    return Trace(batch_kind=["S"] * len(times), batch_t=np.array(times, dtype=np.uint64), batch=np.arange(len(times)),
                 op=np.array(ops, dtype=np.uint8), addr=np.array(addresses, dtype=np.uint64))


def _number(text, most, what):
    if not _NUMBER.fullmatch(text):
        raise EmuError(f"{what}: found {cut(text)!r}, expected a decimal or 0x hexadecimal number")
    value = int(text, 16 if text[:2].lower() == "0x" else 10) if len(text) <= 40 else most + 1
    if value > most:
        raise EmuError(f"{what}: found {cut(text)!r}, expected at most {most}")
    return value


def _read_npz(path):
    what = f"trace {path}"
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files if name in (*ARRAYS, "preset", "variant")}
    except (ValueError, zipfile.BadZipFile, EOFError, KeyError, zlib.error, RuntimeError):  # also of unknown methods
        raise EmuError(f"{what}: found no readable arrays, expected a .npz file") from None
    for name, kinds in ARRAYS.items():
        if name not in arrays:
            raise EmuError(f"{what}: array {name!r} is missing")
        if arrays[name].ndim != 1 or arrays[name].dtype.kind not in kinds:
            raise EmuError(f"{what}: array {name!r}: found {arrays[name].dtype} of {arrays[name].ndim} dimensions,"
                           f" expected {'strings' if kinds == 'U' else 'integers'} of one dimension")
    named = {name: str(arrays[name]) for name in ("preset", "variant") if name in arrays}
    if named.get("variant") not in (None, *REVISIONS):
        raise EmuError(f"{what}: variant: found {named['variant']!r}, expected {' or '.join(REVISIONS)}")
    return Trace(batch_kind=arrays["batch_kind"].tolist(), dram=named.get("preset"), isa=named.get("variant"),
                 **{name: arrays[name] for name in ARRAYS if name != "batch_kind"})


def completions(trace: Trace, found) -> bytes:
    """CSV of a trace's accesses with their instants (a `Replay`); its first three columns are a trace again."""
    ops = list(OPS)
    rows = zip(found.issue_ps.tolist(), trace.op.tolist(), trace.addr.tolist(), found.accept_ps.tolist(),
               found.done_ps.tolist())
    lines = [f"{issue},{ops[op]},{address:#x},{accept},{done}" for issue, op, address, accept, done in rows]
    return "\n".join([COMPLETIONS, *lines, ""]).encode()
