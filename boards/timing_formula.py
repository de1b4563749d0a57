"""Formulas of a timing file: cycles from the geometry, without running anything (spec §7.7)."""

import ast

GEOMETRY = ("MLEN", "VLEN", "BLEN", "HLEN", "BROADCAST")
SERVICE = "service"  # in place of a formula: the time of the DMA itself
_OPERATORS = {
    ast.Add: lambda a, b: a + b, ast.Sub: lambda a, b: a - b, ast.Mult: lambda a, b: a * b,
    ast.FloorDiv: lambda a, b: a // b,
}  # fmt: skip
_FUNCTIONS = {"max": (max, 2), "min": (min, 2), "ceil_log2": (lambda value: max(value - 1, 0).bit_length(), 1)}
MOST_CYCLES = 1 << 40


class FormulaError(ValueError):
    """What is wrong with a formula, in one phrase."""


def evaluate(formula: int | str, geometry: dict[str, int]) -> int:
    """Evaluate a formula for a geometry (a value for each name of `GEOMETRY`).

    Returns
    -------
    int
        Cycles, 1 to `MOST_CYCLES`.

    Raises
    ------
    FormulaError
        The text is no formula, or its value is no number of cycles.
    """
    value = _value(parse(formula), geometry)
    if not 1 <= value <= MOST_CYCLES:
        raise FormulaError(f"{formula!r} is {value} cycles, expected 1 to {MOST_CYCLES}")
    return value


def parse(formula: int | str) -> ast.expr:
    """Parse a formula and check its names; raises `FormulaError`."""
    try:
        tree = ast.parse(str(formula), mode="eval").body
        _value(tree, dict.fromkeys(GEOMETRY, 1))
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        if isinstance(error, FormulaError):
            raise
        raise FormulaError(f"{formula!r} is no formula") from None
    return tree


def _value(node, names):
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    if isinstance(node, ast.Name):
        if node.id not in names:
            raise FormulaError(f"unknown name {node.id!r}, expected one of {', '.join(names)}")
        return names[node.id]
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _value(node.left, names), _value(node.right, names)
        if isinstance(node.op, ast.FloorDiv) and right == 0:
            raise FormulaError("division by zero")
        return _OPERATORS[type(node.op)](left, right)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        function, arguments = _FUNCTIONS.get(node.func.id, (None, 0))
        if function is not None and len(node.args) == arguments:
            return function(*(_value(argument, names) for argument in node.args))
    raise FormulaError(f"{ast.unparse(node)!r}: expected numbers, {', '.join(names)}, + - * //, max, min, ceil_log2")
