"""Runs points in one process: lays inputs out as files, compiles models, shares what points have in common.

A `Workshop` is what a worker keeps between batches. Nothing here knows of a cluster.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from ..config.build_dir import HBM_SIZE
from ..errors import EmuError
from ..logs import Log
from ..request import RunRequest
from ..running.freed_memory import keep_freed_memory
from ..running.shared_work import SharedWork
from . import builds, variants
from .fingerprint import emulator_fingerprint
from .keys import in_keys
from .machine_errors import MachineError, error_of_machine, told
from .records import failure_record, result_record
from .snapshots import SETTINGS, Snapshot, canonical, digest_of

if TYPE_CHECKING:
    from ..manifests.footprint import Footprint
    from ..result import RunResult

DOCUMENTS = {"board": "board", "dram": "DRAM description", "latency_profile": "latency profile"}
PROGRAM_NAME = "{program}"  # in a record: the build or model, which each sweep calls by its own name
_SIZE_OF_HBM = re.compile(rb"^HBM_SIZE = \{ value = [1-9][0-9]{0,17} \}$", re.M)
MOST_BUILDS = 64  # compiled models that a workshop keeps on disk


class Outcome(NamedTuple):
    """What became of a point: its record as a line of the store, how long it took, whether it failed, and lines that
    the user should see.
    """

    id: str
    line: bytes
    seconds: float
    is_failure: bool
    warnings: tuple[str, ...] = ()


class Workshop:
    """Files and shared work of a process that runs points.

    Parameters
    ----------
    snapshots : mapping of str to Snapshot
        Inputs by hash.
    kept_builds : str or None
        Directory that keeps compiled models for other processes as well; None keeps them with the workshop.

    Attributes
    ----------
    folder : str
        Temporary directory with everything that is laid out; `close` removes it.
    """

    def __init__(self, snapshots: Mapping[str, Snapshot], kept_builds: str | None = None):
        keep_freed_memory()
        self.snapshots = dict(snapshots)
        self.folder = os.path.realpath(tempfile.mkdtemp(prefix="plena-sweep-"))
        self._builds = kept_builds or os.path.join(self.folder, "builds")
        self._checked: set[str] = set()  # builds that this process found whole, or made
        self._warnings: list[str] = []  # for the next outcome
        self._places = _places(self.folder, self._builds)
        self._shared = SharedWork()
        self._ready: set[object] = set()

    def close(self) -> None:
        """Remove the files."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, identity: str, specification: dict) -> Outcome:
        """Run one point; whatever is wrong with it becomes its record, not an exception.

        Parameters
        ----------
        identity : str
            Its hash.
        specification : dict
            As `specify` makes it.

        Returns
        -------
        Outcome

        Raises
        ------
        MachineError
            What is wrong is the machine's, such as a full disk, so that no record may say it of the point.
        """
        began = time.perf_counter()
        try:
            line = result_record(identity, specification, *self.execute(specification))
            failed = False
        except MemoryError:
            message = "this machine has not enough memory for it"
            line, failed = failure_record(identity, specification, message, "memory"), True
        except Exception as error:  # a mistake in the emulator must not end a study of ten thousand points
            line, failed = self._failure_line(identity, specification, error), True
        warnings, self._warnings = tuple(self._warnings), []
        return Outcome(identity, line, time.perf_counter() - began, failed, warnings)

    def _failure_line(self, identity, specification, error):
        """The record of a point that failed; what is the machine's error is raised and not recorded."""
        if error_of_machine(error):
            raise MachineError(f"{told(error)}: the sweep ends and does not store this for point {identity[:10]}; what"
                               " was found before is stored where there is a --store, and the same command goes on"
                               " from there") from None
        if isinstance(error, EmuError):
            return failure_record(identity, specification, self.neutral(str(error)))
        message = f"internal error, please report: {type(error).__name__}: {' '.join(str(error).split())}"
        return failure_record(identity, specification, self.neutral(message[:500]), "internal")

    def execute(self, specification: dict) -> tuple[dict, Footprint]:
        """Run the program of a point.

        Returns
        -------
        (dict, Footprint)
            The record of `RunResult` as plain values, free of this machine's paths, and the bytes of the regions.

        Raises
        ------
        EmuError
        """
        from ..manifests.footprint import footprint

        sizes = []
        result = self.run_whole(specification, lambda simulation: sizes.append(footprint(
            simulation.memory.manifest.regions)))
        text = self.neutral(msgspec.json.encode(result).decode())
        return json.loads(text), sizes[0]

    def run_whole(self, specification: dict, look: Callable | None = None, **more: Any) -> RunResult:
        """Run the program of a point; `more` sets or replaces fields of its request.

        Returns
        -------
        RunResult
            With the paths of this machine.

        Raises
        ------
        EmuError
        """
        from ..running.runner import execute

        request = self.request(specification, **more)
        self._make_ready(specification, request)
        return execute(request, Log("off"), look, self._shared)

    def request(self, specification: dict, **more: Any) -> RunRequest:
        """Make the request of a point on files of this process.

        Returns
        -------
        RunRequest
        """
        from ..config.build_dir import ORIGIN, fields_of

        # One thread: the other CPUs have points of their own.
        fields = {"timing_only": True, "dump_dir": None, "stages": False, "threads": 1} | specification["run"]
        for key in DOCUMENTS:
            if key in specification:
                found = self._document(key, specification)
                if found is not None:
                    fields[key] = found
        if "timing" in specification:
            fields["timing"] = self._file(specification["timing"])
        build = self.build(specification["program"])
        path = self._settings_of_geometry(build)
        if "settings" in specification:
            path = self._settings(path, specification["settings"])
        fields |= {"settings_path": path, "settings_origin": ORIGIN}
        return RunRequest(**({"dump_dir": None} | fields_of(build, fields | more)))

    def build(self, program: dict) -> str:
        """Find the build directory of a program, compiled or laid out where it is not there yet.

        A compiled build that lies there already is checked before its first use; a damaged one is compiled again.

        Returns
        -------
        str
        """
        if "build" in program:
            return self._laid_out(program["build"])
        target = os.path.join(self._builds, digest_of(canonical([emulator_fingerprint(), program])))
        if target not in self._checked or not os.path.isdir(target):
            if not builds.is_whole(target):
                if os.path.lexists(target):
                    self._warnings.append(f"build {target}: damaged, {builds.SUMS} does not fit its files: it is"
                                          " compiled again")
                self._compile(program, target)
            self._checked.add(target)
        return target

    def _compile(self, program, target):
        """Compile a model from its shapes; of two processes that do, one is the first."""
        from ..models.compiler import compile as compile_model

        source = program["model"]
        model = source["name"] if "name" in source else os.path.join(self._laid_out(source["file"]), "config.json")
        os.makedirs(self._builds, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", dir=self._builds) as folder:
            build = os.path.join(folder, "build")
            try:
                compile_model(model, build, weights="none", **program["options"])
            except EmuError as error:
                raise EmuError(in_keys(str(error))) from None
            builds.seal(build)
            builds.put_in_place(build, target, os.path.join(folder, "damaged"))
        self._forget_builds(target)

    def _forget_builds(self, newest):
        """Remove the oldest builds of one's own; those of a store stay."""
        if not self._builds.startswith(self.folder):
            return
        found = sorted((os.path.getmtime(path), path) for path in (
            os.path.join(self._builds, name) for name in os.listdir(self._builds)) if path != newest)
        for _, path in found[: max(0, len(found) - MOST_BUILDS)]:
            shutil.rmtree(path, ignore_errors=True)

    def _document(self, key, specification):
        """Name or path of a board, latency profile or DRAM description; changed keys are laid out as a file."""
        reference = specification[key]
        if key == "latency_profile":
            return self._file(reference)
        changes, base = reference.get("set"), reference["base"]
        if not changes:
            return self._file(base)
        if base is None:
            base = self._part_of(specification)
        return self._changed(key, base, changes)

    def _part_of(self, specification):
        """What a board names as its DRAM."""
        from ..boards import load_board
        from ..boards.dram_schema import dram_names

        board = load_board(self._document("board", specification))
        part = str(board.memory.dram)
        return {"name": part} if part in dram_names() else {"path": os.path.join(os.path.dirname(board.source), part)}

    def _changed(self, key, base, changes):
        from ..boards.loader import read_document

        place = os.path.join(self.folder, "changed", digest_of(canonical([key, base, changes])))
        name = base.get("as") or f"{base.get('name') or os.path.basename(base.get('path', key))}.yaml"
        path = os.path.join(place, name.replace(".yaml.yaml", ".yaml"))
        if not os.path.exists(path):
            source, data = read_document(DOCUMENTS[key], base.get("path") or self._file(base))
            os.makedirs(place, exist_ok=True)
            for beside in os.listdir(os.path.dirname(source)) if "file" in base else ():
                shutil.copy(os.path.join(os.path.dirname(source), beside), place)
            _write(path, canonical(variants.with_keys(data, changes, key)))
        return path

    def _settings_of_geometry(self, build):
        """Find the settings of a build; builds whose settings are alike but for HBM_SIZE share a file, read once.

        `hbm_size.txt` beats HBM_SIZE, so that with one it changes nothing (spec §5.3).
        """
        path = os.path.join(build, SETTINGS)
        if not os.path.exists(os.path.join(build, HBM_SIZE)):
            return path
        with open(path, "rb") as file:
            alike = _SIZE_OF_HBM.sub(b"", file.read())
        shared = os.path.join(self.folder, "settings", digest_of(alike), SETTINGS)
        if not os.path.exists(shared):
            os.makedirs(os.path.dirname(shared), exist_ok=True)
            with open(path, "rb") as file:
                _write(shared, file.read())
        return shared

    def _settings(self, base, changes):
        place = os.path.join(self.folder, "settings", digest_of(canonical([base, changes])))
        path = os.path.join(place, SETTINGS)
        if not os.path.exists(path):
            with open(base, encoding="utf-8") as file:
                text = file.read()
            os.makedirs(place, exist_ok=True)
            _write(path, variants.settings_with(text, changes).encode())
        return path

    def _file(self, reference):
        """A name that ships, or the path of a file that came along."""
        if "name" in reference:
            return reference["name"]
        return os.path.join(self._laid_out(reference["file"]), reference["as"])

    def _laid_out(self, digest):
        place = os.path.join(self.folder, "inputs", digest)
        if not os.path.isdir(place):
            begun = f"{place}.begun"
            os.makedirs(begun, exist_ok=True)
            for name, data in self.snapshots[digest].files.items():
                _write(os.path.join(begun, name), data)
            os.rename(begun, place)
        return place

    def _make_ready(self, specification, request):
        """Have the kernels at hand, once for each combination that decides which."""
        from ..precompile import kernels_of, make_ready

        mark = (request.board, request.dram, request.memory_model, request.reference_timing, request.dma,
                request.timing, request.has_regions)
        if mark not in self._ready:
            make_ready(kernels_of(request))
            self._ready.add(mark)

    def neutral(self, text: str) -> str:
        """Leave out where files lie on this machine; the directory of a program becomes `PROGRAM_NAME`."""
        return self._places.sub(lambda found: "" if found[0].endswith("/") else PROGRAM_NAME, text)


def _places(folder, kept_builds):
    """Make the pattern of what no record names: the directories of a workshop, and where the package lies."""
    from .. import boards

    package = re.escape(os.path.dirname(os.path.dirname(str(boards.__file__))))
    laid_out = rf"{re.escape(folder)}/(?:inputs|changed|settings)/[0-9a-f]+"
    place = rf"(?:{laid_out}|{re.escape(kept_builds)}/(?:[0-9a-f]+|\.[^/]+/build))"
    return re.compile(rf"{place}/?|{package}/")


def _write(path, data):
    """Write a file that is whole where it is there."""
    begun = f"{path}.begun"
    with open(begun, "wb") as file:
        file.write(data)
    os.rename(begun, path)
