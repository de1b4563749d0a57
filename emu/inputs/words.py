"""How messages show values: short, on one line, the same whatever file they come from."""

_LONGEST = 40  # characters of a value that are shown
_WIDEST = 256  # bits of an integer that is shown in digits
_KINDS = {"datetime": "a date and time", "bytes": "bytes", "ndarray": "an array"}  # types whose names are no words


def shown(value: object) -> str:
    """Show a value of a document, short and on one line: `'mx'`, `16.0`, `true`, `a table`.

    Returns
    -------
    str
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    if isinstance(value, int) and value.bit_length() > _WIDEST:
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, str):
        return repr(cut(value))
    if isinstance(value, int | float):
        return cut(str(value))
    return _KINDS.get(type(value).__name__) or f"a {type(value).__name__}"


def cut(text: str) -> str:
    """Shorten text that would make a message unreadable; three dots say that something is missing.

    Returns
    -------
    str
    """
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def one_of(values) -> str:
    """Say which values there are to choose from.

    Returns
    -------
    str
    """
    return ("one of " if len(values) > 1 else "") + ", ".join(str(value) for value in values)


# Fields whose flag has another name.
_FLAGS = {"event_table": "--event-trace"}  # which takes either of two forms by the end of the file's name


def flag_of(field: str) -> str:
    """Name the flag of a command line that sets a field of `RunRequest`: `ddr_speed` is `--ddr-speed`.

    Returns
    -------
    str
    """
    return _FLAGS.get(field) or f"--{field.removesuffix('_path').replace('_', '-')}"
