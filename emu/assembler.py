"""The assembler's public path; its home is `plena_emu.program.assembler`."""

from .program.assembler import assemble, disassemble, mem_text

__all__ = ["assemble", "disassemble", "mem_text"]
