"""From what the user names (a build directory, machine code, assembly) to its profile (spec §6.4)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from ..config.settings import Settings, defaults_warning, find_settings, load_settings, with_hbm_size
from ..config.units import read_hbm_size
from ..errors import EmuError
from ..program.assembler import assemble, read_source
from ..program.decode import decode, read_words
from .model import Listing, Profile, make_machine, profile
from .static import read_assembly, read_program, static_counts

if TYPE_CHECKING:
    from ..boards.schema import Board

ASSEMBLY = "generated_asm_code.asm"
ASSEMBLY_ENDINGS = (".asm", ".isa", ".s")
MACHINE_CODE = "generated_machine_code.mem"
SETTINGS = "plena_settings.toml"
INT_SRAM = "int_sram.bin"
HBM_SIZE = "hbm_size.txt"


class Sources(NamedTuple):
    """Files of a profile; None where there is none."""

    assembly: str | None
    words: str | None
    settings: str | None
    int_sram: str | None
    hbm_size: str | None


def profile_source(
    source: str,
    board: Board,
    *,
    revision: str = "base",
    static: bool = False,
    settings_path: str | None = None,
    latencies: str = "board",
    clock_mhz: float | None = None,
) -> Profile:
    """Profile a build directory, a .asm or a .mem file.

    Parameters
    ----------
    board : Board
        Its clock, transfer cycles and, for `latencies` = "board", latencies.
    static : bool
        Multiply by loop counts instead of executing.
    settings_path : str, optional
        Settings file; else that beside the program, else the search order of §5.3.

    Raises
    ------
    EmuError
        A file is missing or malformed, or the executed program is illegal.
    """
    files = _find(source)
    settings = _settings(settings_path, files)
    machine = make_machine(board, settings, latencies, clock_mhz)
    if static:
        listing = _static_listing(files, settings, revision)
        listing.warnings += defaults_warning(settings)
        return profile(listing, static_counts(listing), machine, "static")
    from .executed import executed_counts

    program = decode(_words(files, revision), revision, settings)
    listing = _with_labels(read_program(program, files.words or files.assembly), files)
    listing.warnings += defaults_warning(settings)
    counts = executed_counts(program, settings, files.int_sram, listing.warnings)
    return profile(listing, counts, machine, "executed")


def has_program(build: str) -> bool:
    """Tell whether a build directory holds machine code."""
    return _there(build, MACHINE_CODE) is not None


def compute_cycles_of(build: str, board: Board, revision: str = "base") -> tuple[int | None, list[str]]:
    """Count the core cycles that a build directory's program computes on a board.

    Returns
    -------
    (int or None, list of str)
        None where there is no program, or none that can run; then a warning says why.
    """
    if not has_program(build):
        return None, []
    try:
        return profile_source(build, board, revision=revision).compute_cycles, []
    except EmuError as error:
        return None, [f"compute time is not part of the bounds: {error}"]


def _find(source):
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


def _settings(asked, files) -> Settings:
    """Settings by the flag, else those beside the program, else as for a run; with the HBM size of the build."""
    if asked or not files.settings:
        found = find_settings(asked, os.environ)
    else:
        found = load_settings(files.settings, "beside the program")
    return with_hbm_size(found, read_hbm_size(files.hbm_size) if files.hbm_size else None)


def _static_listing(files, settings, revision) -> Listing:
    """Assembly where there is some: it has the comments."""
    if files.assembly:
        return read_assembly(read_source(files.assembly), files.assembly)
    return read_program(decode(read_words(files.words), revision, settings), files.words)


def _words(files, revision):
    if files.words:
        return read_words(files.words)
    return assemble(read_source(files.assembly), revision, files.assembly)


def _with_labels(listing, files) -> Listing:
    """Source lines and loop labels from the assembly, if it is that of the words: instruction by instruction."""
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
