"""Models described here by their shapes alone (spec §9.8): one YAML file each, in the fields of the config structs."""

import functools
from importlib import resources

from plena_emu.errors import EmuError
from plena_emu.inputs.documents import parse_yaml
from plena_emu.inputs.schema import convert

from ..configs import ModelDescription


@functools.cache
def bundled_names() -> tuple[str, ...]:
    """List the names of the bundled descriptions.

    Returns
    -------
    tuple of str
        In alphabetical order.
    """
    files = (entry.name for entry in resources.files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in files if name.endswith(".yaml")))


@functools.cache
def load_description(name: str) -> ModelDescription:
    """Load a bundled description (§9.8).

    Raises
    ------
    EmuError
        There is none of this name.
    """
    if name not in bundled_names():
        raise EmuError(f"model {name}: no such directory or config file, and no bundled description; bundled:"
                       f" {', '.join(bundled_names())}")
    where = f"model {name}"
    text = resources.files(__name__).joinpath(f"{name}.yaml").read_text()
    parts = convert(parse_yaml(text, where), dict[str, dict], where)
    named: dict[str, object] = {part: values | {"name": name} for part, values in parts.items()}
    return convert(named | {"name": name}, ModelDescription, where, known_only=True)
