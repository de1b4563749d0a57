"""What does a warm process cost, beside Python importing numba and calling one trivial cached function?"""

import subprocess
import sys

import pytest
from workloads import ROOT

EXAMPLE = ROOT / "examples" / "linear" / "build"
TRIVIAL = "from numba import njit\n@njit(cache=True)\ndef f(x):\n    return x + 1\nf(1)\n"


@pytest.fixture(scope="module")
def trivial(tmp_path_factory):
    path = tmp_path_factory.mktemp("startup") / "trivial.py"
    path.write_text(TRIVIAL)
    return path


def call(*command):
    subprocess.run(command, check=True, capture_output=True)


def test_numba_and_one_cached_function(benchmark, trivial):
    benchmark.pedantic(call, (sys.executable, str(trivial)), rounds=7, warmup_rounds=2)


def test_run_of_the_example(benchmark, tmp_path):
    command = (sys.executable, "-m", "plena_emu.cli.main", "run", str(EXAMPLE), "--memory-model", "resident",
               "--quiet", "--dump-dir", str(tmp_path))
    benchmark.pedantic(call, command, rounds=7, warmup_rounds=2)


def test_drop_in_help(benchmark):
    benchmark.pedantic(call, (sys.executable, "-m", "plena_emu.cli.dropin", "--help"), rounds=7, warmup_rounds=1)
