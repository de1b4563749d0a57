"""Where a build's results lie in the dumps (`results.json`), and reading them (spec §9.2, §9.3).

A result in the vector SRAM is a matrix in column blocks: token t of sequence b is row b · rows_per_sequence + t, and
column block c of row r is SRAM row first_row + c · physical_rows + r. A result in the HBM is a region a head, rows by
columns elements and then their scales; `hbm_results.bin` holds the regions of `results.json` one after the other.
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from plena_emu.errors import EmuError
from plena_emu.inputs.arguments import given_path, path_of
from plena_emu.inputs.documents import parse_json
from plena_emu.inputs.schema import convert
from plena_emu.inputs.text import read_text
from plena_emu.running.result_regions import Region
from plena_emu.running.run_files import RESULTS_DUMP as HBM_RESULTS

if TYPE_CHECKING:
    from plena_emu.config.settings import Settings

FILE = "results.json"
VRAM_DUMP = "vram_dump.bin"


class HeadPlace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a KV head lies: the name of a region and the first of its columns."""

    region: str
    column: int


class VramResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True,
                 tag_field="dump", tag=VRAM_DUMP):
    """A result in the vector SRAM: `shape` is [batch, tokens, columns] without padding.

    Rows count SRAM rows of VLEN elements; `physical_rows` is the distance of two column blocks.
    """

    name: str
    shape: tuple[int, int, int]
    first_row: int
    physical_rows: int
    rows_per_sequence: int


class HbmResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True,
                tag_field="dump", tag=HBM_RESULTS):
    """A cache in the HBM: `shape` is [batch, KV heads, tokens, head_dim]; `heads` has one place a KV head.

    Token t of sequence b is row b · rows_per_sequence + t of the region.
    """

    name: str
    shape: tuple[int, int, int, int]
    heads: tuple[HeadPlace, ...]
    rows_per_sequence: int


class Results(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of `results.json`."""

    results: tuple[VramResult | HbmResult, ...]
    regions: tuple[Region, ...] = ()

    def named(self, name: str) -> VramResult | HbmResult:
        """Find a result by name.

        Returns
        -------
        VramResult or HbmResult

        Raises
        ------
        EmuError
            There is none of this name.
        """
        for result in self.results:
            if result.name == name:
                return result
        raise EmuError(f"result {name}: not in {FILE}, which has {', '.join(result.name for result in self.results)}")

    def cache_length(self) -> tuple[int, int]:
        """Read how many sequences and tokens the caches hold.

        Returns
        -------
        tuple of int
            Batch and tokens.

        Raises
        ------
        EmuError
            There is no cache.
        """
        result = self.named("K_0")
        if not isinstance(result, HbmResult):
            raise EmuError(f"result K_0: in {result.__struct_config__.tag}, expected in {HBM_RESULTS}")
        return result.shape[0], result.shape[2]


def results_json(results: Results) -> bytes:
    """Write `results.json`.

    Returns
    -------
    bytes
        Indented JSON.
    """
    return msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n"


def read_results(build: str | os.PathLike) -> Results:
    """Read and check `results.json` of a build.

    Returns
    -------
    Results

    Raises
    ------
    EmuError
        The file is missing or unsound.
    """
    path = os.path.join(build, FILE)
    where = f"results {path}"
    results = convert(parse_json(read_text(path, "results"), where), Results, where)
    _check(results, where)
    return results


def _check(results, where):
    """Refuse places that lie outside their region; sizes of dumps are checked when those are read."""
    regions = {region.name: region for region in results.regions}
    for region in results.regions:
        if min(region.address, region.rows, region.columns) < 0 or region.bytes < region.rows * region.columns:
            raise EmuError(f"{where}: region {region.name}: {region.rows} x {region.columns} elements do not fit its"
                           f" {region.bytes} bytes at {region.address}")
    for result in results.results:
        fault = _fault_in_vram(result) if isinstance(result, VramResult) else _fault_in_hbm(result, regions)
        if min(result.shape) < 0 or result.rows_per_sequence < result.shape[-2]:
            fault = f"{result.rows_per_sequence} rows a sequence cannot hold shape {list(result.shape)}"
        if fault:
            raise EmuError(f"{where}: result {result.name}: {fault}")


def _fault_in_vram(result):
    """What is wrong with a place in the vector SRAM; None where nothing is."""
    last = (result.shape[0] - 1) * result.rows_per_sequence + result.shape[1]
    if result.first_row >= 0 and result.physical_rows >= last:
        return None
    return f"{result.physical_rows} physical rows from {result.first_row} cannot hold shape {list(result.shape)}"


def _fault_in_hbm(result, regions):
    """What is wrong with the places of a cache; None where nothing is."""
    batch, heads, _, head_dim = result.shape
    if len(result.heads) != heads:
        return f"{len(result.heads)} places, expected one for each of the {heads} heads"
    rows = batch * result.rows_per_sequence
    for place in result.heads:
        region = regions.get(place.region)
        if region is None or not 0 <= place.column <= region.columns - head_dim or rows > region.rows:
            return f"column {place.column} of region {place.region} cannot hold {rows} rows of {head_dim} elements"
    return None


def results_bytes(found: dict[str, np.ndarray]) -> bytes:
    """Write results as an `.npz`; the same results give the same bytes.

    Returns
    -------
    bytes
    """
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **found)
    return buffer.getvalue()


def load_results(build: str | os.PathLike, dump_dir: str | os.PathLike | None = None) -> dict[str, np.ndarray]:
    """Read every result of a build's last run.

    Parameters
    ----------
    build : path
        A build directory with `results.json` and `plena_settings.toml`.
    dump_dir : path or None
        Where the dumps are; None: in the build directory.

    Returns
    -------
    dict of str to f32 array
        By name, in the shapes of `results.json`: `hidden`, `logits`, `connector`, `K_<layer>`, `V_<layer>`.

    Raises
    ------
    EmuError
        A file is missing, unsound or too short.
    """
    from plena_emu.config.settings import load_settings

    build, dump_dir = given_path("build", build), path_of("dump_dir", dump_dir)
    settings = load_settings(os.path.join(build, "plena_settings.toml"), "build directory")
    results = read_results(build)
    directory = dump_dir or build
    stored = None
    found = {}
    for result in results.results:
        if isinstance(result, VramResult):
            found[result.name] = _from_vram(result, os.path.join(directory, VRAM_DUMP), settings)
        else:
            stored = stored or read_regions(results, os.path.join(directory, HBM_RESULTS), settings)
            found[result.name] = _from_regions(result, stored)
    return found


def _mapped(path, expected):
    """Bytes of a dump, at least `expected` of them, memory-mapped."""
    try:
        size = os.path.getsize(path)
        if size < expected:
            raise EmuError(f"{path}: found {size} bytes, expected at least {expected}; run the build first")
        return np.memmap(path, dtype=np.uint8, mode="r", shape=(size,)) if size else np.zeros(0, np.uint8)
    except OSError as error:
        raise EmuError(f"{path}: cannot read: {error.strerror}; run the build first") from None


def _from_vram(result, path, settings):
    """f32 array of a result in the vector SRAM."""
    from .number_formats import decode_plain

    batch, tokens, columns = result.shape
    blocks = -(-columns // settings.vlen)
    width = settings.vlen * settings.vector_sram_type.elem.size_in_bits // 8
    first, last = result.first_row, result.first_row + blocks * result.physical_rows
    dump = _mapped(path, last * width)
    rows = dump[first * width : last * width].reshape(blocks, result.physical_rows, width)
    used = batch * result.rows_per_sequence
    values = np.zeros((used, blocks, settings.vlen), dtype=np.float32)
    held = min(used, result.physical_rows)  # the last sequence may lack its spare rows
    values[:held] = decode_plain(rows[:, :held], settings.vector_sram_type.elem).swapaxes(0, 1)
    whole = values.reshape(batch, result.rows_per_sequence, blocks * settings.vlen)
    return np.ascontiguousarray(whole[:, :tokens, :columns])


def read_regions(results: Results, path: str | os.PathLike, settings: Settings) -> dict[str, np.ndarray]:
    """Read `hbm_results.bin`.

    Returns
    -------
    dict of str to f32 array
        Region name to its values, [rows, columns].

    Raises
    ------
    EmuError
        The file is missing or has another size than the regions.
    """
    from .number_formats import decode_region

    total = sum(region.bytes for region in results.regions)
    data = _mapped(os.fspath(path), total)
    if len(data) != total:
        raise EmuError(f"{path}: found {len(data)} bytes, expected the {total} of the regions in {FILE}")
    found, start = {}, 0
    for region in results.regions:
        stored = data[start : start + region.bytes]
        found[region.name] = decode_region(stored, region.rows, region.columns, settings.hbm_m_kv_type)
        start += region.bytes
    return found


def _from_regions(result, stored):
    """f32 array of a cache."""
    batch, heads, tokens, head_dim = result.shape
    values = np.empty(result.shape, dtype=np.float32)
    for head, place in enumerate(result.heads):
        rows = stored[place.region][: batch * result.rows_per_sequence, place.column : place.column + head_dim]
        values[:, head] = rows.reshape(batch, result.rows_per_sequence, head_dim)[:, :tokens]
    return values
