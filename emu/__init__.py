"""plena-emu: a fast, exact emulator of the PLENA LLM-inference accelerator.

`plena_emu.run(build_dir)` runs a program; docs/api.md describes it and what else there is.
Type checkers read `__init__.pyi`.
"""

__version__ = "0.1.0"

# What the package offers, imported when it is asked for: command lines import the package before anything else.
_OFFERED = {
    "run": "api", "manifest": "api", "plan": "api", "profile": "api", "assemble": "assembler", "sweep": "sweeping.api",
    "search": "sweeping.api",
    "RunRequest": "request", "RunResult": "result", "EmuError": "errors",
}
__all__ = ["EmuError", "RunRequest", "RunResult", "__version__", "assemble", "manifest", "plan", "profile", "run",
           "search", "sweep"]


def __getattr__(name):
    if name not in _OFFERED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f".{_OFFERED[name]}", __name__), name)


def __dir__():
    return sorted({*globals(), *_OFFERED})
