"""Do memory and disk follow what a program touches, not the sizes that its settings declare (§5.4)?

Whole processes with stock settings: 4,194,304 vector rows (512 MiB at VLEN 64), and up to 128 GiB of HBM.
"""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from oracle import goldens

from plena_emu.precompile import warm

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "linear" / "build"
EXECUTABLE = Path(sysconfig.get_path("scripts")) / "transactional_emulator"
MIB = 1 << 20
FILES = ("--opcode", "generated_machine_code.mem", "--hbm", "hbm_for_behave_sim.bin", "--fpsram", "fp_sram.bin",
         "--settings", "plena_settings.toml")  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def compiled():
    warm()


# Starts a command and prints its status and peak. What the kernel counts as peak begins with the process that
# forked: that must be a small one, not a test worker.
MEASURE = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(process.pid, 0)
print(os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024)
"""


class Process:
    """A finished process: status, standard error, peak of its resident memory in bytes, disk its dumps occupy."""

    def __init__(self, build, directory, args):
        flags = [str(build / part) if "." in part and not part.startswith("-") else part for part in args]
        ran = subprocess.run([sys.executable, "-c", MEASURE, EXECUTABLE, *flags], cwd=directory, capture_output=True,
                             text=True)
        self.status, self.resident = map(int, ran.stdout.split())
        self.log = ran.stderr
        self.dumps = {path.name: path.stat() for path in directory.glob("*_dump.bin")}
        self.disk = sum(stat.st_blocks * 512 for stat in self.dumps.values())


@pytest.mark.parametrize("model", ["resident", "hbm"])
def test_stock_settings(model, tmp_path):
    args = [*FILES, "--hbm-size", "16384", "--memory-model", model]
    if model != "hbm":
        args += ["--weight-manifest", "weight_manifest.json"]
    ran = Process(EXAMPLE, tmp_path, args)
    assert ran.status == 0, ran.log
    assert ran.dumps["vram_dump.bin"].st_size == 512 * MIB
    assert ran.resident < 250e6 and ran.disk < 2e6


def test_stock_settings_of_a_golden_program(tmp_path):
    archive = goldens.find("base_aten_linear")
    if archive is None:
        pytest.skip(f"no golden program base_aten_linear in {goldens.SHARED}")
    golden = goldens.unpack(archive, tmp_path)
    run = next(run for run in golden.runs if run["id"].startswith("resident"))
    dumps = tmp_path / "dumps"
    dumps.mkdir()
    ran = Process(golden.directory, dumps, run["args"])
    assert ran.status == 0, ran.log
    assert ran.dumps["vram_dump.bin"].st_size == 512 * MIB
    assert ran.resident < 250e6 and ran.disk < 2e6


def test_an_hbm_far_larger_than_the_machine(tmp_path):
    """Its dump as well: the default level is debug in name, so the hbm model writes one."""
    ran = Process(EXAMPLE, tmp_path, [*FILES, "--hbm-size", "128G"])
    assert ran.status == 0, ran.log
    assert "HBM size 137438953472 bytes (128.000 GiB)" in ran.log
    assert ran.dumps["hbm_dump.bin"].st_size == 128 << 30
    assert ran.resident < 250e6 and ran.disk < 2e6
