"""Conditions on the keys of a point, as `where:` and `constraints:` state them: parsed once, never run as code."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import UsageError
from ..inputs.words import cut

_SIZE = re.compile(r"""("[^"]*"|'[^']*')|\b([0-9]+(?:\.[0-9]+)?)([KMGT])(?:i?B)?\b""")
_FACTORS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_LONGEST = 1000  # characters
_COMPARED: dict[type, Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge, ast.In: lambda value, values: value in values,
    ast.NotIn: lambda value, values: value not in values,
}
_ORDERED = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
_COMPUTED: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
}


class Condition:
    """A condition such as `ddr_capacity >= 4M and board != "v80"`.

    Keys are names with dots; numbers may have a suffix (K, M, G, T: powers of 1024); operators are comparisons,
    `in` a list, `and`, `or`, `not`, `+ - * / // %`. A comparison with a key that has no value is false, except
    `== None` and `!= None`.

    Parameters
    ----------
    text : str
    where : str
        What holds it, for messages.

    Raises
    ------
    UsageError
        It is no such condition.
    """

    def __init__(self, text: str, where: str = "where"):
        self.text = text
        self._where = f"{where} {cut(text)!r}"
        if not isinstance(text, str) or len(text) > _LONGEST:
            raise UsageError(f"{self._where}: expected a condition of at most {_LONGEST} characters")
        try:
            self._tree = ast.parse(_SIZE.sub(_plain, text).strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise UsageError(f"{self._where}: no condition, expected such as ddr_capacity >= 4M") from None
        self.keys: set[str] = set()
        self._check(self._tree)

    def holds(self, values: Mapping[str, object]) -> bool:
        """Tell whether the condition holds for the values of a point; keys that are not there have none.

        Raises
        ------
        UsageError
            It compares or computes what cannot be, such as a number with text.
        """
        try:
            return bool(self._value(self._tree, values))
        except (TypeError, ZeroDivisionError, OverflowError) as error:
            raise UsageError(f"{self._where}: {error}") from None

    def check_kinds(self, samples: Mapping[str, object]) -> None:
        """Refuse comparisons and sums that no values of these kinds can have, such as text with a number.

        Parameters
        ----------
        samples : mapping
            A value by key, of which the kind alone counts.

        Raises
        ------
        UsageError
        """
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Compare | ast.BinOp):
                try:
                    self._value(node, samples)
                except TypeError:
                    raise UsageError(f"{self._where}: found text and a number in {cut(ast.unparse(node))!r}, expected"
                                     " two of a kind") from None
                except (ArithmeticError, ValueError):
                    pass  # of the sample

    def _check(self, node):
        """Refuse everything that is not named above."""
        name = _dotted(node)
        if name is not None:
            self.keys.add(name)
            return
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float | str | None):
            return
        parts = self._parts(node)
        if parts is None:
            raise UsageError(f"{self._where}: found {cut(ast.unparse(node))!r}, expected keys, numbers, text, lists and"
                             " comparisons")
        for part in parts:
            self._check(part)

    @staticmethod
    def _parts(node):
        if isinstance(node, ast.BoolOp):
            return node.values
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
            return [node.operand]
        if isinstance(node, ast.BinOp) and type(node.op) in _COMPUTED:
            return [node.left, node.right]
        if isinstance(node, ast.Compare) and all(type(op) in _COMPARED for op in node.ops):
            return [node.left, *node.comparators]
        return node.elts if isinstance(node, ast.List | ast.Tuple) else None

    def _value(self, node, values):
        name = _dotted(node)
        if name is not None:
            return values.get(name)
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.List | ast.Tuple):
            return [self._value(part, values) for part in node.elts]
        if isinstance(node, ast.BoolOp):
            parts = (self._value(part, values) for part in node.values)
            return all(parts) if isinstance(node.op, ast.And) else any(parts)
        if isinstance(node, ast.UnaryOp):
            value = self._value(node.operand, values)
            return not value if isinstance(node.op, ast.Not) else None if value is None else -value
        if isinstance(node, ast.BinOp):
            left, right = self._value(node.left, values), self._value(node.right, values)
            if left is None or right is None:
                return None
            if not isinstance(left, int | float) or not isinstance(right, int | float):
                raise TypeError(f"found {cut(ast.unparse(node))!r}, expected numbers on both sides")
            return _COMPUTED[type(node.op)](left, right)
        return self._compare(node, values)

    def _compare(self, node, values):
        left = self._value(node.left, values)
        for op, part in zip(node.ops, node.comparators, strict=True):
            right = self._value(part, values)
            is_missing = left is None or right is None
            if is_missing and isinstance(op, _ORDERED) or not _COMPARED[type(op)](left, right):
                return False
            left = right
        return True


def _dotted(node):
    """`board.latency.vector_add` of names with dots; None for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        above = _dotted(node.value)
        return above and f"{above}.{node.attr}"
    return None


def _plain(match):
    """Bytes of a size with a suffix; text in quotes stays."""
    if match[1]:
        return match[1]
    value = float(match[2]) * _FACTORS[match[3]]
    return str(int(value) if value.is_integer() else value)
