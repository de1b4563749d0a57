"""Is a fingerprint taken without reading the sources only where none of them changed?"""

import compileall
import os
import time

import pytest
from tiny_package import HELPER, call, install

from plena_emu.kernels.compiler.kept_fingerprints import KeptFingerprints, settled_stamp

# Fingerprint of the tiny module, and whether a source was read for it.
ASK = ("from plena_emu.kernels.compiler import fingerprint\n"
       "print(fingerprint.fingerprint('tiny'), fingerprint._read.cache_info().misses > 0)")


def ask(package, **environ):
    (found, was_read), _ = call(package, ASK, **environ)
    return found, was_read == "True"


@pytest.fixture
def settled(package, cache):
    """The package, whose sources changed long enough ago, and a compile cache with nothing in it."""
    cache.mkdir()
    newest = max(path.stat().st_ctime for path in package.parent.rglob("*.py"))
    time.sleep(max(0, newest + 2.1 - time.time()))
    return package


@pytest.fixture
def known(settled):
    """The package and its fingerprint, which is kept."""
    found, was_read = ask(settled)
    assert was_read and ask(settled) == (found, False)
    return settled, found


def rewrite(path, text):
    """Write a file of the same size, whose time of content is set back."""
    before = path.stat()
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def swap(path, text):
    """Replace a file by another of the same size and time of content, as `cp -p` and `mv` do."""
    other = path.with_suffix(".new")
    other.write_text(text)
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    os.replace(other, path)


@pytest.mark.parametrize("change", [rewrite, swap])
def test_a_change_of_the_same_size_and_time_is_seen(known, change):
    package, before = known
    change(package / "tiny_helper.py", HELPER.replace("x + 1", "x + 2"))
    found, was_read = ask(package)
    assert was_read and found != before
    change(package / "tiny_helper.py", HELPER)
    assert ask(package) == (before, True)


@pytest.mark.parametrize("change", [rewrite, swap])
def test_bytecode_of_an_older_source_is_not_compiled(known, change):
    """Python takes it for that of a source of the same size and time."""
    package, _ = known
    compileall.compile_dir(package.parent, quiet=2)
    change(package / "tiny_helper.py", HELPER.replace("x + 1", "x + 2"))
    assert call(package)[0][0] == "43"
    change(package / "tiny_helper.py", HELPER)
    assert call(package)[0][0] == "42"


def test_a_change_a_moment_ago_is_not_kept(settled):
    helper = settled / "tiny_helper.py"
    helper.write_text(HELPER.replace("x + 1", "x + 2"))
    first, was_read = ask(settled)
    assert was_read and ask(settled) == (first, True)
    helper.write_text(HELPER)
    assert ask(settled)[0] != first


def test_a_source_in_another_place_is_another(known, tmp_path):
    package, before = known
    other = install(tmp_path / "other")
    assert ask(other) == (before, True)
    (other / "tiny_helper.py").write_text(HELPER.replace("x + 1", "x + 2"))
    assert ask(other)[0] != before and ask(package) == (before, False)


def test_each_environment_has_its_own(known):
    package, before = known
    checked, was_read = ask(package, NUMBA_BOUNDSCHECK="1")
    assert was_read and checked != before
    assert ask(package, NUMBA_BOUNDSCHECK="1") == (checked, False) and ask(package) == (before, False)


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:-1], lambda data: data[:-9] + bytes(9)])
def test_a_damaged_file_is_written_again(known, cache, damage):
    package, before = known
    (path,) = (cache / "fingerprints").iterdir()
    path.write_bytes(damage(path.read_bytes()))
    assert ask(package) == (before, True) and ask(package) == (before, False)


def test_where_nothing_can_be_written_sources_are_read(settled, cache):
    cache.rmdir()
    cache.write_text("a file where the directory should be")
    found, was_read = ask(settled)
    assert was_read and ask(settled) == (found, True)


def test_where_there_is_no_cache_yet_none_is_made(settled, cache):
    cache.rmdir()
    found, was_read = ask(settled)
    assert was_read and not cache.exists()


def test_two_that_fall_together_do_not_take_the_other_s(tmp_path, monkeypatch):
    """Files are named by a checksum of what they belong to, and say in full whose they are."""
    monkeypatch.setattr("zlib.crc32", lambda data: 7)
    path = tmp_path / "source.py"
    path.touch()
    os.utime(path, (0, 0))
    time.sleep(2.1)
    with open(path) as file:
        stamp = settled_stamp(file.fileno())
    assert stamp is not None
    KeptFingerprints(tmp_path, "here", "python 3").keep("a", "0123", {str(path): stamp})
    assert KeptFingerprints(tmp_path, "here", "python 3").find("a") == "0123"
    assert KeptFingerprints(tmp_path, "there", "python 3").find("a") is None
