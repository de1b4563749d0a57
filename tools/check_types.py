"""Runs mypy over the package; arguments go to mypy.

mypy looks for `plena_emu` as one folder, the repository has it in several: links in a scratch folder join them.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BESIDE = ("kernels", "boards", "manifests", "models")  # packages whose folders lie beside `emu`


def join(folder: Path) -> None:
    """Link every part of the package into `folder`/plena_emu."""
    package = folder / "plena_emu"
    package.mkdir()
    for path in (ROOT / "emu").iterdir():
        (package / path.name).symlink_to(path)
    for name in BESIDE:
        if (ROOT / name).is_dir():
            (package / name).symlink_to(ROOT / name)


def main(arguments: list[str]) -> int:
    """Run mypy; its exit status."""
    with tempfile.TemporaryDirectory() as folder:
        join(Path(folder))
        command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"),
                   "--cache-dir", str(ROOT / ".cache" / "mypy"), "-p", "plena_emu", *arguments]
        return subprocess.run(command, cwd=folder, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
