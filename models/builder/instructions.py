"""One instruction word from a mnemonic and its operands, by the same table as the assembler (spec §1.3, §1.9)."""

import functools

from plena_emu import isa
from plena_emu.errors import EmuError


@functools.cache
def _slots(mnemonic: str) -> tuple[int, tuple[tuple[str, int, int, bool], ...]]:
    """Code of a mnemonic and its encoded operands in text order: name, bit position, number of values, optional."""
    op = isa.BY_MNEMONIC.get(mnemonic)
    if op is None or op.base is None:
        raise EmuError(f"instruction {mnemonic!r}: the base revision has none of this name")
    slots = []
    for text in op.text:
        optional = text.startswith("[")
        name, _, kind = text.strip("[]").partition(":")
        if kind:
            shift, width = isa.FIELDS[isa.FIELD_OF.get(name, name)]
            slots.append((name, shift, {"f": 8}.get(kind, 1 << width), optional))
    return op.base, tuple(slots)


@functools.lru_cache(maxsize=1 << 16)
def encode(mnemonic: str, *operands: int) -> int:
    """Encode an instruction of the base revision.

    Parameters
    ----------
    mnemonic : str
    operands : int
        Register numbers and immediates in the order of the assembly line (§1.9); optional ones may be left out.

    Returns
    -------
    int
        The 32-bit word.

    Raises
    ------
    EmuError
        The mnemonic or the number of operands is wrong, or an operand does not fit its field.
    """
    word, slots = _slots(mnemonic)
    needed = sum(not optional for *_, optional in slots)
    if not needed <= len(operands) <= len(slots):
        raise EmuError(f"instruction {mnemonic}: found {len(operands)} operands, expected {needed} to {len(slots)}")
    for value, (name, shift, count, _) in zip(operands, slots, strict=False):
        if not 0 <= value < count:
            raise EmuError(f"instruction {mnemonic}: {name}: found {value}, expected a number from 0 to {count - 1}")
        word |= value << shift
    return word
