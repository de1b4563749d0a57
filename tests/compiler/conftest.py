"""What holds for every test of the compiler: a compile cache of its own, no choices of the user."""

import shutil

import pytest
from tiny_package import install

from plena_emu.kernels.compiler.fingerprint import cache_root, owner_of
from plena_emu.precompile import MODULES, make_ready


@pytest.fixture
def package(tmp_path):
    """Kernels folder of a copy of the package with a tiny kernel module."""
    return install(tmp_path / "package")


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """An empty compile cache."""
    monkeypatch.setenv("PLENA_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("NUMBA_DISABLE_JIT", "NUMBA_BOUNDSCHECK", "NUMBA_CACHE_DIR", "PLENA_PLAIN_NUMBA"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache"


@pytest.fixture
def notes(monkeypatch, tmp_path):
    """Path of a file that gets a line, the process id, for every compilation of the tiny module."""
    monkeypatch.setenv("TINY_NOTES", str(tmp_path / "notes"))
    (tmp_path / "notes").touch()
    return tmp_path / "notes"


@pytest.fixture(scope="session")
def warm(tmp_path_factory):
    """A cache that holds all of this version's kernels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PLENA_CACHE_DIR", raising=False)
        make_ready(MODULES)
        place = tmp_path_factory.mktemp("warm")
        for key in MODULES:
            shutil.copytree(cache_root() / owner_of(key), place / owner_of(key), dirs_exist_ok=True)
    return place


@pytest.fixture
def copied(warm, cache):
    """A compile cache of the test's own that holds everything."""
    shutil.copytree(warm, cache)
    return cache
