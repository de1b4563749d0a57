"""The weight manifest: which bytes of the HBM belong to which layer, and of what kind (spec §3.6)."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from plena_emu.errors import EmuError
from plena_emu.inputs.documents import parse_json
from plena_emu.inputs.schema import convert
from plena_emu.inputs.text import decode_text, read_text
from plena_emu.inputs.words import cut, shown

KIND = "weight manifest"  # of input file
KINDS = ("weight", "kv", "activation")
U32_MAX = 2**32 - 1
U64_MAX = 2**64 - 1
Address = Annotated[int, Meta(ge=0, extra={"most": U64_MAX})]


class Region(msgspec.Struct, frozen=True):
    """`size` bytes from byte address `offset` on, of one layer and one kind (a member of `KINDS`)."""

    layer_id: int
    offset: int
    size: int
    kind: str = "weight"

    @property
    def end(self) -> int:
        """First byte address behind the region."""
        return self.offset + self.size


class Manifest(msgspec.Struct, frozen=True):
    """A checked manifest.

    Attributes
    ----------
    activation_ceiling : int
        Byte address from which on regions count as weights for `host-stream` (§3.7).
    regions : tuple of Region
        In the order of the file: an address belongs to the first one that contains it.
    ddr_capacity_bytes : int or None
        The board's DDR, where the manifest states it.
    source : str
        The file, for messages.
    warnings : tuple of str
        What was ignored, one line each.
    """

    activation_ceiling: int
    regions: tuple[Region, ...] = ()
    ddr_capacity_bytes: int | None = None
    source: str = "manifest"
    warnings: tuple[str, ...] = ()

    def footprint(self, *kinds: str) -> int:
        """Sum the sizes of the regions of these kinds, of all regions when none is named (§3.6)."""
        return sum(region.size for region in self.regions if not kinds or region.kind in kinds)


class _RegionEntry(msgspec.Struct, frozen=True):
    """A region as the file writes it; numbers above 2^64 - 1 are left to `_check_region`."""

    layer_id: Annotated[int, Meta(ge=0, le=U32_MAX)]
    offset: Address
    size: Address
    kind: Literal["weight", "kv", "activation"] = "weight"


class _File(msgspec.Struct, frozen=True):
    """The keys of a manifest file (§3.6)."""

    activation_ceiling: Address
    regions: tuple[_RegionEntry, ...]
    ddr_capacity_bytes: Address | None = None


def load_manifest(path: str) -> Manifest:
    """Read and check a manifest file.

    Returns
    -------
    Manifest

    Raises
    ------
    EmuError
        The file cannot be read, is not JSON, or breaks §3.6: one line with the file and the key.
    """
    return _checked(read_text(path, KIND), str(path))


def parse_manifest(data: bytes, source: str = "manifest") -> Manifest:
    """Check the JSON text of a manifest; `source` names it in messages. Raises `EmuError` as `load_manifest`.

    Returns
    -------
    Manifest
    """
    return _checked(decode_text(data, f"{KIND} {source}"), source)


def _checked(text, source):
    """Make a `Manifest` of JSON text."""
    where = f"{KIND} {source}"
    document = parse_json(text, where)
    file = convert(document, _File, where)
    _check_address(file.activation_ceiling, f"{where}: activation_ceiling")
    _check_address(file.ddr_capacity_bytes, f"{where}: ddr_capacity_bytes")
    for number, region in enumerate(file.regions):
        _check_region(region, f"{where}: regions[{number}]")
    return Manifest(
        activation_ceiling=file.activation_ceiling,
        regions=tuple(Region(*msgspec.structs.astuple(region)) for region in file.regions),
        ddr_capacity_bytes=file.ddr_capacity_bytes, source=source,
        warnings=tuple(f"{where}: {key}: unknown key, ignored" for key in _unknown_keys(document)),
    )


def _check_address(value, where):
    """Refuse what does not fit in 64 bits; msgspec knows no bound above 2^63 - 1."""
    if value is not None and value > U64_MAX:
        raise EmuError(f"{where}: found {shown(value)}, expected an integer from 0 to {U64_MAX}")


def _check_region(region, where):
    _check_address(region.offset, f"{where}.offset")
    _check_address(region.size, f"{where}.size")
    end = region.offset + region.size
    if end > U64_MAX + 1:
        raise EmuError(f"{where}: found offset + size {end}, expected at most 2^64")


def _unknown_keys(document):
    """Name the keys that §3.6 does not: testbenches may add notes, so they are no errors."""
    for key in document:
        if key not in _File.__struct_fields__:
            yield cut(key)
    for number, region in enumerate(document["regions"]):
        for key in region:
            if key not in _RegionEntry.__struct_fields__:
                yield f"regions[{number}].{cut(key)}"
