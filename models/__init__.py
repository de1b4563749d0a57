"""From a model in Hugging Face's file formats to a program for the machine, and the check of its results (spec §9).

`plena_emu.models.compile(model, build_dir)` compiles; docs/models.md describes it and what else is offered here.
"""

# What the package offers, imported when it is asked for: command lines import parts of it only.
_OFFERED = {
    "Build": "compiler", "CheckReport": "check", "Estimate": "board_estimate", "check_build": "check",
    "compile": "compiler", "estimate": "board_estimate", "load_references": "references", "load_results": "results",
}  # fmt: skip
__all__ = ["Build", "CheckReport", "Estimate", "check_build", "compile", "estimate", "load_references", "load_results"]


def __getattr__(name):
    if name not in _OFFERED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f".{_OFFERED[name]}", __name__), name)


def __dir__():
    return sorted({*globals(), *_OFFERED})
