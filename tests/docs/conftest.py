"""One environment with the installed package for all tests of a process."""

import fresh_environment
import pytest


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """Its directory; `bin` in it holds the commands."""
    return fresh_environment.make(tmp_path_factory.mktemp("fresh") / "env")
