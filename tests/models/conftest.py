"""Fixtures of the tests of models."""

from model_build import build

__all__ = ["build"]
