"""The HBM regions that transfers are charged to: those of the manifest, with names from the tables of the build."""

import os

import msgspec

from ...errors import EmuError
from ...manifests.generate import ADDRESSES_NAME, regions_of_build
from ...manifests.schema import Manifest, Region

OUTSIDE = "outside"  # of all regions


class NamedRegion(msgspec.Struct, frozen=True):
    """A region and the name of its tensor."""

    name: str
    region: Region


def named_regions(manifest: Manifest, directory: str | None) -> tuple[list[NamedRegion], list[str]]:
    """List the HBM regions of a run.

    Parameters
    ----------
    manifest : Manifest
        Of the memory model; where it has no regions, those of the build's tables take their place.
    directory : str or None
        Build directory, for `hbm_addrs.json` and the tables beside it.

    Returns
    -------
    list of NamedRegion, list of str
        Regions in the order in which they claim addresses (§3.6), one that no table names called by kind and offset;
        warnings, where the tables are malformed and so give no names.
    """
    regions = list(manifest.regions)
    names: dict[int, str] = {}
    warnings: list[str] = []
    if directory is not None and os.path.lexists(os.path.join(directory, ADDRESSES_NAME)):
        try:
            of_tables, _, _, names = regions_of_build(directory)
            regions = regions or of_tables
        except EmuError as error:
            warnings.append(f"{error}: no names of HBM regions from it")
    return [NamedRegion(names.get(region.offset, f"{region.kind}@{region.offset}"), region)
            for region in regions], warnings
