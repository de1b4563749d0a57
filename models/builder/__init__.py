"""Writing PLENA programs: registers, loops, immediates, stages (docs/models.md, "Kernels by hand").

>>> from plena_emu.models.builder import Builder
>>> b = Builder(max_loop_instructions=100_000)
>>> with b.registers(2) as (source, target):
...     b.set(source, 0)
...     b.set(target, 4096)
...     with b.loop(64):
...         b.emit("V_EXP_V", target, source)
...         b.advance(source, 64)
...         b.advance(target, 64)
>>> words = b.finish().words
"""

from .instructions import encode
from .odometer import Digit, every_index
from .program import IMMEDIATE, Builder, Program, Register, Stage

__all__ = ["IMMEDIATE", "Builder", "Digit", "Program", "Register", "Stage", "encode", "every_index"]
