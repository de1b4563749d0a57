"""The weight-manifest generator: address and size tables of a build -> manifest and report (spec §6.3)."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from plena_emu.errors import EmuError, UsageError
from plena_emu.inputs.arguments import count_of, given_path
from plena_emu.inputs.documents import parse_json
from plena_emu.inputs.schema import convert
from plena_emu.inputs.text import read_text
from plena_emu.inputs.words import shown

from .capacity_regime import choose_regime
from .footprint import footprint, layer_count, layer_ids, project_regions
from .region_names import kind_named, kind_of, layer_of, undecided_names, unused_patterns
from .schema import KINDS, U32_MAX, U64_MAX, Manifest, Region

if TYPE_CHECKING:
    from plena_emu.boards.schema import Board

__all__ = ["Report", "generate", "make_manifest", "manifest_json"]

MANIFEST_NAME = "weight_manifest.json"
ADDRESSES_NAME = "hbm_addrs.json"
SIZE_SOURCES = ("hbm_sizes", "tensor_layouts", "address-delta")

_LM_HEAD = "W_lm_head"  # a layer of its own behind all others (§9.3)


class FootprintReport(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes by kind, and the regime `auto` chooses for them at the report's capacity."""

    layers: int
    weight: int
    kv: int
    activation: int
    total: int
    regime: str


class Report(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the generator did: sizes in bytes, counts in regions."""

    board: str
    ddr_capacity_bytes: int
    regions: dict[str, int]
    sizes_from: dict[str, int]
    warnings: list[str]
    this_build: FootprintReport
    projected: FootprintReport | None = None


def generate(
    build_dir: str | os.PathLike, board: Board, ddr_capacity: int | None = None, total_layers: int | None = None,
    kinds: Sequence[tuple[str, str]] = (), called: str = "--kind",
) -> tuple[Manifest, Report]:
    """Make the manifest of a build directory and the report of how it came about; writes nothing.

    Parameters
    ----------
    build_dir
        Directory with `hbm_addrs.json`, and `hbm_sizes.json` and `tensor_layouts.json` where they exist.
    board : Board
        Its DDR capacity goes into the manifest unless `ddr_capacity` (bytes) is given.
    total_layers
        Project the footprint to so many layers, at least 1.
    kinds
        (pattern, kind) pairs that decide before the rules for names; the last that matches counts.
    called : str
        What messages call `kinds`.

    Returns
    -------
    (Manifest, Report)

    Raises
    ------
    EmuError
        A table is missing, malformed, or holds numbers that no manifest can: one line with file and name. `UsageError`
        for an argument of another type.
    """
    from plena_emu.boards import Board

    build_dir = given_path("build_dir", build_dir)
    if not isinstance(board, Board):
        raise UsageError(f"board: found {shown(board)}, expected a Board (load_board)")
    ddr_capacity = count_of("ddr_capacity", ddr_capacity, 0)
    total_layers = count_of("total_layers", total_layers, 1)
    regions, sizes_from, warnings, _ = regions_of_build(build_dir, kinds, called)
    capacity = board.ddr_capacity_bytes if ddr_capacity is None else ddr_capacity
    ceiling = min((region.offset for region in regions if region.kind == "weight"), default=0)
    source = os.path.join(build_dir, MANIFEST_NAME)
    manifest = Manifest(ceiling, tuple(regions), capacity, source)
    layers = layer_count(regions)
    here = footprint(regions)
    report = Report(
        board=board.name,
        ddr_capacity_bytes=capacity,
        regions={kind: sum(region.kind == kind for region in regions) for kind in KINDS},
        sizes_from=sizes_from,
        warnings=warnings,
        this_build=_footprint_report(here, layers, capacity),
        projected=None if total_layers is None
        else _footprint_report(project_regions(regions, total_layers), total_layers, capacity),
    )
    return manifest, report


def make_manifest(build_dir: str | os.PathLike, board: Board) -> Manifest:
    """Make the manifest of a build directory that has none.

    It is what `generate` makes, with its warnings and without a capacity, which is the flag's or the board's, not yet
    one that a file states. Raises `EmuError`.

    Returns
    -------
    Manifest
    """
    manifest, report = generate(build_dir, board)
    addresses = os.path.join(build_dir, ADDRESSES_NAME)
    note = f"{manifest.source} is not there: the regions are those plena-emu manifest makes of {addresses}"
    return msgspec.structs.replace(manifest, ddr_capacity_bytes=None, source=addresses,
                                   warnings=(note, *report.warnings))


def regions_of_build(
    build_dir: str | os.PathLike, kinds: Sequence[tuple[str, str]] = (), called: str = "--kind"
) -> tuple[list[Region], dict[str, int], list[str], dict[int, str]]:
    """Read the tables of a build: what `make_regions` makes of them, and the tensors' names by offset."""
    addresses = _read_table(build_dir, ADDRESSES_NAME, required=True)
    sizes = _read_table(build_dir, "hbm_sizes.json")
    layouts = _read_table(build_dir, "tensor_layouts.json")
    regions, sizes_from, warnings = make_regions(
        addresses, sizes, layouts, os.path.join(build_dir, ADDRESSES_NAME), kinds)
    warnings += undecided_names(addresses, kinds, called) + unused_patterns(addresses, kinds, called)
    return regions, sizes_from, warnings, {offset: name for name, offset in addresses.items() if _is_int(offset)}


def make_regions(
    addresses: dict, sizes: dict, layouts: dict, source: str = "hbm_addrs.json",
    kinds: Sequence[tuple[str, str]] = (),
) -> tuple[list[Region], dict[str, int], list[str]]:
    """Make regions sorted by offset and disjoint.

    Returns
    -------
    (list of Region, dict of str to int, list of str)
        The regions, how many sizes came from each source, and the warnings.
    """
    warnings = []
    for name, offset in addresses.items():
        if not _is_int(offset):
            warnings.append(f"{_quoted(name)}: offset {shown(offset)} is no integer: dropped")
        elif not 0 <= offset <= U64_MAX:
            raise EmuError(f"{source}: {_quoted(name)}: found offset {shown(offset)}, expected 0 to 2^64 - 1")
    placed = sorted((item for item in addresses.items() if _is_int(item[1])), key=lambda item: item[1])
    sizes_from = dict.fromkeys(SIZE_SOURCES, 0)
    sized = []
    for at, (name, offset) in enumerate(placed):
        delta = placed[at + 1][1] - offset if at + 1 < len(placed) else 0
        size, origin = _size_of(name, sizes, layouts, delta)
        if size is None:
            warnings.append(f"{_quoted(name)}: no size in any table: dropped, bytes from {offset} on are not covered")
            continue
        if offset + size > U64_MAX + 1:
            raise EmuError(f"{source}: {_quoted(name)}: offset {offset} and its size from {origin} reach beyond 2^64")
        sizes_from[origin] += 1
        sized.append((name, offset, size))
    regions, names = [], []
    for at, (name, offset, size) in enumerate(sized):
        if at + 1 < len(sized) and offset + size > sized[at + 1][1]:
            after, room = sized[at + 1][0], sized[at + 1][1] - offset
            left = f"cut to {room} bytes" if room else "nothing is left of it, dropped"
            warnings.append(f"{_quoted(name)}: reaches {size - room} bytes past the start of {_quoted(after)}: {left}")
            size = room
        if size:
            regions.append(_region(name, offset, size, source, kinds))
            names.append(name)
    if _LM_HEAD in names:
        at = names.index(_LM_HEAD)
        layers = layer_ids([*regions[:at], *regions[at + 1 :]])
        regions[at] = msgspec.structs.replace(regions[at], layer_id=layers[-1] + 1 if layers else 0)
    return regions, sizes_from, warnings


def manifest_json(manifest: Manifest) -> str:
    """Write a manifest as JSON text, in the layout of §3.6.

    Returns
    -------
    str
    """
    data = {
        "activation_ceiling": manifest.activation_ceiling,
        "regions": [
            {"layer_id": region.layer_id, "offset": region.offset, "size": region.size, "kind": region.kind}
            for region in manifest.regions
        ],
    }
    if manifest.ddr_capacity_bytes is not None:
        data["ddr_capacity_bytes"] = manifest.ddr_capacity_bytes
    return json.dumps(data, indent=2)


def _footprint_report(found, layers, capacity):
    return FootprintReport(
        layers=layers, weight=found.weight, kv=found.kv, activation=found.activation, total=found.total,
        regime=choose_regime(found, capacity),
    )


def _size_of(name, sizes, layouts, delta):
    """Find (bytes, source) by the first source that gives a positive integer, else (None, None)."""
    if _is_int(sizes.get(name)) and sizes[name] > 0:
        return sizes[name], "hbm_sizes"
    layout = layouts.get(name)
    shape = layout.get("storage_shape") if isinstance(layout, dict) else None
    if isinstance(shape, list) and shape and all(_is_int(edge) and edge > 0 for edge in shape):
        # One scale byte for eight element bytes: 1.125 bytes an element.
        return math.prod(shape) * 9 // 8, "tensor_layouts"
    return (delta, "address-delta") if delta > 0 else (None, None)


def _region(name, offset, size, source, kinds):
    layer = layer_of(name)
    if layer > U32_MAX:
        raise EmuError(f"{source}: {_quoted(name)}: found layer {shown(layer)}, expected at most 2^32 - 1")
    return Region(layer, offset, size, kind_named(name, kinds) or kind_of(name))


def _is_int(value):
    return type(value) is int


def _quoted(name):
    """Show the name of a tensor as its table writes it."""
    text = json.dumps(name)
    return text if len(text) <= 60 else text[:57] + "..."


def _read_table(build_dir, name, required=False):
    """Read the JSON object of a file of the build; an empty one where an optional file is missing."""
    path = os.path.join(build_dir, name)
    if not required and not os.path.lexists(path):
        return {}
    where = f"build table {path}"
    return convert(parse_json(read_text(path, "build table"), where), dict[str, Any], where)
