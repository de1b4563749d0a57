"""Program file -> words -> dense table of decoded instructions (spec §1.3, §1.8, §5.1)."""

import functools
import os

import msgspec
import numpy as np

from .. import isa
from ..config.settings import Settings
from ..errors import EmuError
from ..inputs.opening import open_input
from ..kernels.layout import OP_COST, OP_F1, OP_ID, OP_IMM, OP_RD, OP_RS1, OP_RS2, OP_RS3, OP_WIDTH
from ..kernels.limits import TIME_LIMIT
from . import cycle_costs as costs
from .hex_words import TOKEN_BYTES, parse_words

_MARK = b"\xef\xbb\xbf"  # byte order mark, which some editors write
_PART = 1 << 20  # bytes read at a time
_LARGEST = 0xFFFFFFFF  # word


def read_words(path: str | os.PathLike) -> np.ndarray:
    """Read the words of a .mem file: whitespace-separated hex, each with or without `0x` (§5.1).

    Returns
    -------
    uint32[n]

    Raises
    ------
    EmuError
        The file cannot be read, or a token is no hexadecimal number of at most 32 bits (named with its line).
    """
    source = os.fspath(path)
    text, sound = _read_tokens(source)
    words = parse_words(text) if sound else None
    if words is None:
        raise _bad_token(source, text)
    return words


def _read_tokens(source):
    """Read bytes up to the first piece that holds what no word is made of; tell whether there was none."""
    parts = []
    sound = True
    try:
        with open_input(source) as file:
            while sound and (part := file.read(_PART)):
                part = part if parts else part.removeprefix(_MARK)
                parts.append(part)
                sound = not part.translate(None, TOKEN_BYTES)
    except OSError as error:
        raise EmuError(f"program {source}: cannot read: {error.strerror}") from None
    return b"".join(parts), sound


def _bad_token(source, text):
    """Name the first token which is no word."""
    for number, line in enumerate(text.split(b"\n"), 1):
        for token in line.split():
            if not _is_word(token):
                shown = token[:40].decode("ascii", "backslashreplace")
                return EmuError(f"program {source}, line {number}: found {shown!r}, expected a 32-bit hexadecimal word")
    raise AssertionError("no bad token in a program that did not parse")


def _is_word(token):
    digits = token[2:] if token[:2] in (b"0x", b"0X") else token
    return digits.isalnum() and not digits.translate(None, b"0123456789abcdefABCDEF") and int(digits, 16) <= _LARGEST


class Program(msgspec.Struct, frozen=True, eq=False):
    """A decoded program.

    Attributes
    ----------
    words : uint32[n]
    table : int64[n, OP_WIDTH]
        Columns of `kernels.layout`: op id, fields, immediate, compute picoseconds.
    revision : str
        `base` or `moe`.
    invalid : list of (pc, word)
        Words whose code the revision does not assign. They are errors only when executed.
    foreign : list of (pc, word, mnemonic)
        Those of `invalid` that the other revision does assign, with its mnemonic.
    lookalikes : list of (pc, word, mnemonic)
        Words whose code both revisions assign, to different operations, and whose operands fit the other's better; with
        its mnemonic.
    """

    words: np.ndarray
    table: np.ndarray
    revision: str
    invalid: list
    foreign: list
    lookalikes: list

    def __len__(self):
        return len(self.words)

    @property
    def waits_for_data(self) -> bool:
        """Whether control, and with it time, can depend on data: V_TOPK writes what S_LD_INT reads (§1.8)."""
        return {isa.V_TOPK, isa.S_LD_INT} <= set(self.table[:, OP_ID].tolist())

    def text(self, pc: int) -> str:
        """Write the instruction at word index `pc` for people, as `describe` does."""
        return describe(int(self.words[pc]), self.revision)

    def hint(self, pc: int) -> str:
        """Say what the word at `pc` means in the other revision, where this program shows that one; else nothing.

        Returns
        -------
        str
            Ready to be put behind an error of that instruction.
        """
        other = other_revision(self.revision)
        word = int(self.words[pc])
        mine, theirs = (isa.codes(revision).get(word & 0x3F) for revision in (self.revision, other))
        if theirs is None or theirs is mine or not (self.foreign or self.lookalikes):
            return ""
        return f"; --isa {other} reads this word as {describe(word, other)}"


def other_revision(revision: str) -> str:
    """Name the revision that `revision` is not.

    Returns
    -------
    str
    """
    return isa.REVISIONS[1 - isa.REVISIONS.index(revision)]


def decode(words: np.ndarray, revision: str, settings: Settings, period_ps: int = costs.PS_PER_CYCLE) -> Program:
    """Decode uint32[n] `words` for one revision; costs follow `settings`, a core cycle takes `period_ps`.

    Returns
    -------
    Program

    Raises
    ------
    EmuError
        A word encodes M_BMM or M_BTMM with rd other than 0 (§1.3), or takes longer than any run may; the message names
        its pc.
    """
    wide = np.asarray(words, dtype=np.int64)
    table = np.zeros((len(wide), OP_WIDTH), dtype=np.int64)
    table[:, OP_ID] = _codes_to_ids(revision)[wide & 0x3F]
    fields = ((OP_RD, "rd"), (OP_RS1, "rs1"), (OP_RS2, "rs2"), (OP_RS3, "rs3"), (OP_F1, "funct1"))
    for column, name in fields:
        table[:, column] = isa.field(wide, name)
    for name in ("imm18", "imm22"):
        rows = np.isin(table[:, OP_ID], [op.id for op in isa.OPS if name in op.operands])
        table[rows, OP_IMM] = isa.field(wide[rows], name)

    refused = np.flatnonzero(np.isin(table[:, OP_ID], isa.RD_MUST_BE_ZERO) & (table[:, OP_RD] != 0))
    if len(refused):
        pc = int(refused[0])
        name = isa.BY_ID[table[pc, OP_ID]].name(revision)
        word, rd = int(wide[pc]), int(table[pc, OP_RD])
        raise EmuError(f"program word 0x{word:08X} at pc={pc}: {name} with rd={rd}, expected rd=0")

    cycles = costs.column_cycles(
        table[:, OP_ID], table[:, OP_RD], table[:, OP_RS3], settings.latency.by_name(), settings.mlen, settings.vlen
    )
    too_long = np.flatnonzero(cycles > (TIME_LIMIT - 1) // period_ps)
    if len(too_long):
        pc = int(too_long[0])
        raise EmuError(f"pc={pc}: found {int(cycles[pc])} cycles of {period_ps} ps, expected less than {TIME_LIMIT} ps"
                       " (53 days)")
    table[:, OP_COST] = period_ps * cycles
    invalid, foreign = _unassigned(wide, table, revision)
    return Program(np.asarray(words, dtype=np.uint32), table, revision, invalid, foreign, _lookalikes(wide, revision))


def _codes_to_ids(revision):
    """int64[64]: op id of each 6-bit code."""
    ids = np.full(64, isa.INVALID, dtype=np.int64)
    for code, op in isa.codes(revision).items():
        ids[code] = op.id
    return ids


def _unassigned(wide, table, revision):
    """Lists of (pc, word) and (pc, word, mnemonic) for the words that decode to INVALID."""
    other = other_revision(revision)
    theirs = isa.codes(other)
    invalid = [(int(pc), int(wide[pc])) for pc in np.flatnonzero(table[:, OP_ID] == isa.INVALID)]
    foreign = [(pc, word, theirs[word & 0x3F].name(other)) for pc, word in invalid if word & 0x3F in theirs]
    return invalid, foreign


def _lookalikes(wide, revision):
    """List of (pc, word, mnemonic) for words of codes with two meanings that look like the other one."""
    other = other_revision(revision)
    mine, theirs = isa.codes(revision), isa.codes(other)
    found = []
    for code in mine.keys() & theirs.keys():
        if mine[code] is theirs[code]:
            continue
        here = np.flatnonzero((wide & 0x3F) == code)
        fits_mine, fits_theirs = ((wide[here] & ~_bits_of(op)) == 0 for op in (mine[code], theirs[code]))
        bare = (wide[here] == code) & bool(mine[code].operands) & (not theirs[code].operands)
        found += [(int(pc), int(wide[pc]), theirs[code].name(other)) for pc in here[fits_theirs & (~fits_mine | bare)]]
    return sorted(found)


@functools.cache
def _bits_of(op):
    """Mask of the code and the operands of an operation."""
    mask = 0x3F
    for name in op.operands:
        shift, width = isa.FIELDS[isa.FIELD_OF.get(name, name)]
        mask |= ((1 << width) - 1) << shift
    return mask


_KEY_VALUE = "KeyValue"
_FIRST_PRECISION = {"H_PREFETCH_M": "Weights", "H_PREFETCH_V": "Activation", "H_STORE_V": "Activation"}


@functools.lru_cache(maxsize=1 << 16)
def describe(word: int, revision: str) -> str:
    """Write a word as `MNEMONIC { field: value, ... }`, as debug records and errors show it (§5.2).

    Returns
    -------
    str
    """
    op = isa.codes(revision).get(word & 0x3F)
    if op is None:
        return f"INVALID {{ word: 0x{word:08X} }}"
    shown = []
    for name in op.operands:
        value = isa.field(word, name)
        if name == "precision":
            value = _FIRST_PRECISION[op.mnemonic] if value == 0 else _KEY_VALUE
        shown.append(f"{'imm' if name.startswith('imm') else name}: {value}")
    return f"{op.name(revision)} {{ {', '.join(shown)} }}" if shown else op.name(revision)
