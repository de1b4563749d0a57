"""Is an HBM image that is mapped what reading it gives, and does the file stay as it is?"""

import numpy as np
import pytest

from plena_emu.errors import EmuError
from plena_emu.machine import preload
from plena_emu.machine.lazy_arrays import lazy_zeros, map_file


@pytest.mark.parametrize("size", [preload.MAPPED - 1, preload.MAPPED, preload.MAPPED + 4097])
def test_image(tmp_path, size):
    content = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8)
    path = tmp_path / "hbm.bin"
    path.write_bytes(content.tobytes())
    hbm = lazy_zeros(size + 10_000, np.uint8, "HBM")
    assert preload.load_hbm(str(path), hbm) == size
    assert np.array_equal(hbm[:size], content)
    assert not hbm[size:].any()
    hbm[:] = 7
    assert (hbm == 7).all()
    assert path.read_bytes() == content.tobytes()


def test_too_large(tmp_path):
    path = tmp_path / "hbm.bin"
    path.write_bytes(bytes(preload.MAPPED + 1))
    with pytest.raises(EmuError, match=f"{preload.MAPPED + 1} bytes, expected at most {preload.MAPPED}"):
        preload.load_hbm(str(path), lazy_zeros(preload.MAPPED, np.uint8, "HBM"))


def test_other_memory_is_not_mapped_over(tmp_path):
    path = tmp_path / "hbm.bin"
    path.write_bytes(bytes(preload.MAPPED))
    memory = np.ones(preload.MAPPED + 1, dtype=np.uint8)[1:]
    with open(path, "rb") as file:
        assert not map_file(file.fileno(), memory, preload.MAPPED)
    assert memory.all()
    assert preload.load_hbm(str(path), memory) == preload.MAPPED
    assert not memory.any()
