"""Board files and DRAM descriptions: data, their schema and their loaders.

`load_board(name_or_path)` gives a checked `Board`. YAML and the schema are imported on first use.
"""

DEFAULT_BOARD = "nexys_video"

__all__ = ["DEFAULT_BOARD", "Board", "LatencyProfile", "TileHint", "board_names", "load_board", "profile_names"]

_FROM_LOADER = ("load_board", "board_names", "profile_names")
_FROM_SCHEMA = ("Board", "LatencyProfile", "TileHint")


def __getattr__(name):
    if name in _FROM_LOADER:
        from . import loader

        return getattr(loader, name)
    if name in _FROM_SCHEMA:
        from . import schema

        return getattr(schema, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
