"""Where the settings of a run come from (spec §5.3). Light: command lines ask before anything heavy is imported."""

import os
from collections.abc import Mapping

VARIABLE = "PLENA_SETTINGS_TOML"
NEAR_FILE = os.path.join("..", "plena_settings.toml")


def find_settings_file(
    flag: str | None, environ: Mapping[str, str], cwd: str | os.PathLike = ".", origin: str = "--settings"
) -> tuple[str, str] | None:
    """Find the settings file by the search order of §5.3: `flag` (which `origin` names), `$PLENA_SETTINGS_TOML`,
    `../plena_settings.toml` seen from `cwd`.

    An empty variable counts as unset. A file that is named need not exist.

    Returns
    -------
    (str, str) or None
        The path and what named it; None where the built-in defaults count.
    """
    if flag is not None:
        return flag, origin
    if environ.get(VARIABLE):
        return environ[VARIABLE], f"${VARIABLE}"
    near = os.path.join(cwd, NEAR_FILE)
    return (os.path.normpath(near), NEAR_FILE) if os.path.lexists(near) else None
