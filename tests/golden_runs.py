"""Runs golden programs through the emulator in this process and says what differs from what the reference did.

As a script: check the named programs, in whatever mode the environment selects for numba.
"""

import os
import sys
import tempfile
import zlib
from pathlib import Path

from oracle import goldens

from plena_emu.cli import dropin, flags
from plena_emu.logs import Log
from plena_emu.result import RunResult, hbm_statistics
from plena_emu.running.runner import execute

NO_WEIGHTS = '{"activation_ceiling": 0, "regions": []}'


def model_of(run: dict) -> str:
    """Memory model of a golden run; the drop-in's default is hbm."""
    args = run["args"]
    return args[args.index("--memory-model") + 1] if "--memory-model" in args else "hbm"


def board_ddr_run(golden: goldens.Golden) -> dict:
    """A run of a `moe` program on `resident` without weights, beside the `hbm` run it has."""
    manifest = golden.directory / "no_weights.json"
    manifest.write_text(NO_WEIGHTS)
    args = list(golden.runs[0]["args"])
    if "--memory-model" in args:
        at = args.index("--memory-model")
        del args[at : at + 2]
    args += ["--memory-model", "resident", "--weight-manifest", manifest.name]
    return {"id": "board-ddr", "args": args}


def execute_run(golden: goldens.Golden, run: dict, dump_dir: Path | None) -> RunResult:
    """Run with the exact flags of a golden run; the working directory becomes the program's."""
    os.chdir(golden.directory)
    args = dropin.build_parser().parse_args(run["args"])
    request = flags.request(args, golden.isa, dump_hbm=True, dump_dir=None if dump_dir is None else str(dump_dir))
    return execute(request, Log("off"))


def sparse_content(path: Path) -> bytes:
    """Bytes of a sparse file up to the end of its last extent; holes are never read."""
    content = bytearray()
    with open(path, "rb") as file:
        end = os.fstat(file.fileno()).st_size
        at = 0
        while at < end:
            try:
                first = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:  # nothing but a hole follows
                break
            at = os.lseek(file.fileno(), first, os.SEEK_HOLE)
            content.extend(bytes(first - len(content)))
            content.extend(os.pread(file.fileno(), at - first, first))
    return bytes(content)


def figures(golden: goldens.Golden, run: dict, result: RunResult) -> list[str]:
    """What differs in latency, statistics and instruction count."""
    statistics = "HBM Statistics - " + run["hbm_statistics"]
    if run["model_statistics"]:
        statistics += "\n" + run["model_statistics"]
    checked = [
        ("latency_ps", result.latency_ps, run["latency_ps"]),
        ("statistics", hbm_statistics(result), statistics),
    ]
    if golden.expected["dynamic_instructions"] is not None:
        checked.append(("instructions", result.instructions, golden.expected["dynamic_instructions"]))
    return [f"{golden.name} {run['id']}: {what} {found!r}, expected {want!r}"
            for what, found, want in checked if found != want]


def dump_differences(golden: goldens.Golden, run: dict, directory: Path) -> list[str]:
    """What differs in the dumps below `directory`; `hbm_dump.bin` is one of the `hbm` model only."""
    dumps = {path.name: sparse_content(path) for path in directory.glob("*.bin")}
    with_hbm = model_of(run) == "hbm"
    missing = f"{golden.name}: hbm_dump.bin missing"
    return [f"{run['id']}: {line}" for line in golden.differences(dumps) if with_hbm or line != missing]


def check(golden: goldens.Golden) -> list[str]:
    """Every run of a program: figures always; dumps of the first run, of `hbm`, and of one more.

    The data do not depend on the memory model, so that more would only repeat itself; which one more follows from
    the name, so that over all programs every model has its turn.
    """
    lines = []
    sampled = {0, zlib.crc32(golden.name.encode()) % len(golden.runs)}
    for number, run in enumerate(golden.runs):
        with tempfile.TemporaryDirectory() as directory:
            dump = number in sampled or model_of(run) == "hbm"
            result = execute_run(golden, run, Path(directory) if dump else None)
            lines += figures(golden, run, result)
            if dump:
                lines += dump_differences(golden, run, Path(directory))
    return lines


def check_on_board_ddr(golden: goldens.Golden) -> list[str]:
    """Dumps of a run on a DDR model: the programs of the `moe` revision have golden runs on `hbm` only."""
    run = board_ddr_run(golden)
    with tempfile.TemporaryDirectory() as directory:
        execute_run(golden, run, Path(directory))
        return dump_differences(golden, run, Path(directory))


def main(names: list[str]) -> int:
    """Check programs by name; prints what differs."""
    lines = []
    for name in names:
        with tempfile.TemporaryDirectory() as directory:
            golden = goldens.unpack(goldens.find(name), Path(directory))
            lines += check(golden)
            if golden.isa == "moe":
                lines += check_on_board_ddr(golden)
    print("\n".join([*lines, f"checked {len(names)} programs, {len(lines)} differences"]))
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
