"""The inputs of a sweep as they were when it began: bytes under a hash, which any machine can lay out as files again.

A point names its inputs by hash, so that its result cannot depend on where it ran or on a file that changed meanwhile.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from typing import NamedTuple

from ..boards.dram_schema import dram_names
from ..boards.loader import read_document
from ..config.build_dir import ADDRESSES, HBM_SIZE
from ..config.settings_search import find_settings_file
from ..errors import EmuError
from ..inputs.opening import open_input

SETTINGS = "plena_settings.toml"
PROGRAM = "generated_machine_code.mem"
# What a timing-only run can read of a build directory (spec §5.6).
BUILD_FILES = (PROGRAM, SETTINGS, HBM_SIZE, "int_sram.bin", "weight_manifest.json", ADDRESSES, "hbm_sizes.json",
               "tensor_layouts.json")
LARGEST_FILE = 1 << 30
DIGEST = 32  # hexadecimal digits of a hash that are kept, 128 bits


class Snapshot(NamedTuple):
    """Files by name, and the hash over both."""

    files: dict[str, bytes]
    digest: str


def digest_of(data: bytes) -> str:
    """Hash bytes: the first 128 bits of their SHA-256, in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()[:DIGEST]


def canonical(value: object) -> bytes:
    """Write plain values as JSON that is the same for equal values: keys sorted, no blanks."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def snapshot(files: Mapping[str, bytes]) -> Snapshot:
    """Hash files by name.

    Returns
    -------
    Snapshot
    """
    listed = {name: digest_of(data) for name, data in files.items()}
    return Snapshot(dict(files), digest_of(canonical(listed)))


def snapshot_build(directory: str, environ: Mapping[str, str]) -> Snapshot:
    """Read what a timing-only run needs of a build directory; settings also by the search order of §5.3.

    Returns
    -------
    Snapshot

    Raises
    ------
    EmuError
        It is no build directory, or a file cannot be read.
    """
    if not os.path.isdir(directory):
        what = "not a directory" if os.path.exists(directory) else "not found"
        raise EmuError(f"build directory {directory}: {what}")
    paths = {name: os.path.join(directory, name) for name in BUILD_FILES}
    found = {name: _read(path) for name, path in paths.items() if os.path.lexists(path)}
    if PROGRAM not in found:
        raise EmuError(f"build directory {directory}: {PROGRAM} not found")
    if SETTINGS not in found:
        elsewhere = find_settings_file(None, environ)
        if elsewhere is None:
            raise EmuError(f"build directory {directory}: {SETTINGS} not found, a sweep needs it there or in"
                           " $PLENA_SETTINGS_TOML")
        found[SETTINGS] = _read(elsewhere[0])
    return snapshot(found)


def snapshot_config(path: str) -> Snapshot:
    """Read a model's config file, or that of its directory; weights play no part in time.

    Returns
    -------
    Snapshot
    """
    return snapshot({"config.json": _read(os.path.join(path, "config.json") if os.path.isdir(path) else path)})


def snapshot_document(kind: str, path: str) -> Snapshot:
    """Read a board, latency profile or DRAM description as plain values; a board's own DRAM file comes along.

    Returns
    -------
    Snapshot
        A file of the same name, as JSON, which is YAML too.
    """
    _, data = read_document(kind, path)
    files = {}
    memory = data.get("memory") if isinstance(data, dict) else None
    part = memory.get("dram") if isinstance(memory, dict) else None
    if isinstance(data, dict) and isinstance(memory, dict) and isinstance(part, str) and part not in dram_names():
        beside = os.path.join(os.path.dirname(path), os.path.expanduser(part))
        _, description = read_document("DRAM description", beside)
        name = f"dram-{os.path.basename(part)}"
        files[name] = canonical(description)
        data = {**data, "memory": {**memory, "dram": f"./{name}"}}
    files[os.path.basename(path)] = canonical(data)
    return snapshot(files)


def snapshot_file(path: str) -> Snapshot:
    """Read any other file, such as a timing file.

    Returns
    -------
    Snapshot
    """
    return snapshot({os.path.basename(path): _read(path)})


def _read(path):
    try:
        with open_input(path) as file:
            data = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise EmuError(f"input {path}: cannot read: {error.strerror}") from None
    if len(data) > LARGEST_FILE:
        raise EmuError(f"input {path}: found more than {LARGEST_FILE} bytes, expected at most that many")
    return data
