"""CSV traces of a DRAM read by a kernel, a part of the text at a time; lines that it does not know are read one by one.

Completions are written by a kernel, too.

What a trace says, and what is wrong with one, is up to `dram_trace_formats.CsvReader`: the kernel takes usual lines.
"""

import io
from collections.abc import Iterator

import numpy as np

from ..errors import EmuError
from ..inputs.text import LARGEST
from ..kernels.dram import trace_text as tt
from .dram_trace_formats import COMPLETIONS, HEADER, CsvReader

PART = 1 << 20  # bytes read at a time
MAX_LINE = 1 << 20  # characters
SHORTEST = len("0,read,0\n")  # line of an access
PADDING = 64  # bytes that the kernel may look at behind a text
FIRST_LINE = (",".join(COMPLETIONS) + "\n").encode()  # of completions
_MARK = b"\xef\xbb\xbf"  # byte order mark, with which spreadsheets begin CSV


class CsvAccesses:
    """Reader of the accesses of a CSV trace, a part of its text at a time.

    Parameters
    ----------
    what : str
        Names the trace in messages.
    most : int
        Accesses that a trace may have.
    """

    def __init__(self, what: str, most: int):
        self._what = what
        self._most = most
        self._reader = CsvReader()
        self._reg = np.zeros(tt.TEXT_WIDTH, dtype=np.int64)
        self._accesses = 0  # of the parts before
        self._time = np.zeros(0, dtype=np.int64)
        self._op = np.zeros(0, dtype=np.uint8)
        self._address = np.zeros(0, dtype=np.int64)

    def feed(self, text: np.ndarray, stop: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Read the whole lines `text[:stop]`, the last of which ends with a newline; `PADDING` bytes follow it.

        Returns
        -------
        (np.ndarray, np.ndarray, np.ndarray)
            uint64 times in ps, uint8 operations (1 for a write), uint64 addresses; they are good up to the next call.

        Raises
        ------
        EmuError, UnicodeDecodeError
            A line is none of a trace; a byte is no UTF-8.
        """
        reg = self._reg
        self._accesses += int(reg[tt.TEXT_ACCESSES])
        reg[tt.TEXT_AT] = reg[tt.TEXT_ACCESSES] = 0
        self._make_room(stop // SHORTEST + 1)
        while not tt.parse_csv(text, stop, self._reader.more_fields, self._time, self._op, self._address, reg):
            at = int(reg[tt.TEXT_AT])
            end = at + int((text[at:stop] == tt.NEWLINE).argmax())
            self._read_line(text[at:end].tobytes())
            reg[tt.TEXT_AT] = end + 1
        count = int(reg[tt.TEXT_ACCESSES])
        if self._accesses + count > self._most:
            raise EmuError(f"{self._what}:{reg[tt.TEXT_LINES]}: found more than {self._most} accesses, the most a trace"
                           " may have")
        return self._time[:count].view(np.uint64), self._op[:count], self._address[:count].view(np.uint64)

    def _make_room(self, needed):
        """Make the arrays long enough for `needed` accesses."""
        if needed > len(self._time):
            self._time, self._op, self._address = (np.zeros(needed, dtype=array.dtype)
                                                   for array in (self._time, self._op, self._address))

    def _read_line(self, raw):
        """Read a line that the kernel left; a lone carriage return ends a line, too."""
        reg = self._reg
        if self._accesses + reg[tt.TEXT_ACCESSES] > 0:
            self._reader.expect_accesses()
        for piece in raw.removesuffix(b"\r").split(b"\r"):
            reg[tt.TEXT_LINES] += 1
            where = f"{self._what}:{reg[tt.TEXT_LINES]}"
            if len(piece) > MAX_LINE:
                raise EmuError(f"{where}: found a line of more than {MAX_LINE} characters")
            text = piece.decode().partition("#")[0].strip()
            for time, op, address in self._reader.read(text, where) if text else ():
                if time < reg[tt.TEXT_TIME]:
                    raise EmuError(f"{where}: {HEADER[0]}: found {time} behind {reg[tt.TEXT_TIME]}, expected no falling"
                                   " times")
                at = int(reg[tt.TEXT_ACCESSES])
                self._time[at], self._op[at] = time, op
                self._address[at : at + 1].view(np.uint64)[0] = address
                reg[tt.TEXT_TIME] = time
                reg[tt.TEXT_ACCESSES] += 1

    @property
    def lines(self) -> int:
        """Lines read so far."""
        return int(self._reg[tt.TEXT_LINES])


def read_csv(file: io.BufferedIOBase, what: str, most: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Read the accesses of a CSV trace part by part; `what` names it, `most` accesses may be in it.

    Yields
    ------
    (np.ndarray, np.ndarray, np.ndarray)
        As `CsvAccesses.feed`.

    Raises
    ------
    EmuError, UnicodeDecodeError
        A line is none of a trace; a byte is no UTF-8.
    """
    found = CsvAccesses(what, most)
    room = bytearray(MAX_LINE + PART + PADDING)  # the beginning of a line, then what is read
    text = np.frombuffer(room, dtype=np.uint8)
    rest = size = 0
    while read := file.readinto(memoryview(room)[rest : rest + PART]):
        size, end = size + read, rest + read
        if size == read and room.startswith(_MARK):
            end -= len(_MARK)
            text[:end] = text[len(_MARK) : end + len(_MARK)].copy()
        if size > LARGEST["trace"]:
            raise EmuError(f"{what}: found more than {LARGEST['trace']} characters, expected at most that many")
        stop = room.rfind(b"\n", 0, end) + 1
        if not stop:  # a lone carriage return ends a line, too; one at the end may belong to a line feed
            stop = room.rfind(b"\r", 0, max(0, end - 1)) + 1
        if stop:
            room[stop - 1] = tt.NEWLINE
            yield found.feed(text, stop)
            text[: end - stop] = text[stop:end].copy()
        rest = end - stop
        if rest > MAX_LINE:
            raise EmuError(f"{what}:{found.lines + 1}: found a line of more than {MAX_LINE} characters")
    if rest:
        room[rest] = tt.NEWLINE
        yield found.feed(text, rest + 1)


def completion_lines(found) -> bytes:
    """Return the lines of some `Completions`, `time_ps,op,address,accept_ps,done_ps` each; they are a trace again."""
    text = np.empty(len(found.address) * tt.LONGEST, dtype=np.uint8)
    size = tt.format_completions(found.issue_ps, found.write, found.address, found.accept_ps, found.done_ps, text)
    return text[:size].tobytes()
