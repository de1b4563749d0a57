"""Stages of routed experts by the comments of assembly text: what the reference's stage profile calls them (§8.2)."""

import re
from collections.abc import Callable
from typing import NamedTuple

OTHER = "other"
STAGES = ("router_topk", "accumulator_init", "gather", "expert_weight_address", "expert_weight_prefetch",
          "expert_projection", "expert_activation", "expert_bias", "expert_route_weight", "scatter_combine", OTHER)
WITHOUT_PAIR = ("router_topk", "accumulator_init")

_ALLOCATE = "allocate vram matrix step6_pair"
# White space of Unicode; str.strip takes a few control characters as well.
_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
_PAIRS = tuple(re.compile(marker + "([0-9]+)") for marker in ("step6_pair", "pair="))
_MARKERS = ("step6_pair", "gpt-oss", "sub projection", "expert_")
U32 = 2**32


class Label(NamedTuple):
    """Stage of an instruction, and its pair of token and expert, None without one."""

    stage: str
    pair: int | None


class ExpertLabels(NamedTuple):
    """Labels of the instructions of a text, in order, and whether it mentions routed experts at all."""

    labels: list[Label]
    has_markers: bool


def _any(*parts: str) -> Callable[[str, str], bool]:
    return lambda text, _: any(part in text for part in parts)


def _allocates(part: str = "") -> Callable[[str, str], bool]:
    return lambda text, _: _ALLOCATE in text and part in text


def _during(stage: str, *parts: str) -> Callable[[str, str], bool]:
    return lambda text, current: current == stage and any(part in text for part in parts)


# (stage, conditions on the lower-cased line and the stage so far); the first row with one that holds decides.
RULES = (
    ("router_topk", (_any("gpt-oss router", "router token", "router dot token"),)),
    ("scatter_combine", (_any("gpt-oss vram scatter-add", "_scatter"),)),
    ("expert_route_weight", (_allocates("_route"),)),
    ("expert_route_weight", (_any("materialize route weight", "vram matrix mul"),
                             _during("expert_route_weight", "true-zero vram rows"))),
    ("accumulator_init", (_any("step6_device_routing_acc", "true-zero vram rows"),)),
    ("gather", (_any("gpt-oss gather token rows", "gather pair", "clear gather padding"), _allocates("_gather"))),
    ("expert_bias", (_any("dynamic expert bias add"),)),
    ("expert_activation", (_allocates("_sigmoid"),)),
    ("expert_activation", (_any("tile row min fp", "tile row max fp"),
                           _during("expert_activation", "vram fill zero", "vram matrix add"))),
    ("expert_weight_address", (_any("dynamic hbm weight prefetch", "expert_id_to_weight_base"),)),
    ("expert_weight_prefetch", (_any("subblock ["),)),
    ("expert_projection", (_any("sub projection", "vram block"), _allocates())),
)


def stage_after(comment: str, stage: str) -> str:
    """Find the stage of the instructions below a comment; `stage` is the one above it."""
    text = comment.translate(_LOWER)
    return next((name for name, conditions in RULES if any(holds(text, stage) for holds in conditions)), stage)


def pair_after(comment: str, stage: str, pair: int | None) -> int | None:
    """Find the pair of the instructions below a comment, whose stage is `stage` by now."""
    for pattern in _PAIRS:
        for found in pattern.finditer(comment):
            if len(found[1].lstrip("0")) <= 10 and int(found[1]) < U32:
                return int(found[1])
    return None if stage in WITHOUT_PAIR else pair


def read_labels(text: str) -> ExpertLabels:
    """Label every instruction of assembly text.

    Returns
    -------
    ExpertLabels
        A label for each line that begins with a letter from A to Z.
    """
    labels = []
    current = Label(OTHER, None)
    for row in text.split("\n"):
        line = row.strip(_SPACE)
        if line.startswith(";"):
            stage = stage_after(line, current.stage)
            current = Label(stage, pair_after(line, stage, current.pair))
        elif "A" <= line[:1] <= "Z":
            labels.append(current)
    lowered = text.translate(_LOWER)
    return ExpertLabels(labels, any(marker in lowered for marker in _MARKERS))
