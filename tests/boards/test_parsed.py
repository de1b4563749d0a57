"""Are the YAML files that ship kept as what parsing them gives, and is any other text parsed?"""

import pathlib

import pytest

from plena_emu.boards import loader, parsed
from plena_emu.inputs.documents import parse_yaml

SHIPPED = sorted(pathlib.Path(parsed.__file__).parent.rglob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_values_are_those_of_the_text(path):
    text = path.read_text(encoding="utf-8")
    kept = parsed.known_values(text)
    assert kept is not None, "run tools/parse_descriptions.py"
    wanted = parse_yaml(text, path.name)
    assert kept == wanted and repr(kept) == repr(wanted)


def test_nothing_else_is_kept():
    texts = {parsed.key_of(path.read_text(encoding="utf-8")) for path in SHIPPED}
    assert set(parsed._kept()) == texts


def test_a_changed_file_is_parsed(tmp_path):
    text = (SHIPPED[0].parent / "dram" / "hbm2.yaml").read_text(encoding="utf-8")
    changed = tmp_path / "hbm2.yaml"
    changed.write_text(text.replace("period_ps: 1000", "period_ps: 1001"), encoding="utf-8")
    assert parsed.known_values(changed.read_text(encoding="utf-8")) is None
    assert loader._read_yaml(changed, "DRAM description")["period_ps"] == 1001


@pytest.mark.parametrize("damage", [None, b"", b"{", b"0123 []\n"])
def test_a_damaged_file_is_none(tmp_path, monkeypatch, damage):
    kept = tmp_path / "parsed.txt"
    if damage is not None:
        kept.write_bytes(damage)
    monkeypatch.setattr(parsed, "PARSED", kept)
    parsed._kept.cache_clear()
    try:
        assert parsed.known_values(SHIPPED[0].read_text(encoding="utf-8")) is None
        assert loader.load_board("custom_a7").name == "custom_a7"
    finally:
        parsed._kept.cache_clear()
