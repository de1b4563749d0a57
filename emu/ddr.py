"""The public path of the idealised DDR; its home is `plena_emu.memory.simple`."""

from .memory.simple import DdrTiming, NaiveTiming, preset

__all__ = ["DdrTiming", "NaiveTiming", "preset"]
