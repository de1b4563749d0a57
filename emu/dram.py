"""The DRAM library's public path; its home is `plena_emu.memory.dram`."""

from .boards.dram_schema import load_dram
from .memory.dram import new_memo, new_run, new_state, place

__all__ = ["load_dram", "new_memo", "new_run", "new_state", "place"]
