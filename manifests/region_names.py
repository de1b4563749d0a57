"""What a region is, by the name of its tensor: kind and layer (spec §6.3, §10)."""

import functools
import re
from collections.abc import Iterable, Sequence

from plena_emu.errors import UsageError

from .schema import KINDS

_KV = re.compile(r"(^|_)[KV]_stored_")
_WEIGHT_PREFIXES = ("W_", "V_W_", "V_B_", "V_LN1_", "V_LN2_", "V_POST_LN_")
_WEIGHT_NAMES = ("V_PATCH_W", "V_PATCH_BIAS_POS", "V_CONNECTOR_W", "V_CONNECTOR_B")
_RULE = (f"weight: {', '.join(f'{prefix}...' for prefix in _WEIGHT_PREFIXES)}, {', '.join(_WEIGHT_NAMES)};"
         " kv: K_stored_..., V_stored_...; all else activation")
# Names as frameworks give them, of what is no activation. Those of compiled programs (X, Q, COS, K_0_h1) match none.
_LIKE_KV = re.compile(r"(^|[_./])(past_)?(k|v|kv|key|keys|value|values|key_values)_?cache|"
                      r"cache_?(k|v|key|value)|past_(key|value|kv)|present_(key|value)", re.IGNORECASE)
_LIKE_WEIGHT = re.compile(
    r"(^|[_./])(weights?|bias|kernel)([_./]|$)|lm_head|embed(ding)?s?([_./]|$)|embed_tokens|(^|[_./])wte|(^|[_./])wpe|"
    r"(^|[_./])([qkvo]|qkv|out|gate|up|down|in|c)_?proj([_./]|$)|(^|[_./])fc_?[0-9]|(^|[_./])w[qkvo12]([_./]|$)",
    re.IGNORECASE)


def kind_of(name: str) -> str:
    """Tell the kind of a region from its tensor's name (§6.3).

    Returns
    -------
    str
    """
    if _KV.search(name):
        return "kv"
    return "weight" if name.startswith(_WEIGHT_PREFIXES) or name in _WEIGHT_NAMES else "activation"


def layer_of(name: str) -> int:
    """Tell the layer from a tensor's name: its first integer that is no head or sub-layer number, else 0 (§6.3).

    Returns
    -------
    int
    """
    name = re.sub(r"_h[0-9]+$", "", name)
    name = re.sub(r"(fc|ln)[12]", r"\1", name, flags=re.IGNORECASE)
    digits = re.search(r"[0-9]+", name)
    # Twenty digits are beyond any layer id, and int() never sees thousands of them.
    return int(digits[0].lstrip("0")[:20] or "0") if digits else 0


def parse_kind(text: str) -> tuple[str, str]:
    """Read `PATTERN=KIND` of `--kind`; raises `UsageError`.

    In a pattern `*` stands for any characters and `?` for one; every other character, brackets too, is itself.

    Returns
    -------
    (str, str)
        Pattern and kind.
    """
    pattern, equals, kind = text.rpartition("=")
    if not equals or not pattern or kind not in KINDS:
        raise UsageError(f"kind {text[:60]!r}: expected NAME-PATTERN=KIND with a kind of {', '.join(KINDS)}")
    return pattern, kind


def kind_named(name: str, kinds: Sequence[tuple[str, str]]) -> str | None:
    """Find the kind that the last matching pattern of `kinds` gives a name; None where none matches.

    Returns
    -------
    str or None
    """
    return next((kind for pattern, kind in reversed(kinds) if _matches(name, pattern)), None)


def _matches(name, pattern):
    return _expression(pattern).fullmatch(name) is not None


@functools.lru_cache(256)
def _expression(pattern):
    wild = {"*": ".*", "?": "."}
    return re.compile("".join(wild.get(part, re.escape(part)) for part in re.split(r"([*?])", pattern)), re.DOTALL)


def undecided_names(names: Iterable[str], kinds: Sequence[tuple[str, str]] = (), called: str = "--kind") -> list[str]:
    """Warn of names that no rule knows and that look like weights or caches: they count as activations (§6.3).

    Names that differ in numbers alone are one pattern, with how many there are: `layers.0.q_proj.weight` and
    `layers.1.q_proj.weight` are `layers.*.q_proj.weight (2)`. So every name is told, however many layers there are.

    Parameters
    ----------
    called : str
        What the overruling patterns are called where they are given.

    Returns
    -------
    list of str
        One line, or none.
    """
    odd = [name for name in names if kind_of(name) == "activation" and kind_named(name, kinds) is None
           and (_LIKE_KV.search(name) or _LIKE_WEIGHT.search(name))]
    if not odd:
        return []
    alike: dict[str, list[str]] = {}
    for name in odd:
        alike.setdefault(re.sub(r"[0-9]+", "*", name), []).append(name)
    listed = ", ".join(found[0] if len(found) == 1 else f"{pattern} ({len(found)})" for pattern, found in alike.items())
    verbs = ("look like weights or caches", "count as activations") if len(odd) > 1 else (
        "looks like a weight or a cache", "counts as an activation")
    return [f"{listed} {verbs[0]} by name and {verbs[1]}; the rule is {_RULE}; {_syntax(called)} decides otherwise"]


def _syntax(called):
    return f"{called} NAME-PATTERN=weight|kv|activation" if called.startswith("--") else (
        f"{called} {{NAME-PATTERN: weight, kv or activation}}")


def unused_patterns(names: Iterable[str], kinds: Sequence[tuple[str, str]], called: str = "--kind") -> list[str]:
    """Warn of patterns that match no name, a line each; `called` is what they are called where they are given.

    Returns
    -------
    list of str
    """
    known = list(names)
    return [f"{called} {pattern}={kind} is not used: no region has such a name" for pattern, kind in kinds
            if not any(_matches(name, pattern) for name in known)]
