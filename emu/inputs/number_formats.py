"""Number formats as input files write them: settings (spec §2.1, §5.3) and boards (§6.1)."""

import re
from typing import Annotated

import msgspec
from msgspec import Meta


class Fp(msgspec.Struct, frozen=True, tag_field="type", tag="Fp"):
    """Floating-point data type: `sign` bit or none, `exponent` bits, `mantissa` bits.

    At most 8 exponent and 23 mantissa bits: values become f32 (§2.2).
    """

    sign: bool
    exponent: Annotated[int, Meta(ge=1, le=8)]
    mantissa: Annotated[int, Meta(ge=0, le=23)]

    @property
    def size_in_bits(self) -> int:
        return int(self.sign) + self.exponent + self.mantissa

    def __str__(self):
        return f"{'' if self.sign else 'u'}e{self.exponent}m{self.mantissa}"


class Int(msgspec.Struct, frozen=True, tag_field="type", tag="Int"):
    """Integer data type of `width` bits."""

    width: Annotated[int, Meta(ge=1, le=32)]

    @property
    def size_in_bits(self) -> int:
        return self.width

    def __str__(self):
        return f"int{self.width}"


def parse_format(text: str) -> Fp | Int | None:
    """Parse a data type as `str` writes it: `e4m3`, `ue8m0` (no sign), `int8`.

    Returns
    -------
    Fp, Int or None
        None where the text is none, or one of bits that no data type has: `int64`.
    """
    found = re.fullmatch(r"(u?)e(\d{1,2})m(\d{1,2})|int(\d{1,2})", text, re.ASCII)
    if not found:
        return None
    unsigned, exponent, mantissa, width = found.groups()
    kind: Fp | Int = Int(int(width)) if width else Fp(not unsigned, int(exponent), int(mantissa))
    fits = 1 <= kind.width <= 32 if isinstance(kind, Int) else 1 <= kind.exponent <= 8 and kind.mantissa <= 23
    return kind if fits and str(kind) == text else None  # one spelling only: no e04m3


class Plain(msgspec.Struct, frozen=True, tag_field="format", tag="Plain", rename={"data_type": "DATA_TYPE"}):
    """Values stored one after the other."""

    data_type: Fp | Int

    @property
    def elem(self) -> Fp | Int:
        """Data type of an element, under the name it has in `Mx`."""
        return self.data_type

    @property
    def ratio(self) -> int:
        """Element bytes for each scale byte; 1 by convention (§2.1)."""
        return 1

    def __str__(self):
        return str(self.data_type)


class Mx(msgspec.Struct, frozen=True, tag_field="format", tag="Mx", rename={"elem": "ELEM", "scale": "SCALE"}):
    """Blocks of `block` elements that share a scale."""

    elem: Fp | Int
    scale: Fp | Int
    block: Annotated[int, Meta(ge=1, le=0xFFFF)]

    @property
    def ratio(self) -> int:
        """Element bytes for each scale byte (§2.1)."""
        return self.elem.size_in_bits * self.block // self.scale.size_in_bits

    def __str__(self):
        return f"mx({self.elem} x {self.block}, {self.scale})"
