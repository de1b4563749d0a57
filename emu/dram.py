"""The DRAM library's public path; its home is `plena_emu.memory.dram`."""

from .boards.dram_schema import load_dram
from .memory.dram import Place, place

__all__ = ["Place", "load_dram", "place"]
