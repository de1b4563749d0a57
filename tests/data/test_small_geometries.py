"""Does no instruction read or write beside an array, whatever small VLEN, BLEN, HLEN, MLEN and sizes of SRAMs?"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_geometries import run_geometry

TESTS = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("first", range(0, 60, 10))
def test_nothing_beside_an_array_is_written(first):
    with np.errstate(all="ignore"):
        assert sum(run_geometry(seed)[1] for seed in range(first, first + 10)) > 500  # legal instructions


@pytest.mark.parametrize("variable, seeds", [("NUMBA_BOUNDSCHECK", (100, 160)), ("NUMBA_DISABLE_JIT", (160, 164))])
def test_every_index_is_inside(variable, seeds):
    """More were tried once: `python tests/small_geometries.py FIRST LAST`."""
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    ran = subprocess.run([sys.executable, "-W", "ignore", TESTS / "small_geometries.py", *map(str, seeds)],
                         env=os.environ | {variable: "1", "PYTHONPATH": path}, capture_output=True, text=True,
                         timeout=600)
    assert ran.returncode == 0 and ", 0 failed" in ran.stdout, ran.stdout + ran.stderr
