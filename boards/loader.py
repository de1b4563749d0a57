"""Board files and latency profiles by name or path (spec §6.1)."""

from __future__ import annotations

import os
import pathlib
from typing import TYPE_CHECKING

import msgspec

from plena_emu.errors import EmuError, UsageError
from plena_emu.inputs.arguments import given_path
from plena_emu.inputs.documents import parse_yaml
from plena_emu.inputs.text import read_text

from .parsed import known_values

if TYPE_CHECKING:
    from . import schema

_HERE = pathlib.Path(__file__).resolve().parent
_PROFILES = _HERE / "profiles"

# Names that were wrong once: the board is a Nexys Video, not a Nexys A7.
_RENAMED = {"nexys_a7": "nexys_video"}
_RENAMED_PROFILES = {"nexys_a7_150mhz": "nexys_video_150mhz"}


def board_names() -> list[str]:
    """List the names of the boards that ship, sorted.

    Returns
    -------
    list of str
    """
    return sorted(path.stem for path in _HERE.glob("*.yaml"))


def profile_names() -> list[str]:
    """List the names of the latency profiles that ship, sorted.

    Returns
    -------
    list of str
    """
    return sorted(path.stem for path in _PROFILES.glob("*.yaml"))


def load_board(name_or_path: str | os.PathLike, latency_profile: str | os.PathLike | None = None) -> schema.Board:
    """Load a board by name (`custom_a7`) or path (`./mine.yaml`), with a latency profile laid over it if one is named.

    Text with a path separator or ending in .yaml or .yml is a path. A profile replaces the clock and the
    latencies it names and must be for the board's part.

    Returns
    -------
    Board

    Raises
    ------
    UsageError
        The name is no board or profile that ships, or is an old name.
    EmuError
        The file cannot be read, or something in it is wrong: file and dotted key are named.
    """
    from . import schema  # not for a DRAM description

    source = _locate(name_or_path, "board", _HERE, board_names(), _RENAMED)
    board = schema.to_board(_read_yaml(source, "board"), os.fspath(source))
    if latency_profile is None:
        return board
    source = _locate(latency_profile, "latency profile", _PROFILES, profile_names(), _RENAMED_PROFILES)
    profile = schema.to_profile(_read_yaml(source, "latency profile"), os.fspath(source))
    if profile.part != board.part:
        named = str(name_or_path) in board_names() and str(latency_profile) in profile_names()
        raise (UsageError if named else EmuError)(  # what a file holds, the command line does not show
            f"latency profile {latency_profile}: is for part {profile.part}, board {board.name} has {board.part}"
        )
    latency = msgspec.structs.replace(board.latency, **profile.latency)
    return msgspec.structs.replace(board, clock_mhz=profile.clock_mhz, latency=latency, latency_profile=profile.name)


def read_document(kind: str, name_or_path: str | os.PathLike) -> tuple[str, object]:
    """Read the plain values of a board, latency profile or DRAM description, unchecked, by name or path.

    Parameters
    ----------
    kind : str
        `board`, `latency profile` or `DRAM description`.

    Returns
    -------
    (str, object)
        The file, and what it holds.

    Raises
    ------
    UsageError
        The name is none that ships.
    EmuError
        The file cannot be read, or is no YAML.
    """
    folder, renamed = {
        "board": (_HERE, _RENAMED), "latency profile": (_PROFILES, _RENAMED_PROFILES),
        "DRAM description": (_HERE / "dram", {}),
    }[kind]
    names = sorted(path.stem for path in folder.glob("*.yaml"))
    source = os.fspath(_locate(name_or_path, kind, folder, names, renamed))
    return source, _read_yaml(source, kind)


def _locate(asked, kind, directory, names, renamed):
    """Find what was asked for; a path stays as it was written."""
    expected = f"one of {', '.join(names)}, or the path of a .yaml file"
    text = given_path(kind.replace(" ", "_"), asked, expected)
    if os.sep in text or text.endswith((".yaml", ".yml")):
        return text
    if text in names:
        return directory / f"{text}.yaml"
    if text in renamed:
        raise UsageError(f"unknown {kind} {text!r}: it is now called {renamed[text]!r}")
    if kind == "board" and (text in profile_names() or text in _RENAMED_PROFILES):
        profile = _RENAMED_PROFILES.get(text, text)
        raise UsageError(f"unknown board {text!r}: {profile!r} is a latency profile (--latency-profile)")
    raise UsageError(f"unknown {kind} {text!r}, expected {expected}")


def _read_yaml(path, kind):
    """Read and parse a YAML file; raises `EmuError` with file and line."""
    text = read_text(path, kind)
    known = known_values(text)
    return parse_yaml(text, f"{kind} {path}") if known is None else known
