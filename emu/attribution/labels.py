"""The stage of each word of a program: from `stages.json`, else from comments, else from loops (spec §9.6)."""

import os
from typing import Annotated, NamedTuple

import msgspec
import numpy as np

from .. import isa
from ..errors import EmuError
from ..inputs.documents import parse_json
from ..inputs.schema import convert
from ..inputs.text import read_text
from ..program.decode import Program
from .comment_rules import LAYER_BEGINS, LAYER_ENDS, NEXT, SAME, answer_to
from .loops import loop_paths
from .operators import OTHER

ASSEMBLY = "generated_asm_code.asm"
STAGES = "stages.json"


class Stage(NamedTuple):
    """A layer (None outside layers) and an operator."""

    layer: int | None
    operator: str


class _StageRow(msgspec.Struct):
    """A row of `stages.json`; words `first_pc` to `last_pc`, both included."""

    layer: Annotated[int, msgspec.Meta(ge=0)] | None
    operator: Annotated[str, msgspec.Meta(min_length=1, description="a name")]
    first_pc: int
    last_pc: int


class _StagesFile(msgspec.Struct):
    """`stages.json` (§9.6)."""

    stages: list[_StageRow]


class Labels(NamedTuple):
    """The stage of each word.

    Attributes
    ----------
    stages : list of Stage
        In the order of their first words.
    of_word : int32[words]
        Index of `stages`.
    source : str
        What they come from: a file, or "loops".
    warnings : list of str
        Why a better source did not serve.
    """

    stages: list[Stage]
    of_word: np.ndarray
    source: str
    warnings: list[str]


def labels_of(program: Program, directory: str | None) -> Labels:
    """Find the stage of each word of a program.

    Parameters
    ----------
    program : Program
    directory : str or None
        Its build directory, for `stages.json` and `generated_asm_code.asm`.

    Returns
    -------
    Labels

    Raises
    ------
    EmuError
        `stages.json` is malformed or does not cover the program; a file is there but cannot be read.
    """
    warnings: list[str] = []
    if directory is not None:
        path = os.path.join(directory, STAGES)
        if os.path.lexists(path):
            return read_stages(path, len(program))
        path = os.path.join(directory, ASSEMBLY)
        if os.path.lexists(path):
            text = read_text(path, "assembly")
            if text.count(";"):
                mnemonics, stages = comment_stages(text)
                if belongs_to(mnemonics, program):
                    return _indexed(stages, path, warnings)
                warnings.append(f"assembly {path}: its instructions are not those of the program: no stages from it")
    return _loop_stages(program, warnings)


def _indexed(stages, source, warnings) -> Labels:
    """Labels of a list with the stage of each word."""
    numbers: dict[Stage, int] = {}
    of_word = np.fromiter((numbers.setdefault(stage, len(numbers)) for stage in stages), np.int32, len(stages))
    return Labels(list(numbers), of_word, source, warnings)


# --- stages.json -------------------------------------------------------------------------------------


def read_stages(path: str, words: int) -> Labels:
    """Read a `stages.json`, whose stages must cover words 0 to `words` - 1 in order, without gaps."""
    where = f"stages {path}"
    document = convert(parse_json(read_text(path, "stages"), where), _StagesFile, where)
    stages: list[Stage] = []
    for number, row in enumerate(document.stages):
        _check_range(f"{where}: stages[{number}]", row, len(stages), words)
        stages += [Stage(row.layer, row.operator)] * (row.last_pc + 1 - len(stages))
    if len(stages) != words:
        raise EmuError(f"stages {path}: the stages cover {len(stages)} words, the program has {words}")
    return _indexed(stages, path, [])


def _check_range(where, row, first, words):
    """Refuse a row that does not begin at word `first`, or ends outside the program."""
    if row.first_pc != first:
        raise EmuError(f"{where}.first_pc: found {row.first_pc}, expected {first}")
    if not first <= row.last_pc < words:
        raise EmuError(f"{where}.last_pc: found {row.last_pc}, expected an integer from {first} to {words - 1}")


# --- comments ----------------------------------------------------------------------------------------


def comment_stages(text: str) -> tuple[list[str], list[Stage]]:
    """Read the mnemonics of assembly text, and the stage of each by the comments (`comment_rules`).

    Returns
    -------
    list of str, list of Stage
        One of each for every line that begins with a letter from A to Z.
    """
    mnemonics: list[str] = []
    stages: list[Stage | None] = []
    layer, operator = None, NEXT
    layers_seen = False
    waiting = 0  # first word whose operator is named later
    for row in text.split("\n"):
        line = row.strip()
        if line.startswith(";"):
            comment = line.strip("; =-\t")
            if begins := LAYER_BEGINS.match(comment):
                layer, layers_seen, answer = int(begins[1]), True, NEXT
            elif LAYER_ENDS.match(comment):
                layer, answer = None, NEXT
            else:
                answer = answer_to(comment, layers_seen and layer is None, operator == NEXT)
            if answer == SAME:
                continue
            if answer != NEXT and operator == NEXT:
                _fill(stages, waiting, answer)
            elif answer == NEXT and operator != NEXT:
                waiting = len(stages)
            operator = answer
        elif "A" <= line[:1] <= "Z":
            mnemonics.append(line.split(None, 1)[0])
            stages.append(Stage(layer, operator))
    if operator == NEXT:
        _fill(stages, waiting, OTHER)
    return mnemonics, stages


def _fill(stages, first, operator):
    """Give the words from `first` on that wait for an operator this one; their layers stay."""
    for at in range(first, len(stages)):
        if stages[at].operator == NEXT:
            stages[at] = Stage(stages[at].layer, operator)


def belongs_to(mnemonics: list[str], program: Program) -> bool:
    """Say whether assembly text with these mnemonics is that of a program: the same operations in the same order."""
    names = [None, *(op.name(program.revision) for op in isa.OPS)]
    known = {name: op.id for op in isa.OPS for name in (op.mnemonic, op.moe_mnemonic)}
    ids = program.table[:, 0].tolist()
    if len(mnemonics) != len(ids):
        return False
    return all(names[op] == name or known.get(name, isa.INVALID) == op for name, op in zip(mnemonics, ids, strict=True))


# --- loops -------------------------------------------------------------------------------------------


def _loop_stages(program, warnings) -> Labels:
    """Stages of a program that says nothing: the loops around each word."""
    paths, of_word = loop_paths(program.table)
    stages = [Stage(None, path_name(path)) for path in paths]
    used, first = np.unique(of_word, return_index=True)
    used = used[np.argsort(first)]
    number = np.zeros(len(paths), dtype=np.int32)
    number[used] = np.arange(len(used))
    return Labels([stages[path] for path in used.tolist()], number[of_word], "loops", warnings)


def path_name(path) -> str:
    """Name of a path of loops: `loop 12-40 / loop 20-30`, by their first and last words; `no loop` for none."""
    return " / ".join(f"loop {span.start}-{span.end}" for span in path) or "no loop"
