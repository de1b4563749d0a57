"""Does the package as it is installed have everything it needs?"""

from pathlib import Path

import fresh_environment
import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_the_package_is_the_installed_one(environment, tmp_path):
    ran = fresh_environment.run(environment, "python -c 'import plena_emu; print(plena_emu.__file__)'", tmp_path)
    assert Path(ran.stdout.strip()).is_relative_to(environment), ran.stderr


def test_no_module_of_the_checkout_is_left_out(environment):
    """A folder that pyproject.toml forgets is missed only by the command that needs it."""
    site = next(environment.glob("lib/python*/site-packages/plena_emu"))
    for top, folder in {"": "emu", **{name: name for name in ("kernels", "boards", "manifests", "models")}}.items():
        for source in (ROOT / folder).rglob("*.py"):
            assert (site / top / source.relative_to(ROOT / folder)).is_file(), source


@pytest.mark.parametrize("words, said", [
    ("boards", "custom_a7"), ("boards nexys_video", "nexys_video"), ("dram --list", "ddr4"),
    ("compile --list", "m64b16"), ("--version", "plena-emu"),
])
def test_files_the_package_brings(environment, tmp_path, words, said):
    ran = fresh_environment.run(environment, f"plena-emu {words}", tmp_path)
    assert ran.returncode == 0 and said in ran.stdout, ran.stderr
