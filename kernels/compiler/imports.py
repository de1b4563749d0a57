"""Which modules a Python source imports, found without running it.

The syntax tree tells exactly, but making it of every kernel source would take longer than starting a run. A pattern
reads the usual forms of the statement; a source in which it does not account for every such keyword is parsed.
"""

import re

_KEYWORD = "IMPORT".lower()  # in capitals, so that the pattern accounts for this source as well
_NAME = r"[^\W\d][\w.]*"
_ITEM = rf"{_NAME}(?:[ \t]+as[ \t]+{_NAME})?"
_ITEMS = rf"{_ITEM}(?:[ \t]*,[ \t]*{_ITEM})*"
_STATEMENT = re.compile(
    rf"[ \t]*(?:from[ \t]+(\.*)((?:{_NAME})?)[ \t]+({_KEYWORD})[ \t]+(?:\(([\w\s,]*)\)|({_ITEMS}))"
    rf"|({_KEYWORD})[ \t]+({_ITEMS}))[ \t]*(?:#[^\n]*)?$",
    re.MULTILINE,
)


def imported_names(source: str, module: str, is_package: bool = False, exact: bool = False):
    """Find the modules that a source imports, wherever the statements stand, and the names it takes from each.

    Parameters
    ----------
    source : str
    module : str
        Dotted name of the source's module, from which relative imports start.
    is_package : bool
        Whether the source is the `__init__` of a package.
    exact : bool
        Go by the syntax tree even if the pattern reads them all.

    Returns
    -------
    set of (str, frozenset of str)
        The absolute dotted name of a module, and the names taken from it: none where it is imported itself.
    """
    statements = None if exact else _by_pattern(source)
    if statements is None:
        statements = _by_syntax_tree(source)
    found = set()
    for level, base, names in statements:
        if level:
            parents = module.split(".")
            above = parents[: len(parents) - level + is_package]
            base = ".".join([*above, base] if base else above)
        found.add((base, frozenset(names)))
    return found


def _by_pattern(source):
    """(level, module, names) of all that is imported; None when the pattern does not account for it all."""
    statements = []
    start = source.find(_KEYWORD)
    while start >= 0:
        end = start + len(_KEYWORD)
        if not (source[start - 1 : start].isidentifier() or f"_{source[end : end + 1]}".isidentifier()):
            line = source.rfind("\n", 0, start) + 1
            continued = source[max(line - 3, 0) : line].rstrip("\r\n").endswith("\\")
            found = _STATEMENT.match(source, line)
            if continued or found is None or start not in (found.start(3), found.start(6)):
                return None
            dots, base, _, inner, names, _, modules = found.groups()
            if modules:
                statements += [(0, item, ()) for item in _items(modules)]
            else:
                statements.append((len(dots), base, _items(inner or names)))
        start = source.find(_KEYWORD, end)
    return statements


def _items(text):
    return [item.split()[0] for item in text.split(",") if item.strip()]


def _by_syntax_tree(source):
    import ast

    statements = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            statements += [(0, item.name, ()) for item in node.names]
        elif isinstance(node, ast.ImportFrom):
            statements.append((node.level, node.module or "", [item.name for item in node.names]))
    return statements
