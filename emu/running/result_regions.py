"""`hbm_results.bin`: the HBM regions that a build's `results.json` names, dumped in every memory model (spec §9.2)."""

import msgspec

from ..errors import EmuError
from ..inputs.documents import parse_json
from ..inputs.schema import convert
from ..inputs.text import read_text


class Region(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A region of the HBM that a run writes to `hbm_results.bin`: `address` and `bytes` with the scales.

    `rows` × `columns` elements come first, then rows · columns / block scale bytes (§9.3).
    """

    name: str
    address: int
    bytes: int
    rows: int
    columns: int


class _ResultsFile(msgspec.Struct):
    """What a run needs of `results.json`."""

    regions: tuple[Region, ...] = ()


def read_result_regions(path: str, hbm_size: int) -> tuple[Region, ...]:
    """Read the regions of a `results.json`.

    Returns
    -------
    tuple of Region
        In the order in which `hbm_results.bin` holds them.

    Raises
    ------
    EmuError
        The file is unsound, or a region lies outside an HBM of `hbm_size` bytes.
    """
    where = f"results {path}"
    regions = convert(parse_json(read_text(path, "results"), where), _ResultsFile, where).regions
    for region in regions:
        if region.address < 0 or region.bytes < 0 or region.address + region.bytes > hbm_size:
            raise EmuError(f"{where}: region {region.name}: {region.bytes} bytes at {region.address} lie outside the"
                           f" HBM of {hbm_size} bytes")
    return regions


def region_pieces(hbm, regions):
    """Cut the regions out of the HBM, as `machine.dumps.DumpFile` takes them.

    Yields
    ------
    tuple
        Offset in the file and bytes.
    """
    offset = 0
    for region in regions:
        yield offset, hbm[region.address : region.address + region.bytes]
        offset += region.bytes
