"""An environment with the package as it is installed: exactly the files that pyproject.toml lists, and its commands."""

import os
import shutil
import subprocess
import sysconfig
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = """#!{python}
import sys
from {module} import {function}
sys.exit({function}())
"""


def make(place: Path) -> Path:
    """Make a virtual environment at `place`; what the package depends on is that of the running interpreter."""
    venv.EnvBuilder(symlinks=True).create(place)
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(place), "platbase": str(place)}))
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for source, target in _installed_files(tables["tool"]["setuptools"]):
        (site / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, site / target)
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    for name, entry in tables["project"]["scripts"].items():
        module, function = entry.split(":")
        script = place / "bin" / name
        script.write_text(SCRIPT.format(python=place / "bin" / "python", module=module, function=function))
        script.chmod(0o755)
    return place


def _installed_files(tool):
    """Yield (file, place of it below the directory of packages), as setuptools reads its tables."""
    folders, data = tool["package-dir"], tool["package-data"]
    assert set(folders) == set(tool["packages"]) and set(data) <= set(folders)
    for package, folder in folders.items():
        for pattern in ["*.py", *data.get(package, ())]:
            files = [path for path in (ROOT / folder).glob(pattern) if path.is_file()]
            assert files or pattern == "*.py", f"{package}: {pattern} names no file"
            for path in files:
                yield path, Path(*package.split("."), path.relative_to(ROOT / folder))


def run(environment: Path, command: str, folder: Path) -> subprocess.CompletedProcess:
    """Run a line of shell in `folder`, with the environment's commands first on the path."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PLENA_ISA", "RUST_LOG"))}
    kept |= {"PATH": f"{environment / 'bin'}:{os.environ['PATH']}", "COLUMNS": "150", "EDITOR": "true"}
    return subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], cwd=folder, env=kept, capture_output=True,
                          text=True, timeout=600)
