"""What the schemas of all description files share: a section of a file, its plain types, and how it is made."""

from typing import Annotated

import msgspec
from msgspec import Meta

from plena_emu.errors import EmuError
from plena_emu.inputs.schema import convert

MAX = 2**63 - 1
Text = Annotated[str, Meta(min_length=1)]
Positive = Annotated[int, Meta(ge=1, le=MAX)]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A mapping of the file: every key known, every key without a default present."""


def made_of(data, kind, what):
    """Make a `kind` of parsed YAML; unknown keys are refused at every depth.

    Returns
    -------
    kind

    Raises
    ------
    EmuError
        The file `what` holds nothing, or something else.
    """
    if data is None:
        raise EmuError(f"{what}: found nothing, expected a table of keys")
    return convert(data, kind, what, known_only=True)
