"""The static view: no execution, counts from the loops around each instruction (spec §6.4).

Text is read the way the reference does, so that lines which would not assemble still count: an instruction is a
line whose first token starts with S_, C_, H_, V_ or M_.
"""

import re

from .. import isa
from ..errors import EmuError
from ..kernels.layout import OP_ID, OP_IMM, OP_RD, OP_RS3
from ..program.decode import Program
from .model import LARGEST_FIGURE, Entry, Listing, match_loops

_PREFIXES = ("S_", "C_", "H_", "V_", "M_")
_DIGITS = re.compile(r"(?:gp|f|a)?(0[xX][0-9a-fA-F]{1,8}|[0-9]{1,10})")


def read_assembly(text: str, source: str = "<text>") -> Listing:
    """Read assembly text; comment lines right above a C_LOOP_START become its label.

    Raises `EmuError` when a C_LOOP_START has no readable count, which names the line, and for text without any
    instruction, which is no program.
    """
    entries, labels, comment, others = [], {}, None, []
    rows = text.split("\n")
    for number, row in enumerate(rows, 1):
        line = row.split(";", 1)[0].split("//", 1)[0].strip()
        if not line:
            words = row.strip(" \t\r;/")
            comment = words or comment
            continue
        mnemonic, *rest = line.split(None, 1)
        if not mnemonic.startswith(_PREFIXES):
            others.append(number)
            continue
        entry = _entry(mnemonic, rest[0].split(",") if rest else [], number)
        if mnemonic == "C_LOOP_START":
            if entry.imm is None or entry.rd < 0:
                raise EmuError(f"assembly {source}, line {number}: C_LOOP_START has no readable register and count")
            if comment:
                labels[number] = comment
        entries.append(entry)
    if others and not entries:
        raise EmuError(f"assembly {source}: found no instruction, expected lines that begin with a mnemonic")
    lines = len(rows) - (rows[-1] == "")
    return Listing(source, lines, entries, labels)


def _entry(mnemonic, operands, number):
    """Entry of one line. What cannot be read counts as a register other than 0, and as no number."""
    values = [_DIGITS.fullmatch(operand.strip()) for operand in operands]
    values = [int(match[1], 16 if match[1][:2] in ("0x", "0X") else 10) if match else None for match in values]
    values += [None] * (4 - len(values))
    op = isa.BY_MNEMONIC.get(mnemonic)
    rd = -1 if values[0] is None else values[0]
    return Entry(mnemonic, op, rd, values[1], 0 if values[3] is None else values[3], number)


def read_program(program: Program, source: str) -> Listing:
    """List a decoded program; its lines are its words."""
    names = {op.id: op.name(program.revision) for op in isa.OPS}
    columns = program.table[:, [OP_ID, OP_RD, OP_IMM, OP_RS3]].tolist()
    entries = [
        Entry(names.get(op, "INVALID"), isa.BY_ID[op], rd, imm, rs3) for op, rd, imm, rs3 in columns
    ]
    return Listing(source, len(entries), entries)


def _where(entries, index):
    return f"line {entries[index].line}" if entries[index].line else f"pc={index}"


def static_counts(listing: Listing) -> list[int]:
    """Count how often each instruction runs if every loop makes all its iterations; adds warnings to the listing.

    Raises `EmuError` where an instruction would run more than 2^63 - 1 times.
    """
    entries = listing.entries
    spans, strays = match_loops(entries)
    for index in strays:
        closing = f"{_where(entries, index)}: C_LOOP_END gp{entries[index].rd}"
        listing.warnings.append(f"{closing} closes no open loop: ignored")
    if any(entry.mnemonic == "C_BREAK" for entry in entries):
        listing.warnings.append("C_BREAK leaves loops early: the static view counts all iterations")
    trips = {span.start: entries[span.start].imm for span in spans}
    ends = {span.end: entries[span.start].imm for span in spans}
    counts, factors = [], [1]
    for index in range(len(entries)):
        counts.append(factors[-1])
        if index in trips:
            factors.append(factors[-1] * trips[index])
            if factors[-1] > LARGEST_FIGURE:
                where = _where(entries, index)
                raise EmuError(f"{listing.source}, {where}: found loops that make more than {LARGEST_FIGURE} iterations"
                               " in all, expected at most that many")
        elif index in ends:
            factors.pop()
    return counts
