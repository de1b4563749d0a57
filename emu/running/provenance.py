"""The parts of a result record that say what was run, with what and from where."""

import os
import platform
import stat

from .. import __version__
from ..config.settings import BUILT_IN, Settings
from ..errors import EmuError
from ..inputs.opening import open_input
from ..kernels.compiler.fingerprint import package_version
from ..program.decode import Program
from ..request import RunRequest
from ..result import Geometry, RunResult, Sources
from ..result import Program as ProgramRecord
from .platform import Platform

_DATA = ["hbm", "fpsram", "vram"]  # preloads that only a run with data reads


def program_of(request: RunRequest, program: Program) -> ProgramRecord:
    """Describe the program in words.

    Returns
    -------
    ProgramRecord
    """
    return ProgramRecord(path=str(request.opcode), words=len(program), invalid_words=len(program.invalid),
                         foreign_words=len(program.foreign))


def sources_of(request: RunRequest, platform: Platform) -> Sources:
    """Name the files that decided about the run; a manifest only where a model read it.

    Returns
    -------
    Sources
    """
    return Sources(
        settings=platform.settings.source, settings_origin=platform.settings.origin,
        weight_manifest=None if platform.regime == "hbm" else platform.manifest.source,
        hbm=request.hbm, fpsram=request.fpsram, intsram=request.intsram, vram=request.vram,
        board=platform.board.source if platform.board else None,
        dram=platform.part.description.source if platform.part else request.dram,
    )


def hashes_of(opcode: str, sources: Sources, timing_only: bool) -> dict[str, str]:
    """Hash the files that a run reads: of one without data neither HBM image nor preloads of floating-point values.

    Parameters
    ----------
    opcode : str
        Path of the program.

    Returns
    -------
    dict of str to str
        SHA-256 in hexadecimal digits by field of `Sources`, and of `program`.

    Raises
    ------
    EmuError
        A file cannot be read.
    """
    names = ["settings", "weight_manifest", "intsram", "board", "dram"] + ([] if timing_only else _DATA)
    paths = {"program": opcode} | {name: getattr(sources, name) for name in names}
    if sources.settings == sources.settings_origin == BUILT_IN:
        del paths["settings"]
    if sources.dram is not None:
        from ..boards.dram_schema import load_dram

        paths["dram"] = load_dram(sources.dram).source  # a name, where there is no board
    return {name: file_hash(path) for name, path in paths.items() if path is not None and not _is_read_once(path)}


def _is_read_once(path):
    """Whether a path is a pipe, a terminal or the like, which the run has read to its end."""
    return os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode)


def path_of(result: RunResult, name: str) -> str:
    """Find the path of a file of a run by its name in `Sources.sha256`.

    Returns
    -------
    str
    """
    from ..boards.dram_schema import dram_names, load_dram

    path = result.program.path if name == "program" else getattr(result.sources, name)
    return load_dram(path).source if name == "dram" and path in dram_names() else path


def changed_since(result: RunResult) -> list[str]:
    """Name the files of a run that are others now than those it read, or not there any more.

    Returns
    -------
    list of str
        In words; empty where the record has no hashes.
    """
    return [name.replace("_", " ") for name, then in result.sources.sha256.items()
            if _hash_or_none(path_of(result, name)) != then]


def _hash_or_none(path):
    try:
        return file_hash(path)
    except EmuError:
        return None


def file_hash(path: str) -> str:
    """Hash a file by SHA-256.

    Returns
    -------
    str
        Hexadecimal digits.

    Raises
    ------
    EmuError
        It cannot be read.
    """
    try:
        with open_input(path) as file:
            import hashlib  # where hashes are asked for

            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise EmuError(f"{path}: cannot read: {error.strerror}") from None


def geometry_of(settings: Settings) -> Geometry:
    """Take the geometry as it was used.

    Returns
    -------
    Geometry
    """
    return Geometry(
        mlen=settings.mlen, vlen=settings.vlen, hlen=settings.hlen, blen=settings.blen, broadcast=settings.broadcast,
        matrix_sram_size=settings.matrix_sram_size, vector_sram_size=settings.vector_sram_size,
        hbm_size=settings.hbm_size, matrix_prefetch_rows=settings.pm, vector_prefetch_rows=settings.pv,
        vector_writeback_rows=settings.sv,
    )


def versions() -> dict[str, str]:
    """Look up the versions of what the figures depend on.

    Returns
    -------
    dict of str to str
    """
    packages = ("numba", "llvmlite", "numpy")
    return {"plena-emu": __version__, "python": platform.python_version(), **{p: package_version(p) for p in packages}}
