"""Trace files of a DRAM: text of single accesses (see `dram_trace_formats`), plain or gzip, and `.npz` of batches.

Text is read a part at a time (`open_trace`), so that a trace may be larger than memory; arrays are read whole.
"""

import contextlib
import gzip
import io
import itertools
import os
import stat
import sys
import zipfile
import zlib
from array import array
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np

from ..boards.dram_schema import DramDescription, dram_names, to_dram
from ..errors import EmuError
from ..inputs.documents import parse_json
from ..inputs.opening import open_input
from ..inputs.text import LARGEST
from ..inputs.words import one_of, shown
from ..isa import REVISIONS
from ..kernels.limits import TIME_LIMIT
from .dram_trace_formats import FORMATS, guess

ARRAYS = {"batch_kind": "U", "batch_t": "iu", "batch": "iu", "op": "iu", "addr": "iu"}
STANDARD_INPUT = "-"
MAX_ACCESSES = 1 << 26
MAX_LINE = 1 << 20  # characters
PART = 1 << 16  # accesses of a part of a text that is read line by line
START = 1 << 12  # bytes in which the first line of a text is looked for
MAX_ARRAYS = 16 * MAX_ACCESSES  # bytes of the arrays of a .npz
GZIP, ZIP, NPY, GEM5 = b"\x1f\x8b", b"PK", b"\x93NUMPY", b"gem5"


class Trace(msgspec.Struct, kw_only=True):
    """A trace, or a part of one: `op` (0 a read, 1 a write) and `addr` of every access, and when they come.

    Either `batch_kind`, `batch_t` and `batch` in the form of `dram_replay.replay_batches`, or the `time` of every
    access in what `times` says (`ps` or `clocks`), or neither. `dram` (a description, or the name of one that ships)
    and `isa` are those the file holds, if any. `without_dram` says that the accesses are those of a run whose memory
    was no DRAM behind a controller.
    """

    format: str
    op: np.ndarray
    addr: np.ndarray
    times: str | None = None
    time: np.ndarray | None = None
    batch_kind: list[str] | None = None
    batch_t: np.ndarray | None = None
    batch: np.ndarray | None = None
    dram: DramDescription | str | None = None
    isa: str | None = None
    without_dram: bool = False

    def time_ps(self, clock_ps: float) -> np.ndarray:
        """Return the times in ps, a clock being `clock_ps`, rounded to whole ps; raises `EmuError` past the limit."""
        assert self.time is not None  # of a trace with times
        if self.times == "ps":
            return self.time
        if len(self.time) and int(self.time[-1]) * clock_ps > TIME_LIMIT:
            raise EmuError(f"found cycle {self.time[-1]}, past {TIME_LIMIT} ps with clocks of {clock_ps:g} ps")
        if float(clock_ps).is_integer():
            return self.time * np.uint64(clock_ps)
        return np.rint(self.time.astype(np.float64) * clock_ps).astype(np.uint64)


class OpenTrace:
    """A trace that is read while it is replayed.

    Attributes
    ----------
    first : Trace
        Its first part, which tells format, DRAM and revision of all.
    parts : iterator of Trace
        All parts, the first too; the arrays of a part are good up to the next one. Raises as `open_trace`.
    """

    def __init__(self, parts: Iterator[Trace], size: int | None, place: Callable[[], int]):
        self.first = next(parts)
        self.parts = itertools.chain([self.first], parts)
        self._size, self._place = size, place

    def progress(self) -> tuple[int, int | None]:
        """Return the bytes of the file that were read, and how many it has (None: nobody knows)."""
        return self._place(), self._size


def read_trace(path: str, form: str | None = None, word_bytes: int = 1) -> Trace:
    """Read a whole trace; arguments and errors are those of `open_trace`.

    Returns
    -------
    Trace
    """
    with open_trace(path, form, word_bytes) as trace:
        names = [name for name in ("op", "addr", "time") if getattr(trace.first, name) is not None]
        if trace.first.format == "npz":
            return trace.first
        parts = [[getattr(part, name).copy() for name in names] for part in trace.parts]
        whole = (np.concatenate(values) for values in zip(*parts, strict=True))
        return msgspec.structs.replace(trace.first, **dict(zip(names, whole, strict=True)))


@contextlib.contextmanager
def open_trace(path: str, form: str | None = None, word_bytes: int = 1) -> Iterator[OpenTrace]:
    """Open a trace of text or `.npz` as a context; `-` is standard input.

    Parameters
    ----------
    path : str
    form : str, optional
        One of `FORMATS`; without it the first line tells, where it is unmistakable, and else it is CSV.
    word_bytes : int
        Bytes of a word of a SCALE-Sim trace.

    Raises
    ------
    EmuError
        The file cannot be read, or is no trace: file, line or array is named.
    """
    what = f"trace {path}"
    with contextlib.ExitStack() as stack:
        with _errors_of(what):
            if path == STANDARD_INPUT:
                if sys.stdin is None:
                    raise EmuError(f"{what}: standard input is closed")
                file: Any = sys.stdin.buffer  # a reader that can peek
            else:
                file = stack.enter_context(open_input(path))
        parts = stack.enter_context(contextlib.closing(_parts(file, path, what, form, word_bytes)))
        size, place = _extent(file)
        yield OpenTrace(parts, size, place)


def _extent(file):
    """Bytes of a file, None where they are not known, and what tells how many of them were read."""
    try:
        found = os.fstat(file.fileno())
    except (AttributeError, OSError, ValueError):  # none of the system's files
        return None, lambda: 0
    regular = stat.S_ISREG(found.st_mode)
    return (found.st_size, lambda: os.lseek(file.fileno(), 0, os.SEEK_CUR)) if regular else (None, lambda: 0)


def _parts(file, path, what, form, word_bytes):
    """Yield the parts of an open trace, one at least."""
    with _errors_of(what), contextlib.ExitStack() as stack:
        start = file.peek(8)[:8]
        if start.startswith(GZIP):
            file = io.BufferedReader(gzip.GzipFile(fileobj=file))
            start = file.peek(8)[:8]
        if start.startswith(GEM5):
            raise EmuError(f"{what}: found gem5's binary packets, expected what gem5's decode_packet_trace.py makes of"
                           " them")
        if start.startswith(NPY):
            raise EmuError(f"{what}: found a single array (.npy), expected a .npz file")
        if start.startswith(ZIP) or (path.endswith(".npz") and path != STANDARD_INPUT):
            if form is not None:
                raise EmuError(f"{what}: found a .npz file, expected format {form}")
            yield _read_npz(path, what)
            return
        if (form or _format_at_start(file, what)) == "csv":
            from .dram_trace_csv import read_csv

            form, parts = "csv", read_csv(file, what, MAX_ACCESSES)
        else:
            text = io.TextIOWrapper(file, encoding="utf-8-sig")  # spreadsheets begin CSV with a byte order mark
            stack.callback(text.detach)  # standard input is not its to close
            lines = _Lines(text, what)
            form = form or lines.format()
            parts = _read_text(lines, what, form, word_bytes)
        timed = FORMATS[form].times
        for time, op, address in itertools.chain(parts, [_NO_ACCESSES]):
            yield Trace(format=form, times=timed, time=time if timed else None, op=op, addr=address)


_NO_ACCESSES = tuple(np.zeros(0, dtype=kind) for kind in (np.uint64, np.uint8, np.uint64))


def _format_at_start(file, what):
    """Format that the first line tells of a text, None where it does not lie at the very start."""
    lines = file.peek(START)[:START].removeprefix(b"\xef\xbb\xbf").decode("ascii", "replace").splitlines(keepends=True)
    texts = (line.partition("#")[0].strip() for line in lines if line.endswith(("\n", "\r")))
    return next((guess(text, os.path.basename(what)) for text in texts if text), None)


@contextlib.contextmanager
def _errors_of(what):
    """Context whose errors of reading are one line."""
    try:
        yield
    except UnicodeDecodeError:
        raise EmuError(f"{what}: found bytes that are no UTF-8 text, expected a trace of text or .npz") from None
    except (gzip.BadGzipFile, zlib.error, EOFError):
        raise EmuError(f"{what}: found damaged gzip data") from None
    except OSError as error:
        raise EmuError(f"{what}: cannot read: {error.strerror or error}") from None
    except ValueError as error:  # a name with a NUL
        raise EmuError(f"{what}: cannot read: {error}") from None


class _Lines:
    """Lines of a text with their numbers; neither a line nor the text goes on for ever."""

    def __init__(self, file, what):
        self._file, self._what = file, what
        self._number = self._size = 0
        self._ahead: list[tuple[int, str]] = []

    def __iter__(self):
        return self

    def __next__(self):
        if self._ahead:
            return self._ahead.pop(0)
        line = self._file.readline(MAX_LINE + 2)
        if not line:
            raise StopIteration
        self._number, self._size = self._number + 1, self._size + len(line)
        if len(line.rstrip("\r\n")) > MAX_LINE:
            raise EmuError(f"{self._what}:{self._number}: found a line of more than {MAX_LINE} characters")
        if self._size > LARGEST["trace"]:
            raise EmuError(f"{self._what}: found more than {LARGEST['trace']} characters, expected at most that many")
        return self._number, line

    def format(self):
        """Format that the first line tells that holds anything; csv without one."""
        for number, line in self:
            if text := _without_comment(line):
                self._ahead = [(number, line)]
                return guess(text, os.path.basename(self._what))
        return "csv"


def _without_comment(line):
    return line.partition("#")[0].strip()


def _read_text(lines, what, form, word_bytes):
    """Yield times (0 where there are none), operations and addresses of some lines at a time."""
    timed, reader = FORMATS[form].times is not None, FORMATS[form].reader(word_bytes)
    last = count = 0
    times, ops, addresses = array("Q"), array("B"), array("Q")
    for number, line in lines:
        text = _without_comment(line)
        where = f"{what}:{number}"
        for time, op, address in reader.read(text, where) if text else ():
            if timed:
                if time < last:
                    name = "time_ps" if form == "csv" else "time"
                    raise EmuError(f"{where}: {name}: found {time} behind {last}, expected no falling times")
                last = time
                times.append(time)
            ops.append(op)
            addresses.append(address)
        if count + len(ops) > MAX_ACCESSES:
            raise EmuError(f"{where}: found more than {MAX_ACCESSES} accesses, the most a trace may have")
        if len(ops) >= PART:
            yield _as_arrays(times, ops, addresses)
            count += len(ops)
            times, ops, addresses = array("Q"), array("B"), array("Q")
    yield _as_arrays(times, ops, addresses)


def _as_arrays(times, ops, addresses):
    return (np.frombuffer(times, dtype=np.uint64), np.frombuffer(ops, dtype=np.uint8),
            np.frombuffer(addresses, dtype=np.uint64))


# What arrays hold, by the letter that numpy has for it.
_KINDS = {"b": "truth values", "i": "integers", "u": "integers", "f": "floats", "c": "complex numbers", "U": "strings",
          "S": "bytes"}


def _read_npz(path, what):
    if path == STANDARD_INPUT or not os.path.isfile(path):
        raise EmuError(f"{what}: found a .npz file, expected it as a file of its own: it is not read from a pipe")
    try:
        arrays = _arrays(path, what)
    except (EmuError, OSError) as error:
        if isinstance(error, EmuError) or error.strerror:
            raise
        raise EmuError(f"{what}: found no readable arrays, expected a .npz file") from None
    except Exception:  # whatever zip, its compressions and numpy's headers make of damaged bytes
        raise EmuError(f"{what}: found no readable arrays, expected a .npz file") from None
    for name, kinds in ARRAYS.items():
        if name not in arrays:
            raise EmuError(f"{what}: array {name!r} is missing")
        if arrays[name].ndim != 1 or arrays[name].dtype.kind not in kinds:
            found = _KINDS.get(arrays[name].dtype.kind, "other values")
            raise EmuError(f"{what}: array {name!r}: found {found} of {arrays[name].ndim} dimensions,"
                           f" expected {'strings' if kinds == 'U' else 'integers'} of one dimension")
    named = {name: _name_of(arrays[name], name, allowed, what)
             for name, allowed in (("preset", dram_names()), ("variant", REVISIONS)) if name in arrays}
    told = "description" in arrays
    if told and "preset" in named:
        raise EmuError(f"{what}: found a preset and a description, expected one of them")
    dram = _description_of(arrays["description"], path) if told else named.get("preset")
    return Trace(format="npz", batch_kind=arrays["batch_kind"].tolist(), dram=dram, isa=named.get("variant"),
                 without_dram=told and dram is None, **{name: arrays[name] for name in ARRAYS if name != "batch_kind"})


def _arrays(path, what):
    """Arrays of a .npz by name, those that are no part of a trace left out."""
    wanted = (*ARRAYS, "preset", "variant", "description")
    with zipfile.ZipFile(path) as members:
        size = sum(item.file_size for item in members.infolist() if item.filename.removesuffix(".npy") in wanted)
    if size > MAX_ARRAYS:
        raise EmuError(f"{what}: found arrays of {size} bytes, expected at most {MAX_ARRAYS}")
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files if name in wanted}


def _name_of(found, name, allowed, what):
    text = str(found) if found.ndim == 0 and found.dtype.kind == "U" else None
    if text not in allowed:
        raise EmuError(f"{what}: {name}: found {'no text' if text is None else shown(text)}, expected"
                       f" {one_of(allowed)}")
    return text


def _description_of(found, path):
    """Take the JSON text of a description; None for `null`."""
    what = f"trace {path}"
    text = str(found) if found.ndim == 0 and found.dtype.kind == "U" else None
    if text is None or len(text) > LARGEST["DRAM description"]:
        size = "no text" if text is None else f"{len(text)} characters"
        raise EmuError(f"{what}: description: found {size}, expected JSON text of a DRAM description or null")
    data = parse_json(text, f"{what}: description")
    return None if data is None else to_dram(data, path, "trace")
