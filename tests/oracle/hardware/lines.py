"""Byte ranges and 64-byte lines of a production DMA (spec §7.2, §7.3), one byte range and one line at a time."""

from dataclasses import dataclass

LINE = 64
U32 = (1 << 32) - 1
U64 = (1 << 64) - 1


class Unpackable(Exception):
    """An address or a length that §7.2 refuses instead of rounding it."""


@dataclass(frozen=True)
class Packing:
    """How a type packs: `bits` an element; `scale_bits` a scale of `block` elements, both 0 for a plain type."""

    bits: int
    scale_bits: int = 0
    block: int = 0


@dataclass(frozen=True)
class Piece:
    """Bytes [first, first + length) that belong to one row's elements or scales."""

    row: int
    scales: bool
    first: int
    length: int


def whole_bytes(count: int, bits: int) -> int:
    """B(k, b) of §7.2."""
    if bits & (bits - 1):
        raise Unpackable(f"{bits} bits are no power of two")
    if count * bits % 8:
        raise Unpackable(f"{count} of {bits} bits are no whole number of bytes")
    return count * bits // 8


def pieces(packing: Packing, n: int, rows: int, base: int, off: int, step: int, scale: int) -> list[Piece]:
    """Pieces of a DMA in the order in which a store writes them; all counts are in elements."""
    for name, count in (("offset", off), ("step", step), ("row length", n)):
        if packing.block and count % packing.block:
            raise Unpackable(f"{name} {count} is no multiple of the block {packing.block}")
    found = []
    for row in range(rows):
        jump = row * whole_bytes(step, packing.bits) & U32
        first = base + whole_bytes(off, packing.bits) + jump & U64
        found.append(Piece(row, False, first, whole_bytes(n, packing.bits)))
        if packing.block:
            start = whole_bytes(scale, packing.bits) + whole_bytes(off // packing.block, packing.scale_bits)
            jump = row * whole_bytes(step // packing.block, packing.scale_bits) & U32
            length = whole_bytes(n // packing.block, packing.scale_bits)
            found.append(Piece(row, True, base + (start & U32) + jump & U64, length))
    return found


def covered_bytes(found: list[Piece]) -> dict[int, set[int]]:
    """Line address to the offsets in it that some piece covers, ascending."""
    lines: dict[int, set[int]] = {}
    for piece in found:
        for byte in range(piece.first, piece.first + piece.length):
            lines.setdefault(byte // LINE * LINE & U64, set()).add(byte % LINE)
    return dict(sorted(lines.items()))


@dataclass(frozen=True)
class Plan:
    """Lines a DMA reads, then lines it writes, both ascending; how many of its lines it covers wholly and partly."""

    reads: tuple[int, ...]
    writes: tuple[int, ...]
    full: int
    partial: int

    @property
    def fingerprint(self) -> str:
        """`lines_hash` of the goldens: 64-bit FNV-1a."""
        text = "production-dma-lines-v2\n"
        text += "".join(f"R:{line:016x}\n" for line in self.reads)
        text += "".join(f"W:{line:016x}\n" for line in self.writes)
        value = 0xCBF29CE484222325
        for byte in text.encode():
            value = (value ^ byte) * 0x100000001B3 & U64
        return f"{value:016x}"


def plan(found: list[Piece], store: bool) -> Plan:
    """Lines of a prefetch or a store (§7.3)."""
    lines = covered_bytes(found)
    partial = [line for line, offsets in lines.items() if len(offsets) < LINE]
    full = len(lines) - len(partial)
    if store:
        return Plan(tuple(partial), tuple(lines), full, len(partial))
    return Plan(tuple(lines), (), full, len(partial))
