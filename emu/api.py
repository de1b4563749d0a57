"""The Python interface: one call, one typed result (docs/api.md)."""

import os

from .config.build_dir import fields_of
from .errors import EmuError, UsageError
from .inputs.words import one_of, shown
from .logs import LEVELS, Log
from .precompile import kernels_of, make_ready
from .request import RunRequest


def run(build, /, *, log_level: str = "off", **fields):
    """Run a program.

    Parameters
    ----------
    build : str, bytes, os.PathLike or RunRequest
        A testbench's build directory (§5.6), or a whole request.
    log_level : str
        Records of §5.2 from this level on go to standard error. Warnings are in the result in any case.
    fields
        Fields of `RunRequest`, which come before the files of the directory and before those of a request. Without
        `dump_dir` a build directory's run writes no dumps.

    Returns
    -------
    RunResult

    Raises
    ------
    EmuError
        Anything malformed or illegal, in one line, as on the command line; also a dump that cannot be written.
    """
    if not isinstance(log_level, str) or log_level not in LEVELS:
        raise UsageError(f"log_level: found {shown(log_level)}, expected {one_of(LEVELS)}")
    if isinstance(build, RunRequest):
        request = RunRequest(**(vars(build) | fields))
    else:
        request = RunRequest(**({"dump_dir": None} | fields_of(os.fsdecode(build), fields)))
    make_ready(kernels_of(request))
    from .running.runner import execute

    result = execute(request, Log(log_level))
    if result.dump_errors:
        raise EmuError("; ".join(result.dump_errors))
    return result
