"""The public path of the idealised DDR; its home is `plena_emu.memory.simple`."""

from .memory.simple import DdrTiming, NaiveTiming, new_ddr, preset

__all__ = ["DdrTiming", "NaiveTiming", "new_ddr", "preset"]
