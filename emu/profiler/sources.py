"""From what the user names (a build directory, machine code, assembly) to a listing and its static profile (§6.4)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from ..config.build_dir import BESIDE, SETTINGS
from ..config.settings import Settings, defaults_warning, find_settings, load_settings, with_hbm_size
from ..config.units import read_hbm_size
from ..errors import EmuError
from ..program.assembler import read_source
from ..program.decode import decode, read_words
from ..running.board_part import NOTHING_ASKED, Overlay, lay_over
from .model import Listing, Profile, make_machine, profile_static
from .static import read_assembly, read_program, static_counts

if TYPE_CHECKING:
    from ..boards.schema import Board

ASSEMBLY = "generated_asm_code.asm"
ASSEMBLY_ENDINGS = (".asm", ".isa", ".s")
MACHINE_CODE = "generated_machine_code.mem"
INT_SRAM = "int_sram.bin"
HBM_SIZE = "hbm_size.txt"


class Sources(NamedTuple):
    """Files of a profile; None where there is none."""

    assembly: str | None
    words: str | None
    settings: str | None
    int_sram: str | None
    hbm_size: str | None


def static_profile(
    source: str,
    board: Board,
    *,
    revision: str = "base",
    settings_path: str | None = None,
    latencies: str = "board",
    overlay: Overlay = NOTHING_ASKED,
) -> Profile:
    """Profile a build directory, a .asm or a .mem file without executing it.

    Parameters
    ----------
    board : Board
        Its clock, transfer cycles and, for `latencies` = "board", latencies.
    settings_path : str, optional
        Settings file; else that beside the program, else the search order of §5.3.
    overlay : Overlay
        Of which the clock counts.

    Returns
    -------
    Profile

    Raises
    ------
    EmuError
        A file is missing or malformed.
    """
    files = find_sources(source)
    settings = settings_of(settings_path, files)
    listing = _static_listing(files, settings, revision)
    listing.warnings += defaults_warning(settings.source)
    board, laid_over = lay_over(board, overlay)
    found = profile_static(listing, static_counts(listing), make_machine(board, settings, latencies))
    found.laid_over += laid_over
    return found


def find_sources(source: str) -> Sources:
    """Find the files of a build directory, or those beside a program.

    Returns
    -------
    Sources

    Raises
    ------
    EmuError
        A directory holds no program.
    """
    if not os.path.isdir(source):
        beside = _there(os.path.dirname(source), SETTINGS)
        if source.lower().endswith(ASSEMBLY_ENDINGS):
            return Sources(source, None, beside, None, None)
        return Sources(None, source, beside, None, None)
    files = Sources(*(_there(source, name) for name in (ASSEMBLY, MACHINE_CODE, SETTINGS, INT_SRAM, HBM_SIZE)))
    if files.assembly is None and files.words is None:
        raise EmuError(f"{source}: found neither {MACHINE_CODE} nor {ASSEMBLY}, expected one of them")
    return files


def _there(folder, name):
    path = os.path.join(folder, name)
    return path if os.path.lexists(path) else None


def settings_of(asked: str | None, files: Sources) -> Settings:
    """Load the settings: by the flag, else those beside the program, else as for a run; with the build's HBM size.

    Returns
    -------
    Settings
    """
    beside = not asked and files.settings
    found = load_settings(beside, BESIDE) if beside else find_settings(asked, os.environ)
    return with_hbm_size(found, read_hbm_size(files.hbm_size) if files.hbm_size else None)


def _static_listing(files, settings, revision) -> Listing:
    """Assembly where there is some: it has the comments."""
    if files.assembly:
        return read_assembly(read_source(files.assembly), files.assembly)
    return read_program(decode(read_words(files.words), revision, settings), files.words)


def with_labels(listing: Listing, files: Sources) -> Listing:
    """Add source lines and loop labels from the assembly, if it is that of the words: instruction by instruction."""
    if files.assembly is None:
        return listing
    text = read_assembly(read_source(files.assembly), files.assembly)
    if [_shape(entry) for entry in text.entries] != [_shape(entry) for entry in listing.entries]:
        return listing
    listing.lines, listing.labels = text.lines, text.labels
    pairs = zip(listing.entries, text.entries, strict=True)
    listing.entries = [entry._replace(line=other.line) for entry, other in pairs]
    return listing


def _shape(entry):
    """What two listings of one program agree in: the operation, and the register and count of a loop."""
    if entry.mnemonic == "C_LOOP_START":
        return entry.mnemonic, entry.rd, entry.imm
    return entry.mnemonic
