"""The stage of each word of a program: from `stages.json`, else from comments, else from loops (spec §9.6)."""

import os
from typing import Annotated, NamedTuple

import msgspec
import numpy as np

from ... import isa
from ...config.build_dir import ASSEMBLY, STAGES
from ...errors import EmuError
from ...inputs.documents import parse_json
from ...inputs.schema import convert
from ...inputs.text import read_text, read_utf8
from ...kernels.layout import OP_ID
from ...program.decode import Program
from .assembly_lines import AssemblyLines, read_lines
from .comment_rules import LAYER_BEGINS, LAYER_ENDS, NEXT, RESET, SAME, STAGE, answer_to
from .loops import loop_paths
from .operators import OTHER


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
            lines = read_lines(read_utf8(path, "assembly"))
            if lines.comments:
                if belongs_to(lines, program):
                    return _indexed(comment_stages(lines), len(program), path, warnings)
                warnings.append(f"assembly {path}: its instructions are not those of the program: no stages from it")
    return _loop_stages(program, warnings)


def _indexed(begins, words, source, warnings) -> Labels:
    """Labels of a list of stages and their first words."""
    numbers: dict[Stage, int] = {}
    ends = [*(first for first, _ in begins[1:]), words]
    for (first, stage), end in zip(begins, ends, strict=True):
        if first < end:
            numbers.setdefault(stage, len(numbers))
    index = np.array([numbers.get(stage, 0) for _, stage in begins], dtype=np.int32)
    lengths = np.array([end - first for (first, _), end in zip(begins, ends, strict=True)], dtype=np.int64)
    return Labels(list(numbers), np.repeat(index, lengths), source, warnings)


# --- stages.json -------------------------------------------------------------------------------------


def read_stages(path: str, words: int) -> Labels:
    """Read a `stages.json`, whose stages must cover words 0 to `words` - 1 in order, without gaps."""
    where = f"stages {path}"
    document = convert(parse_json(read_text(path, "stages"), where), _StagesFile, where)
    covered = 0
    for number, row in enumerate(document.stages):
        _check_range(f"{where}: stages[{number}]", row, covered, words)
        covered = row.last_pc + 1
    if covered != words:
        raise EmuError(f"stages {path}: the stages cover {covered} words, the program has {words}")
    return _indexed([(row.first_pc, Stage(row.layer, row.operator)) for row in document.stages], words, path, [])


def _check_range(where, row, first, words):
    """Refuse a row that does not begin at word `first`, or ends outside the program."""
    if row.first_pc != first:
        raise EmuError(f"{where}.first_pc: found {row.first_pc}, expected {first}")
    if not first <= row.last_pc < words:
        raise EmuError(f"{where}.last_pc: found {row.last_pc}, expected an integer from {first} to {words - 1}")


# --- comments ----------------------------------------------------------------------------------------


def comment_stages(lines: AssemblyLines) -> list[tuple[int, Stage]]:
    """Find the stages of assembly text by its comments (`comment_rules`).

    Returns
    -------
    list of (int, Stage)
        Where each stage begins, ascending from word 0. One may begin where the next one does, and so hold no word.
    """
    begins: list[tuple[int, Stage]] = []
    layer, operator = None, NEXT
    layers_seen = False
    # Words and layers whose operator is named later, or is `OTHER` already.
    waiting: list[tuple[int, int | None, str | None]] = [(0, None, None)]
    known: dict[tuple[str, bool, bool], str] = {}
    ends = [*lines.word_of_comment, len(lines.instructions)][1:]
    for line, word, end in zip(lines.comments, lines.word_of_comment, ends, strict=True):
        place = (line, layers_seen and layer is None, operator == NEXT)
        answer = known.get(place)
        if answer is None:
            comment = line.strip("; =-\t")
            if stage := STAGE.match(comment):
                layer, answer = None if stage[1] is None else int(stage[1]), stage[2]
            elif started := LAYER_BEGINS.match(comment):
                layer, layers_seen, answer = int(started[1]), True, NEXT
            elif LAYER_ENDS.match(comment):
                layer, answer = None, NEXT
            else:
                answer = known[place] = answer_to(comment, *place[1:])
        if answer == SAME:
            uncommented = word + _resets(line)
            if word < uncommented < end:
                waiting.append((uncommented, layer, OTHER))
                if operator != NEXT:
                    operator = OTHER
                    begins += _named(waiting, OTHER)
            continue
        if answer == NEXT:
            waiting.append((word, layer, None))
        else:
            begins += _named(waiting, answer)
            begins.append((word, Stage(layer, answer)))
        operator = answer
    return begins + _named(waiting, OTHER)


def _named(waiting, operator):
    """Name what waited for an operator; nothing waits any more then."""
    named = [(first, Stage(layer, known or operator)) for first, layer, known in waiting]
    waiting.clear()
    return named


def _resets(line):
    """How many instructions a comment about resetting registers names; 0 for any other comment."""
    found = RESET.search(line) if "Reset Registers" in line else None
    return len(found[1].split(",")) if found else 0


def belongs_to(lines: AssemblyLines, program: Program) -> bool:
    """Say whether assembly text is that of a program: the same operations in the same order."""
    if len(lines.instructions) != len(program):
        return False
    names = [b"", *(op.name(program.revision).encode() for op in isa.OPS)]
    ids = program.table[:, OP_ID]
    others = lines.others_than(names, ids).tolist()  # perhaps called as in the other revision
    return all(getattr(isa.BY_MNEMONIC.get(lines.mnemonic(at).decode("latin-1")), "id", isa.INVALID) == ids[at]
               and ids[at] != isa.INVALID for at in others)


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
