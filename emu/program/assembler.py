"""Assembly text <-> 32-bit words, both driven by the `text` forms of `isa.OPS` (spec §1.9).

Assembler and disassembler are exact inverses on every word: a word that no line produces is written `.word`.
"""

import functools
import operator

from .. import isa
from ..errors import EmuError, UsageError
from ..inputs.text import read_text
from ..inputs.words import cut, one_of, shown

# Registers of each operand kind: prefix and how many there are.
_REGISTERS = {"gp": 16, "f": 8, "a": 16}
_REGISTER_FIELDS = ("rd", "rs1", "rs2")
# Their mask is taken for an immediate by older assemblers of the reference, and so lands in a field that they ignore.
_MASK_AS_IMMEDIATE = ("V_EXP_V", "V_RECI_V", "V_RED_SUM", "V_RED_MAX")
_U32 = 0xFFFFFFFF
_OPCODE_MASK = 0x3F


class _Slot:
    """One operand of a form: where it is encoded (`width` 0: nowhere) and how it is written."""

    __slots__ = ("name", "kind", "optional", "shift", "width")

    def __init__(self, text):
        self.optional = text.startswith("[")
        text = text.strip("[]")
        self.name, _, self.kind = text.partition(":")
        self.shift = self.width = 0
        if self.kind:
            self.shift, self.width = isa.FIELDS[isa.FIELD_OF.get(self.name, self.name)]

    @property
    def is_spare_register(self):
        """`[gp0]`: written by old programs, recognised by its spelling, not encoded."""
        return self.name == "gp0"

    @property
    def is_register(self):
        """Whether it is a register number, which may be written as a register and as a number."""
        return self.name in _REGISTER_FIELDS and bool(self.kind)

    @property
    def count(self):
        """How many different values may be written."""
        return _REGISTERS.get(self.kind, 1 << self.width)

    @property
    def expected(self):
        """Description for errors."""
        if self.kind in _REGISTERS:
            return f"{self.name}, a register {self.kind}0 to {self.kind}{self.count - 1}"
        if not self.kind:
            return "0"
        if self.is_register:
            return f"{self.name}, a number from 0 to {self.count - 1} or a register gp0 to gp{self.count - 1}"
        return f"{self.name}, a number from 0 to {self.count - 1}"


@functools.cache
def _form(op):
    """Slots of `op` and the mask of every bit a line can set."""
    slots = tuple(_Slot(text) for text in op.text)
    mask = _OPCODE_MASK
    for slot in slots:
        mask |= ((1 << slot.width) - 1) << slot.shift
    return slots, mask


def read_source(path: str) -> str:
    """Read a file of assembly text; every line ends with a line feed then. Raises `EmuError`.

    Returns
    -------
    str
    """
    return read_text(path, "assembly").replace("\r\n", "\n").replace("\r", "\n")


def assemble(
    text: str, revision: str = "base", source: str = "<text>", *, reference_masks: bool = False
) -> list[int]:
    """Assemble a text.

    A register number may be written as a register or as a number: `M_MM gp0, gp1, gp2` and `M_MM 0, 1, 2` are one word.

    Parameters
    ----------
    text : str
        One instruction a line (spec §1.9).
    revision : str
        `base` or `moe`.
    source : str
        What messages call the text.
    reference_masks : bool
        Put the mask of V_EXP_V, V_RECI_V, V_RED_SUM and V_RED_MAX where older assemblers of the reference put it: into
        bits 14 to 17, which these instructions do not read. They then work on the whole row.

    Returns
    -------
    list of int
        32-bit words.

    Raises
    ------
    EmuError
        A line is no instruction of `revision`; the message names `source`, line and token. `UsageError` for arguments
        of the wrong type.
    """
    if not isinstance(text, str):
        raise UsageError(f"text: found {shown(text)}, expected text")
    _check_revision(revision)
    codes = {op.id: code for code, op in isa.codes(revision).items()}
    word_of = functools.cache(lambda line: _assemble_line(line, revision, codes, reference_masks))
    words = []
    for number, line in enumerate(text.split("\n"), 1):
        line = line.split(";", 1)[0].split("//", 1)[0].strip()
        if line:
            try:
                words.append(word_of(line))
            except _Refused as refusal:
                raise EmuError(f"assembly {source}, line {number}: {refusal}") from None
    return words


def _check_revision(revision):
    if not isinstance(revision, str) or revision not in isa.REVISIONS:
        raise UsageError(f"revision: found {shown(revision)}, expected {one_of(isa.REVISIONS)}")


class _Refused(Exception):
    """Why a line is no instruction."""


def _assemble_line(line, revision, codes, reference_masks):
    mnemonic, *rest = line.split(None, 1)
    operands = [token.strip() for token in rest[0].split(",")] if rest else []
    if mnemonic == ".word":
        if len(operands) != 1:
            raise _Refused(f"found {len(operands)} operands, expected .word and one 32-bit number")
        return _number(operands[0], 1 << 32, ".word, a number of at most 32 bits")
    op = isa.BY_MNEMONIC.get(mnemonic)
    if op is None:
        raise _Refused(f"found {cut(mnemonic)!r}, expected a mnemonic")
    if op.id not in codes:
        raise _Refused(f"found {mnemonic!r}, which revision {revision} does not have")
    return codes[op.id] | _encode_operands(op, operands, reference_masks and op.mnemonic in _MASK_AS_IMMEDIATE)


def _encode_operands(op, operands, mask_as_immediate):
    bits = 0
    taken = 0
    slots, _ = _form(op)
    for slot in slots:
        token = operands[taken] if taken < len(operands) else None
        if token is None and slot.optional:
            continue
        if token is None:
            raise _Refused(f"found the end of the line after {op.mnemonic}, expected {slot.expected}")
        if slot.is_spare_register:
            if not token.startswith("gp"):
                continue
            if token != "gp0":
                raise _Refused(f"found {cut(token)!r}, expected gp0 or the number that follows it")
        else:
            moved = mask_as_immediate and slot.name == "rmask"
            bits |= _value(token, slot) << (isa.FIELDS["imm18"][0] if moved else slot.shift)
        taken += 1
    if taken < len(operands):
        raise _Refused(f"found {cut(operands[taken])!r}, expected the end of the line after {taken} operands")
    return bits


def _value(token, slot):
    """Value of one operand token."""
    prefix = slot.kind if slot.kind in _REGISTERS else "gp"
    if not slot.is_register or token[:1].isdigit():
        return _number(token, slot.count, slot.expected)
    digits = token[len(prefix):]
    canonical = token.startswith(prefix) and digits.isascii() and digits.isdigit() and len(digits) <= 2
    if not canonical or int(digits) >= slot.count:
        raise _Refused(f"found {cut(token)!r}, expected {slot.expected}")
    return int(digits)


def _number(token, limit, expected):
    """An unsigned number below `limit`, decimal or with `0x`."""
    digits, base, allowed = token, 10, "0123456789"
    if token[:2] in ("0x", "0X"):
        digits, base, allowed = token[2:], 16, "0123456789abcdefABCDEF"
    if digits and not digits.strip(allowed) and len(digits) <= 40 and int(digits, base) < limit:
        return int(digits, base)
    raise _Refused(f"found {cut(token)!r}, expected {expected}")


def disassemble(words, revision: str = "base") -> list[str]:
    """Write a line of assembly text for each word; `.word 0xXXXXXXXX` where no line produces it.

    Returns
    -------
    list of str

    Raises
    ------
    UsageError
        A word is no integer from 0 to 2^32 - 1.
    """
    _check_revision(revision)
    words = _words(words)
    codes = isa.codes(revision)
    line = functools.cache(lambda word: _disassemble_word(word, codes, revision))
    return [line(word) for word in words]


def _disassemble_word(word, codes, revision):
    op = codes.get(word & _OPCODE_MASK)
    if op is None:
        return f".word 0x{word:08X}"
    slots, mask = _form(op)
    written = [slot for slot in slots if slot.kind]
    values = [(word >> slot.shift) & ((1 << slot.width) - 1) for slot in written]
    if word & ~mask or any(value >= slot.count for slot, value in zip(written, values, strict=True)):
        return f".word 0x{word:08X}"
    while written and written[-1].optional and values[-1] == 0:
        written.pop()
        values.pop()
    texts = (f"{slot.kind}{value}" if slot.kind in _REGISTERS else str(value)
             for slot, value in zip(written, values, strict=True))
    return f"{op.name(revision)} {', '.join(texts)}".rstrip()


def mem_text(words) -> str:
    """Write the text of a .mem file: one `0xXXXXXXXX` a line. Raises `UsageError` as `disassemble`.

    Returns
    -------
    str
    """
    return "".join(f"0x{word:08X}\n" for word in _words(words))


def _words(values):
    """Take integers as words."""
    try:
        return [_word(value) for value in values]
    except TypeError:  # nothing to go through
        raise UsageError(f"words: found {shown(values)}, expected integers from 0 to {_U32}") from None


def _word(value):
    """Take an integer, numpy's too, as a 32-bit word."""
    try:
        word = operator.index(value)
    except TypeError:
        word = -1
    if not 0 <= word <= _U32:
        raise UsageError(f"words: found {shown(value)}, expected integers from 0 to {_U32}")
    return word
