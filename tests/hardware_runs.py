"""Golden runs of hardware timing (spec chapter 7): where they are, and the product on one of them."""

import gzip
import hashlib
import json
import math
import tarfile
from pathlib import Path

from oracle.goldens import ROOT, content

from plena_emu.cli import dropin

VENDORED = ROOT / "tests" / "golden" / "timing"
SHARED = ROOT.parent / "shared" / "golden" / "timing"
PLACES = [place for place in (SHARED, VENDORED) if place.exists()]


def find(name: str) -> Path | None:
    """A file of the goldens, from the whole set where that is beside the repository."""
    return next((place / name for place in PLACES if (place / name).exists()), None)


def runs() -> list[dict]:
    """Every golden run whose program is at hand."""
    listed = json.loads(gzip.decompress(find("timing_runs.json.gz").read_bytes()))
    return [run for run in listed if archive(run) is not None]


def archive(run: dict) -> Path | None:
    """Archive of a run's program."""
    return find(f"{run['archive']}/{run['program']}.tar.xz") or find(f"programs/{run['program']}.tar.xz")


def unpack(run: dict, into: Path) -> Path:
    """Build directory of a run, unpacked once."""
    directory = into / run["program"]
    if not directory.exists():
        with tarfile.open(archive(run)) as tar:
            tar.extractall(into, filter="data")
    return directory


def arguments(directory: Path, channels: int | None = None) -> list[str]:
    """Flags of the drop-in for a build directory."""
    found = ["--opcode", directory / "generated_machine_code.mem", "--hbm", directory / "hbm_for_behave_sim.bin",
             "--fpsram", directory / "fp_sram.bin", "--settings", directory / "plena_settings.toml"]
    for flag, name in ("--intsram", "int_sram.bin"), ("--vram", "vram_preload.bin"):
        if (directory / name).exists():
            found += [flag, directory / name]
    if (directory / "hbm_size.txt").exists():
        found += ["--hbm-size", (directory / "hbm_size.txt").read_text().strip()]
    if channels is not None:
        found += ["--hbm-channels", channels]
    return [str(argument) for argument in found]


def drop_in(*flags) -> int:
    """Run the drop-in in this process: its exit status."""
    return dropin.main([str(flag) for flag in flags])


def differences(found, expected, where="") -> list[str]:
    """Where two JSON values differ; keys must come in the same order, floats to a relative 1e-9."""
    if isinstance(expected, dict):
        if not isinstance(found, dict) or list(found) != list(expected):
            return [f"{where}: found {found!r}, expected {expected!r}"]
        return [line for key in expected for line in differences(found[key], expected[key], f"{where}/{key}")]
    same = (math.isclose(found, expected, rel_tol=1e-9) if isinstance(expected, float) else found == expected)
    return [] if same and type(found) is type(expected) else [f"{where}: found {found!r}, expected {expected!r}"]


def without_calibration(report: dict) -> dict:
    """A report without the part whose content is free."""
    return {key: value for key, value in report.items() if key != "timing_calibration"}


def event_text(event: dict) -> str:
    """The line of `trace_sha256` for an event of a trace file."""
    names = ("sequence", "pc", "opcode", "issue_cycle", "accepted_cycle", "recovery_cycles", "start_cycle",
             "result_ready_cycle", "completion_cycle", "resource", "calibration_status", "rtl_supported",
             "calibration_in_domain", "stall_reason", "dependency")
    values = [event.get(name, "") for name in names]
    return ",".join(str(int(value)) if isinstance(value, bool) else str(value) for value in values) + "\n"


def digest(events: list[dict]) -> str:
    """`trace_sha256` of a list of events."""
    return hashlib.sha256("".join(event_text(event) for event in events).encode()).hexdigest()


def dump_differences(run: dict, directory: Path) -> list[str]:
    """Dumps in a directory that differ from those of a golden run."""
    return [name for name, want in run["dumps"].items()
            if content((directory / name).read_bytes(), name) != (want["content_bytes"], want["sha256"])]
