"""What holds for every test."""

import signal

import pytest
from hypothesis import settings

from plena_emu.kernels.compiler import modes

modes.choose(modes.LINKED)  # tests call kernels that are no entries: compiled, too

# A shell that starts the tests in the background lets them ignore Ctrl-C, and with them every process they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples every time, so that a change fails by what it changed; `--hypothesis-profile=search` draws new ones.
settings.register_profile("fixed", derandomize=True)
settings.register_profile("search", derandomize=False, print_blob=True)
settings.load_profile("fixed")


@pytest.fixture(autouse=True)
def no_choices_of_the_user(monkeypatch):
    """No variable that decides about runs reaches a test from outside."""
    for name in ("PLENA_ISA", "PLENA_SETTINGS_TOML", "RUST_LOG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def empty_directory(monkeypatch, tmp_path):
    """The working directory is an empty one in `tmp_path`."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
