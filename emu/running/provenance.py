"""The parts of a result record that say what was run, with what and from where."""

import platform

from .. import __version__
from ..config.settings import Settings
from ..kernels.compiler.fingerprint import package_version
from ..program.decode import Program
from ..request import RunRequest
from ..result import Geometry, Sources
from ..result import Program as ProgramRecord
from .platform import Platform


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
