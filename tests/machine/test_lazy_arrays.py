"""Do maps of what was touched tell it, in time that goes by what was touched?"""

import os
import subprocess
import sys
import time

import numpy as np
import pytest

from plena_emu.machine import lazy_arrays
from plena_emu.machine.lazy_arrays import _occupied, lazy_zeros, runs_of, touch, touch_ahead


def marked(array, places):
    """The map with 1 at some places, and the runs of them."""
    runs = []
    for place in sorted(places):
        array[place] = 1
        if runs and runs[-1][1] == place:
            runs[-1] = (runs[-1][0], place + 1)
        else:
            runs.append((place, place + 1))
    return runs


@pytest.mark.parametrize("size", [1, 4096, 64 * 4096, 64 * 4096 + 1, 1 << 22])
@pytest.mark.parametrize("new", [lambda size: lazy_zeros(size, np.uint8, "map"), lambda size: np.zeros(size, np.uint8)])
def test_runs(new, size):
    assert runs_of(new(size)) == []
    rng = np.random.default_rng(size)
    places = {0, size - 1, *rng.integers(0, size, 9).tolist(), *(k for k in range(4090, 4100) if k < size)}
    array = new(size)
    runs = marked(array, places)
    array[size // 2] += 0  # read and written, yet 0
    assert runs_of(array) == runs


@pytest.mark.skipif(not os.access("/proc/self/pagemap", os.R_OK), reason="no page table to read")
def test_a_map_of_four_billion_rows():
    """A scan of all of it would take seconds; few pages are looked at."""
    size = 2**32 - 1
    array = lazy_zeros(size, np.uint8, "map")
    runs = marked(array, {5, 6, 1 << 31, size - 1})
    assert runs_of(array) == runs
    assert sum(end - first for first, end in _occupied(array)) < 1 << 26


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux")
def test_touching_keeps_what_is_there():
    array = lazy_zeros(1 << 23, np.uint8, "x")
    array[5], array[1 << 21] = 7, 8
    touch(array, 0, 1 << 22)
    touch(array, 1 << 22, 1 << 22)
    touch(array, 1 << 22, 0)
    assert array[5] == 7 and array[1 << 21] == 8 and np.count_nonzero(array[: 1 << 22]) == 2
    assert _occupied(array)[-1][1] <= 1 << 22


def test_memory_is_touched_ahead_and_only_so_far():
    array, small = lazy_zeros(1 << 24, np.uint8, "x"), lazy_zeros(4096, np.uint8, "y")
    touch_ahead([array, small], 1 << 21)
    for _ in range(1000):
        if _occupied(array) == [(0, 1 << 21)]:
            break
        time.sleep(0.01)
    if _occupied(array):  # older kernels do not grant the wish
        assert _occupied(array) == [(0, 1 << 21)]
    assert not array[: 1 << 21].any() and not small.any()


SIZES = [1, 4096, 1 << 20, (1 << 21) + 5, lazy_arrays.KEPT, lazy_arrays.KEPT + (1 << 22)]


@pytest.fixture
def nothing_spare(monkeypatch):
    monkeypatch.setattr(lazy_arrays, "_spare", {})


def place(array):
    return array.__array_interface__["data"][0]


@pytest.mark.usefixtures("nothing_spare")
@pytest.mark.parametrize("huge", [0, 1 << 21])
@pytest.mark.parametrize("size", SIZES)
def test_a_map_that_comes_again_is_clear(size, huge):
    """Also where it was written last: at both ends, and at the bounds of what is cleared and what is dropped."""
    rng = np.random.default_rng(size)
    seen = set()
    for _ in range(5):
        array = lazy_zeros(size, np.uint8, "x", huge, again=True)
        seen.add(place(array))
        assert not array.any()
        for at in {0, size - 1, min(lazy_arrays.KEPT, size) - 1, size // 2, *rng.integers(0, size, 20).tolist()}:
            array[at] = 255
    if sys.platform.startswith("linux") and os.access("/proc/self/pagemap", os.R_OK):
        assert len(seen) == 2  # the next one is made while the last is still held


@pytest.mark.usefixtures("nothing_spare")
def test_a_map_comes_again_when_nobody_holds_a_part_of_it():
    array = lazy_zeros(1 << 20, np.float32, "x", again=True)
    part, first = array.view(np.uint32)[5:9].reshape(2, 2), place(array)
    part[...] = 7
    del array
    other = lazy_zeros(1 << 20, np.float32, "x", again=True)
    assert place(other) != first and (part == 7).all() and not other.any()
    del part
    assert place(lazy_zeros(1 << 20, np.float32, "x", again=True)) == first


@pytest.mark.usefixtures("nothing_spare")
def test_few_maps_of_few_sizes_are_kept():
    held = [lazy_zeros(4096 * size, np.uint8, "x", again=True)
            for size in range(1, 2 * lazy_arrays.MOST_SIZES) for _ in range(2 * lazy_arrays.MOST_SPARE)]
    del held
    kept = lazy_arrays._spare
    assert len(kept) == lazy_arrays.MOST_SIZES
    assert {len(areas) for areas in kept.values()} == {lazy_arrays.MOST_SPARE}


@pytest.mark.usefixtures("nothing_spare")
def test_where_the_system_does_not_tell_what_is_occupied(monkeypatch):
    monkeypatch.setattr(lazy_arrays, "_occupied", lambda array: None)
    first = lazy_zeros(1 << 23, np.uint8, "x", again=True)
    first[:] = 1
    del first
    assert not lazy_zeros(1 << 23, np.uint8, "x", again=True).any()
    assert runs_of(np.ones(1 << 20, np.uint8)) == [(0, 1 << 20)]


ADDRESS_SPACE = """
import resource, sys
import numpy as np
from plena_emu.errors import EmuError
from plena_emu.machine.lazy_arrays import lazy_zeros
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
for size in (5 << 30, 6 << 30, 5 << 30):
    lazy_zeros(size, np.uint8, "x", again=True)[0] = 1
try:
    lazy_zeros(9 << 30, np.uint8, "x", again=True)
except EmuError as error:
    print(error)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sets a limit of Linux")
def test_spare_maps_take_no_address_space_from_others():
    ran = subprocess.run([sys.executable, "-c", ADDRESS_SPACE], capture_output=True, text=True, timeout=60)
    assert ran.stdout == f"x: cannot map {9 << 30} bytes of address space: Cannot allocate memory\n", ran.stderr
