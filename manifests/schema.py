"""The weight manifest: which bytes of the HBM belong to which layer, and of what kind (spec §3.6)."""

import json

import msgspec
from plena_emu.errors import EmuError

KINDS = ("weight", "kv", "activation")
U32_MAX = 2**32 - 1
U64_MAX = 2**64 - 1


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
        """Sum of the sizes of the regions of these kinds, of all regions when none is named (§3.6)."""
        return sum(region.size for region in self.regions if not kinds or region.kind in kinds)


def load_manifest(path: str) -> Manifest:
    """Read and check a manifest file.

    Raises
    ------
    EmuError
        The file cannot be read, is not JSON, or breaks §3.6: one line with the file and the key.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise EmuError(f"weight manifest {path}: cannot read it: {error.strerror}") from None
    return parse_manifest(data, str(path))


def parse_manifest(data: bytes, source: str = "manifest") -> Manifest:
    """Check the JSON text of a manifest; `source` names it in messages. Raises `EmuError` as `load_manifest`."""
    reader = _Reader(source)
    top = reader.decode(data)
    fields = reader.table(top, "", required=("activation_ceiling", "regions"), optional=("ddr_capacity_bytes",))
    regions = fields["regions"]
    if type(regions) is not list:
        reader.refuse("regions", regions, "a list of objects")
    capacity = fields.get("ddr_capacity_bytes")
    return Manifest(
        activation_ceiling=reader.unsigned(fields["activation_ceiling"], "activation_ceiling", U64_MAX),
        regions=tuple(reader.region(entry, f"regions[{at}]") for at, entry in enumerate(regions)),
        ddr_capacity_bytes=None if capacity is None else reader.unsigned(capacity, "ddr_capacity_bytes", U64_MAX),
        source=source,
        warnings=tuple(reader.warnings),
    )


class _Pairs(list):
    """The members of a JSON object in order, so that a repeated key is seen."""


class _Reader:
    """Checks of one file; every message names the file and the key."""

    def __init__(self, source):
        self.source = source
        self.warnings = []

    def fail(self, text):
        raise EmuError(f"weight manifest {self.source}: {text}")

    def refuse(self, key, found, expected):
        self.fail(f"{key}: found {_shown(found)}, expected {expected}")

    def decode(self, data):
        try:
            return json.loads(data.decode("utf-8"), object_pairs_hook=_Pairs)
        except UnicodeDecodeError as error:
            self.fail(f"not UTF-8 text (byte {error.start})")
        except json.JSONDecodeError as error:
            self.fail(f"not JSON: line {error.lineno}, column {error.colno}: {error.msg}")
        except RecursionError:
            self.fail("not a manifest: nested too deeply")
        except ValueError:
            self.fail("a number has too many digits, expected integers below 2^64")

    def table(self, value, where, required, optional):
        """Members of an object as a dict; unknown ones are warned about, as testbenches may add notes."""
        if not isinstance(value, _Pairs):
            self.refuse(where or "top level", value, "an object")
        prefix = f"{where}." if where else ""
        fields = {}
        for key, entry in value:
            if key in fields:
                self.fail(f"{prefix}{key}: found twice, expected once")
            fields[key] = entry
            if key not in required and key not in optional:
                self.warnings.append(f"weight manifest {self.source}: {prefix}{key}: unknown key, ignored")
        for key in required:
            if key not in fields:
                self.fail(f"{prefix}{key}: missing")
        return fields

    def unsigned(self, value, key, most):
        if type(value) is not int or not 0 <= value <= most:
            self.refuse(key, value, f"an integer from 0 to {most}")
        return value

    def region(self, value, where):
        fields = self.table(value, where, required=("layer_id", "offset", "size"), optional=("kind",))
        kind = fields.get("kind", "weight")
        if kind not in KINDS:
            self.refuse(f"{where}.kind", kind, "one of " + ", ".join(KINDS))
        region = Region(
            layer_id=self.unsigned(fields["layer_id"], f"{where}.layer_id", U32_MAX),
            offset=self.unsigned(fields["offset"], f"{where}.offset", U64_MAX),
            size=self.unsigned(fields["size"], f"{where}.size", U64_MAX),
            kind=kind,
        )
        if region.end > U64_MAX + 1:
            self.fail(f"{where}: offset + size is {region.end}, expected at most 2^64")
        return region


def _shown(value):
    if isinstance(value, _Pairs):
        return "an object"
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."
