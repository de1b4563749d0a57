"""The programs of a benchmark: golden programs with what is expected of them, and builds of one's own."""

import contextlib
import difflib
import os
import pathlib
import shutil
import tarfile
import tempfile
from lzma import LZMAError
from typing import Annotated

import msgspec

from ..config.build_dir import BUILD_FILES, NEVER
from ..config.units import read_hbm_size
from ..errors import EmuError, UsageError, printable
from ..inputs.choices import MEMORY_MODELS
from ..inputs.documents import parse_json
from ..inputs.schema import convert
from ..inputs.text import read_text

DEFAULT_GOLDEN = os.path.join("..", "shared", "golden")
ENDING = ".tar.xz"
WALLS = "reference_walls.json"
REFERENCE_STARTUP_S = 0.40  # of every wall of the reference


def _examples() -> pathlib.Path:
    """Find the examples: those the package brings, or in a checkout those beside it."""
    here = pathlib.Path(__file__).resolve()
    checkout = here.parents[2]
    is_checkout = (checkout / "pyproject.toml").is_file() and (checkout / "emu").is_dir()
    return (checkout if is_checkout else here.parents[1]) / "examples"


EXAMPLES = _examples()


class Walls(msgspec.Struct):
    """Seconds the reference executable takes for a program, by memory model: `small` and `stock` settings."""

    small: dict[str, Annotated[float, msgspec.Meta(gt=0)]]
    stock: dict[str, Annotated[float, msgspec.Meta(gt=0)]]

    def simulate_s(self, model: str) -> float | None:
        """Work out the seconds of the simulate phase: the wall of the small settings less start-up.

        None without a wall, and for one that is all start-up.
        """
        seconds = self.small.get(model, 0.0) - REFERENCE_STARTUP_S
        return seconds if seconds > 0 else None

    def process_s(self, model: str) -> float | None:
        """Look up the seconds of the whole process with stock settings."""
        return self.stock.get(model)


class ExpectedRun(msgspec.Struct):
    """A golden run: exact arguments, and what must come out."""

    id: str
    args: list[Annotated[str, msgspec.Meta(pattern="^[^\0]*$", description="text without NUL characters")]]
    latency_ps: int | None = None
    hbm_statistics: str | None = None
    model_statistics: str | None = None

    @property
    def statistics(self) -> str | None:
        """The text of the byte statistics, None where nothing is expected."""
        if self.hbm_statistics is None:
            return None
        text = f"HBM Statistics - {self.hbm_statistics}"
        return f"{text}\n{self.model_statistics}" if self.model_statistics else text


class Expected(msgspec.Struct):
    """The `expected.json` of a program."""

    isa: str
    runs: list[ExpectedRun]
    dynamic_instructions: int | None = None

    def run(self, model: str) -> ExpectedRun | None:
        """Find the run on a memory model, None without one."""
        return next((run for run in self.runs if run.id == model), None)


class Workload(msgspec.Struct):
    """A program to measure: an archive or a build directory, with reference walls where there are any."""

    name: str
    source: str
    walls: Walls | None = None
    isa: str = "base"  # of a build without expected.json

    @property
    def golden(self) -> bool:
        """Whether the reference said what must come out."""
        return self.source.endswith(ENDING) or os.path.exists(os.path.join(self.source, "expected.json"))

    @contextlib.contextmanager
    def unpacked(self):
        """Unpack a scratch copy, as a context: (directory, `Expected`). Raises `EmuError` for a broken program."""
        with tempfile.TemporaryDirectory(prefix="plena-bench-", ignore_cleanup_errors=True) as scratch:
            directory = os.path.join(scratch, os.path.basename(self.source).removesuffix(ENDING))
            try:
                if self.source.endswith(ENDING):
                    with tarfile.open(self.source) as tar:
                        tar.extractall(scratch, filter="data")
                else:
                    shutil.copytree(self.source, directory)
            except (OSError, tarfile.TarError, LZMAError, EOFError) as error:
                why = getattr(error, "strerror", None) or "found no sound archive, expected a .tar.xz"
                raise EmuError(f"program {self.source}: cannot unpack: {why}") from None
            yield directory, self._expected(directory)

    def _expected(self, directory):
        if self.golden:
            return _decode(os.path.join(directory, "expected.json"), f"{self.source}: expected.json", Expected)
        return _expected_of_build(directory, self.isa)


def find_workloads(
    names: list[str], golden: str | None, everything: bool, isa: str = "base"
) -> tuple[list[Workload], list[str]]:
    """Find the workloads that `names` ask for, or the default selection.

    Parameters
    ----------
    names : list of str
        Golden programs by name, examples by name, or build directories. Empty: the golden programs with a reference
        wall (with `everything` all of them) and the examples.
    golden : str or None
        Directory with `programs/` and `reference_walls.json`; None takes `../shared/golden` where it is there.

    isa : str
        Revision of build directories without an `expected.json`.

    Returns
    -------
    (list of Workload, list of str)
        The workloads, and notes for the user.

    Raises
    ------
    EmuError, UsageError
        A directory or a program that is not there.
    """
    notes = []
    found = _golden_workloads(golden or DEFAULT_GOLDEN)
    if found is None:
        if golden is not None:
            raise EmuError(f"golden directory {golden}: holds no programs/*{ENDING}")
        notes.append("no golden programs here: --golden names a directory of them")
        found = {}
    examples = {f"examples/{build.parent.name}": Workload(f"examples/{build.parent.name}", str(build))
                for build in sorted(EXAMPLES.glob("*/build"))}
    if names:
        return [_named(name, found | examples, isa) for name in dict.fromkeys(names)], notes
    chosen = [workload for workload in found.values() if everything or workload.walls]
    if found and not chosen:
        notes.append(f"no golden program has a reference wall: name some, or all with --all ({len(found)})")
    if not chosen and not examples:
        raise UsageError(f"no program to measure: {'; '.join(notes)}")
    return [*chosen, *examples.values()], notes


def _golden_workloads(directory):
    """Find golden workloads by name, those with walls first, in their order; None where there are no archives."""
    archives = {path.name.removesuffix(ENDING): str(path)
                for path in sorted(pathlib.Path(directory, "programs").glob(f"*{ENDING}"))}
    if not archives:
        return None
    path = os.path.join(directory, WALLS)
    walls = _decode(path, path, dict[str, Walls]) if os.path.lexists(path) else {}
    ordered = [name for name in walls if name in archives] + [name for name in archives if name not in walls]
    return {name: Workload(name, archives[name], walls.get(name)) for name in ordered}


def _named(name, known, isa):
    if name.removesuffix(ENDING) in known:
        return known[name.removesuffix(ENDING)]
    if os.path.isfile(os.path.join(name, BUILD_FILES[0].name)):
        return Workload(printable(os.path.basename(os.path.abspath(name))), os.path.abspath(name), isa=isa)
    close = difflib.get_close_matches(name, known, 3, 0.5)
    hint = f"; close to it: {', '.join(close)}" if close else ""
    raise UsageError(f"program {name!r}: neither a golden program nor an example nor a build directory{hint}")


def _decode(path, what, kind):
    """Read a JSON file as a `kind`; `what` names it in messages."""
    return convert(parse_json(read_text(path, "benchmark"), f"benchmark {what}"), kind, f"benchmark {what}")


def _expected_of_build(directory, isa):
    """Make the runs of a build directory (§5.6) nothing is known of: on hbm, and with a manifest on every model."""
    args, manifest = [], []
    for file in BUILD_FILES:
        if not os.path.exists(os.path.join(directory, file.name)):
            if file.needed != NEVER:
                raise EmuError(f"build directory {directory}: {file.name} not found")
        elif file.flag == "weight_manifest":
            manifest = ["--weight-manifest", file.name]
        else:
            args += [f"--{file.flag}", file.name]
    size = os.path.join(directory, "hbm_size.txt")
    if os.path.exists(size):
        args += ["--hbm-size", str(read_hbm_size(size))]
    models = MEMORY_MODELS if manifest else ("hbm",)
    return Expected(isa, [ExpectedRun(model, [*args, "--memory-model", model, *(manifest if model != "hbm" else [])])
                             for model in models])
