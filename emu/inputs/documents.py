"""Parses JSON, TOML and YAML text into plain values; a repeated key is an error, whatever the format says of it."""

import math
import re
import tomllib

from ..errors import EmuError
from .words import cut, shown

_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")
_TOO_DEEP = "nested too deeply"
_TOO_LONG = "a number has too many digits"


def parse_json(text: str, where: str) -> object:
    """Parse JSON text; `where` names it in messages.

    Returns
    -------
    object
        Dicts, lists, strings, numbers, booleans and None.

    Raises
    ------
    EmuError
        It is no JSON (NaN and Infinity are none), a number is larger than any float, or an object has a key twice.
    """
    import json  # a run may have none to read

    repeated: list[_Repeated] = []
    try:
        data = json.loads(text, object_pairs_hook=lambda pairs: _object(pairs, repeated),
                          parse_constant=_no_number, parse_float=_finite)
    except json.JSONDecodeError as error:
        raise EmuError(f"{where}: not JSON: line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise EmuError(f"{where}: not JSON: {_TOO_DEEP}") from None
    except _NoNumber as error:
        raise EmuError(f"{where}: not JSON: found {error}, expected a finite number") from None
    except ValueError:
        raise EmuError(f"{where}: not JSON: {_TOO_LONG}") from None
    if repeated:
        key = repeated[0].key
        raise EmuError(f"{where}: {_path_of(data, repeated[0])}{cut(key)}: found twice, expected once")
    if _HALF_PAIR.search(text):
        _check_characters(data, where)
    return data


def parse_toml(text: str, where: str) -> dict:
    """Parse TOML text; `where` names it in messages. Raises `EmuError`.

    Returns
    -------
    dict
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise EmuError(f"{where}: not valid TOML: {error}") from None
    except RecursionError:
        raise EmuError(f"{where}: not valid TOML: {_TOO_DEEP}") from None
    except ValueError:  # of int() and of datetime, in words of their own
        raise EmuError(f"{where}: not valid TOML: {_TOO_LONG}, or a date does not exist") from None


def parse_yaml(text: str, where: str) -> object:
    """Parse YAML text; `where` names it in messages. Raises `EmuError` with the line.

    Returns
    -------
    object
        Dicts, lists, strings, numbers, booleans, dates and None.
    """
    import yaml

    try:
        data = yaml.load(text, _yaml_loader())
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise EmuError(f"{where}{line}: not valid YAML: {error.problem}") from None
    except yaml.reader.ReaderError as error:  # of text that is decoded already: a control character
        number = text.count("\n", 0, error.position) + 1
        raise EmuError(f"{where}, line {number}: not valid YAML: found the control character U+{error.character:04X}"
                       ) from None
    except yaml.YAMLError as error:
        raise EmuError(f"{where}: not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise EmuError(f"{where}: not valid YAML: {_TOO_DEEP}") from None
    except (ValueError, TypeError, IndexError, KeyError, AttributeError):  # of a tag's own constructor
        raise EmuError(f"{where}: not valid YAML: a value is not what its tag says (!!int, !!map, …)") from None
    _check_characters(data, where)
    return data


class _NoNumber(ValueError):
    """What Python takes for a number and JSON does not."""


def _no_number(name):
    raise _NoNumber(name)


def _finite(digits):
    """Take a number with a point or an exponent; one beyond every float would become infinite."""
    value = float(digits)
    if math.isinf(value):
        raise _NoNumber(cut(digits))
    return value


class _Repeated(dict):
    """An object that has a key twice."""

    key = ""


def _object(pairs, repeated):
    """Make a dict of the members of an object, and note it in `repeated` where a key is there twice."""
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    marked = _Repeated(made)
    seen = set()
    marked.key = next(key for key, _ in pairs if key in seen or seen.add(key))
    repeated.append(marked)
    return marked


def _path_of(data, wanted):
    """Find the dotted path of an object, with its last dot; empty at the top."""
    stack = [("", data)]
    while stack:
        path, value = stack.pop()
        if value is wanted:
            return path and f"{path}."
        if isinstance(value, dict):
            stack += [(f"{path}.{key}" if path else key, inner) for key, inner in value.items()]
        elif isinstance(value, list):
            stack += [(f"{path}[{at}]", inner) for at, inner in enumerate(value)]
    return ""


def _check_characters(data, where):
    """Refuse halves of surrogate pairs: no output could hold them."""
    stack = [data]
    seen = set()  # YAML aliases may make a value part of itself
    while stack:
        value = stack.pop()
        if isinstance(value, str):
            if not value.isascii() and re.search("[\ud800-\udfff]", value):
                raise EmuError(f"{where}: found {shown(value)}, expected text without halves of surrogate pairs")
        elif isinstance(value, dict | list) and id(value) not in seen:
            seen.add(id(value))
            stack += [*value, *value.values()] if isinstance(value, dict) else value


def _yaml_loader():
    """Make the loader of YAML that refuses repeated keys."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node, deep=False):
            seen = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode):
                    if key.value in seen:
                        problem = f"key {shown(key.value)} repeated"
                        raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                    seen.add(key.value)
            return super().construct_mapping(node, deep)

    return Loader
