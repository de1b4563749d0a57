"""plena-emu: a fast, exact emulator of the PLENA LLM-inference accelerator."""

__version__ = "0.1.0"
