"""One point of a study run again, with everything a run can tell about itself: equal points have equal results."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ..errors import EmuError
from .keys import BUILD
from .points import find_row, program_name
from .specify import Specifier
from .study import Study
from .worker import PROGRAM_NAME, Workshop

if TYPE_CHECKING:
    from ..result import RunResult

_BESIDE = ("stages.json", "generated_asm_code.asm")  # what names the stages of a build


@contextlib.contextmanager
def rerun(study: Study, beginning: str) -> Iterator[tuple[RunResult, Callable[[str], str]]]:
    """Run the point of a study whose id begins so, as a context in which the files of the run are there.

    Yields
    ------
    (RunResult, callable)
        The result with its stages, and what takes the names of temporary directories out of text about it.

    Raises
    ------
    EmuError
        The run fails; `UsageError` where no point, or more than one, has such an id.
    """
    specifier = Specifier()
    point = find_row(specifier.points(study), beginning)
    workshop = Workshop(specifier.snapshots)
    try:
        build = workshop.build(point.specification["program"])
        for name in _BESIDE if BUILD in point.values else ():
            path = os.path.join(str(point.values[BUILD]), name)
            if os.path.isfile(path):
                shutil.copy(path, build)
        try:
            result = workshop.run_whole(point.specification, stages=True)
        except EmuError as error:
            told = workshop.neutral(str(error)).replace(PROGRAM_NAME, program_name(point.values))
            raise EmuError(f"point {point.id[:10]}: {told}") from None
        yield result, workshop.neutral
    finally:
        workshop.close()
