"""What a user asks the compiler for, and which wishes exclude each other (spec §9.2, §9.8)."""

from typing import Literal

import msgspec

from plena_emu.errors import UsageError
from plena_emu.inputs.arguments import path_of
from plena_emu.inputs.choices import SCHEDULES

from .presets import DEFAULT_PRESET

DEFAULT_PREFILL = 64  # tokens


class CompileOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of one build; None leaves a choice to the model, the files or the default of §9.8.

    `prefill` and `past` count tokens, `batch` sequences, `image` pixels of an edge, `vector_sram_rows` rows of VLEN
    elements. `tokens`, `embeddings` and `pixels` are `.npy` files; `cache_from` is a build directory that was run, with
    at least `past` tokens;
    `weights` is `none`, `random:SEED` or a directory. `schedule` `overlap` prefetches the tiles of the next column of a
    weight while the present one is used.

    Raises
    ------
    UsageError
        Two of the options exclude each other, a number is not positive, or a value is none of its choices or of
        another type.
    """

    preset: str = DEFAULT_PRESET
    part: Literal["text", "vision"] | None = None
    prefill: int | None = None
    past: int | None = None
    layers: int | None = None
    batch: int | None = None
    tokens: str | None = None
    embeddings: str | None = None
    pixels: str | None = None
    image: int | None = None
    logits: Literal["last", "all", "none"] = "last"
    weights: str | None = None
    board: str | None = None
    cache_from: str | None = None
    vector_sram_rows: int | None = None
    schedule: Literal["plain", "overlap"] = "plain"

    def __post_init__(self):
        for name in ("prefill", "past", "layers", "batch", "image", "vector_sram_rows"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise UsageError(f"{_flag(name)}: found {value!r}, expected a whole number of at least 1")
        if not isinstance(self.preset, str):
            raise UsageError(f"preset: found {self.preset!r}, expected the name of a preset")
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if not (isinstance(value, str) and value in choices or value is None and name == "part"):
                raise UsageError(f"{name}: found {value!r}, expected one of {', '.join(choices)}")
        for name in _PATHS:
            path_of(name, getattr(self, name))
        for one, other in _EXCLUDING:
            if getattr(self, one) is not None and getattr(self, other) is not None:
                raise UsageError(f"{_flag(one)} and {_flag(other)} exclude each other")

    @property
    def is_decode(self) -> bool:
        """Whether one step after a cache is wanted, not a prefill."""
        return self.past is not None or self.cache_from is not None

    def check_part(self, part: Literal["text", "vision"]) -> None:
        """Refuse options that the chosen part of a model has no use for. Raises `UsageError`."""
        useless = _TEXT_ONLY if part == "vision" else _VISION_ONLY
        for name in useless:
            if getattr(self, name) is not None:
                raise UsageError(f"{_flag(name)}: the {part} part has no use for it")
        if part == "vision" and self.logits == "all":
            raise UsageError("--logits: the vision part has no use for it")


_TEXT_ONLY = ("prefill", "past", "batch", "tokens", "embeddings", "cache_from")
_VISION_ONLY = ("pixels", "image")
_CHOICES = {"logits": ("last", "all", "none"), "part": ("text", "vision"), "schedule": SCHEDULES}
_PATHS = ("tokens", "embeddings", "pixels", "weights", "board", "cache_from")
_EXCLUDING = (
    ("prefill", "past"),
    ("prefill", "cache_from"),
    ("tokens", "embeddings"),
)


def _flag(name):
    return f"--{name.replace('_', '-')}"
