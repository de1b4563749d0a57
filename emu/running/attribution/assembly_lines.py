"""Comments and mnemonics of assembly text, found for a whole text at once: programs have a hundred thousand lines."""

from typing import NamedTuple

import numpy as np

LONGEST = 24  # bytes of a mnemonic that are looked at: more than any has
_NEWLINE, _SEMICOLON, _A, _Z = b"\n;AZ"
_BLANKS = np.array([chr(byte).isspace() for byte in range(128)] + [True] * 128)  # bytes a line may begin with besides
_ENDS = np.array([chr(byte).isspace() for byte in range(128)] + [False] * 128)  # a mnemonic


class AssemblyLines(NamedTuple):
    """What lines of assembly text are.

    Attributes
    ----------
    mnemonics : S24[instructions]
        First word of each line that begins with a letter from A to Z.
    comments : list of str
        Each line that begins with `;`, without the blanks around it.
    word_of_comment : list of int
        How many instructions stand above each comment.
    """

    mnemonics: np.ndarray
    comments: list[str]
    word_of_comment: list[int]


def read_lines(text: str) -> AssemblyLines:
    """Find the instructions and comments of assembly text.

    Returns
    -------
    AssemblyLines
    """
    data = text.encode("utf-8", "surrogatepass") + b"\n" + bytes(LONGEST)
    codes = np.frombuffer(data, dtype=np.uint8)
    ends = np.flatnonzero(codes[: len(codes) - LONGEST] == _NEWLINE)
    starts = np.concatenate(([0], ends[:-1] + 1))
    for line in np.flatnonzero(_BLANKS[codes[starts]] & (starts < ends)).tolist():
        row = data[starts[line] : ends[line]].decode("utf-8", "surrogatepass")
        starts[line] += len(row[: len(row) - len(row.lstrip())].encode("utf-8", "surrogatepass"))
    first = np.where(starts < ends, codes[starts], 0)
    begins = starts[(first >= _A) & (first <= _Z)]
    comments = np.flatnonzero(first == _SEMICOLON)
    rows = [data[start:end].decode("utf-8", "surrogatepass").strip()
            for start, end in zip(starts[comments].tolist(), ends[comments].tolist(), strict=True)]
    above = np.searchsorted(begins, starts[comments]).tolist()
    return AssemblyLines(_mnemonics(codes, begins), rows, above)


def _mnemonics(codes, begins):
    """S24[n]: what stands from each place to the next blank."""
    letters = codes[begins[:, None] + np.arange(LONGEST)]
    letters[np.logical_or.accumulate(_ENDS[letters], axis=1)] = 0
    return np.ascontiguousarray(letters).view(f"S{LONGEST}").ravel()
