"""Fixtures of the tests of models."""

from finished_build import build

__all__ = ["build"]
