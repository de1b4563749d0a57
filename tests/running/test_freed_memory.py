"""Does a process that runs one program after the other keep the memory that they need, unless the user decides?"""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from plena_emu.running import freed_memory

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "linear" / "build"
CHOSEN = "MALLOC_TRIM_THRESHOLD_"
# Runs, and then tells how many pages a large array cost that was made and dropped before.
PAGES = """
import resource, sys
import numpy as np
import plena_emu

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

for _ in range(int(sys.argv[2])):
    plena_emu.run(sys.argv[1], dump_dir=None, threads=1)
np.ones(1 << 21)
before = faults()
np.ones(1 << 21)
print(faults() - before)
"""
FEW = 8  # as many as there would be if all were huge pages
needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have other rules")


def pages(runs, **environ):
    """Pages that 16 MiB cost behind so many runs."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("MALLOC_", "GLIBC_"))}
    ran = subprocess.run([sys.executable, "-c", PAGES, str(EXAMPLE), str(runs)], env=clean | environ,
                         capture_output=True, text=True, timeout=300, check=True)
    return int(ran.stdout)


@needs_glibc
def test_memory_is_kept_from_the_second_run_on():
    assert pages(2) < FEW


@needs_glibc
def test_the_first_run_changes_nothing():
    assert pages(1) >= FEW


@needs_glibc
@pytest.mark.parametrize("environ", [{CHOSEN: "131072"}, {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=131072"}])
def test_the_user_decides(environ):
    assert pages(2, **environ) >= FEW


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(freed_memory._Process, "runs", 1)
    monkeypatch.setattr(freed_memory._Process, "is_told", False)
    monkeypatch.setattr(freed_memory.sys, "platform", "darwin")
    monkeypatch.setattr(freed_memory.ctypes, "CDLL", None)  # would be called
    freed_memory.begin_run()
    assert (freed_memory._Process.runs, freed_memory._Process.is_told) == (2, False)
