"""`plena-emu report` and `plot`: one self-contained page, figures in every format, looked at by a browser."""

import hashlib
import html
import html.parser
import json
import pathlib
import re
import shutil
import subprocess
import xml.etree.ElementTree

import pytest
from oracle import goldens

from plena_emu.api import run
from plena_emu.cli.main import main
from plena_emu.cli.report import curve_of
from plena_emu.report.figures import DARK, LIGHT
from plena_emu.report.quantities import milliseconds
from plena_emu.result.reading import read_run

pytest.importorskip("matplotlib")

WEIGHT, TOTAL = 9216, 13824  # bytes of the program's tensors: W, and X before it


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """A small program with regions: with a timeline on board DDR, and plain on HBM."""
    folder = tmp_path_factory.mktemp("records")
    build = goldens.unpack(goldens.find("base_aten_linear"), folder).directory
    (build / "weight_manifest.json").write_text(json.dumps({"activation_ceiling": 0, "regions": [
        {"layer_id": 0, "offset": 0, "size": TOTAL - WEIGHT, "kind": "activation"},
        {"layer_id": 0, "offset": TOTAL - WEIGHT, "size": WEIGHT, "kind": "weight"}]}))
    timed = run(str(build), timing_only=True, memory_model="auto", timeline=str(folder / "t.json"), board="custom_a7",
                hashes=True)
    plain = run(str(build), timing_only=True)
    timed.warnings.append("a <b>warning</b> & more")
    for name, result in (("timed", timed), ("plain", plain)):
        (folder / f"{name}.json").write_text(result.to_json())
    return folder, timed, plain


class Page(html.parser.HTMLParser):
    """Checks that tags are closed in order; collects what a page would fetch, and its text."""

    VOID = ("meta", "link", "img", "source", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.urls, self.texts, self.tags = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        self.urls += [value for name, value in attrs if name in ("src", "srcset", "href", "data", "action")]

    def handle_endtag(self, tag):
        if tag in ("tr", "td", "th") and self.open[-1] != tag:
            pytest.fail(f"{tag} closed inside {self.open}")
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def page(records):
    folder, _, _ = records
    path = folder / "r.html"
    assert main(["report", str(folder / "timed.json"), str(folder / "plain.json"), "-o", str(path),
                 "--capacity-curve"]) == 0
    return path


def test_page_is_self_contained(page, records):
    text = page.read_text()
    found = Page(text)
    assert found.urls and all(url.startswith("data:") for url in found.urls)
    assert "script" not in found.tags and "@import" not in text and not re.search(r"url\((?!data:)", text)
    shown = " ".join(found.texts)
    _, timed, plain = records
    for result in (timed, plain):
        assert milliseconds(result.latency_ps) in shown and milliseconds(result.compute_ps) in shown
    assert "a <b>warning</b> & more" in shown and "custom_a7" in shown
    assert re.search(r"[0-9a-f]{64}", shown) and plain.program.path in shown
    for row in timed.stages.by("operator"):
        assert f"{row.figures.time_ps / 1e6:,.1f} µs" in shown


def test_pictures_are_drawings(page):
    import base64

    drawings = re.findall(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", page.read_text())
    assert len(drawings) == 4 * 3 + 4 * 2  # two themes and sizes; the plain run has no bandwidth over time
    for drawing in drawings:
        assert base64.b64decode(drawing).lstrip().startswith(b"<?xml") and b"http-equiv" not in drawing.encode()


def test_same_bytes(page, tmp_path, records):
    folder, _, _ = records
    other = tmp_path / "again.html"
    assert main(["report", str(folder / "timed.json"), str(folder / "plain.json"), "-o", str(other),
                 "--capacity-curve"]) == 0
    assert other.read_bytes() == page.read_bytes()


@pytest.mark.parametrize("kind", ["stages", "roofline", "capacity", "timeline"])
@pytest.mark.parametrize("end, magic", [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_plots(records, kind, end, magic, tmp_path):
    path = tmp_path / f"f.{end}"
    assert main(["plot", str(records[0] / "timed.json"), "--kind", kind, "-o", str(path), "--dark"]) == 0
    assert path.read_bytes().startswith(magic)


STRANGE = ("$x^{$", "a\x01b\n<c>&", "ffn.gate_up_and_much_more_than_a_picture_has_room_for")


@pytest.mark.parametrize("name", STRANGE)
@pytest.mark.parametrize("kind", ["stages", "roofline"])
def test_names_from_outside_are_text(records, name, kind, tmp_path):
    """Neither mathematics nor control characters, and no longer than a picture has room for; tables have all of it."""
    record = json.loads((records[0] / "timed.json").read_text())
    for row in record["stages"]["stages"]:
        row["key"][1] = name if row["key"][1] == "linear" else row["key"][1]
    path = tmp_path / "$x^{$.json"
    path.write_text(json.dumps(record))
    assert main(["plot", str(path), "--kind", kind, "-o", str(tmp_path / "f.svg")]) == 0
    shown = " ".join(xml.etree.ElementTree.parse(tmp_path / "f.svg").getroot().itertext())
    expected = {STRANGE[0]: STRANGE[0], STRANGE[1]: "a\ufffdb\ufffd<c>&", STRANGE[2]: STRANGE[2][:27] + "…"}[name]
    assert expected in shown
    if kind == "stages":
        assert main(["report", str(path), "-o", str(tmp_path / "r.html")]) == 0
        assert html.escape(name) in (tmp_path / "r.html").read_text()


def test_hashes_are_those_of_the_run(tmp_path, capsys):
    """The record holds what was read; the page says where a file is another one by now, or gone."""
    build = goldens.unpack(goldens.find("base_aten_linear"), tmp_path).directory
    assert main(["run", str(build), "--no-dumps", "--quiet", "--json", str(tmp_path / "r.json")]) == 0
    record = json.loads((tmp_path / "r.json").read_text())
    found, sources = record["sources"]["sha256"], record["sources"]
    paths = {"program": record["program"]["path"]} | {
        name: sources[name] for name in ("settings", "hbm", "fpsram", "intsram") if sources[name]}
    assert found == {name: hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest() for name, path in paths.items()}
    assert main(["run", str(build), "--timing-only", "--quiet", "--json", str(tmp_path / "t.json")]) == 0
    assert not {"hbm", "fpsram"} & set(json.loads((tmp_path / "t.json").read_text())["sources"]["sha256"])
    assert run(str(build), timing_only=True).sources.sha256 == {}

    def shown():
        assert main(["report", str(tmp_path / "r.json"), "-o", str(tmp_path / "r.html")]) == 0
        return " ".join(Page((tmp_path / "r.html").read_text()).texts)

    assert "since the run" not in shown() and found["hbm"] in shown()
    (build / "hbm_for_behave_sim.bin").write_bytes(b"other")
    (build / "fp_sram.bin").unlink()
    assert f"{found['hbm']}; changed since the run" in shown() and f"{found['fpsram']}; not there any more" in shown()
    (build / "weight_manifest.json").write_text(json.dumps({"activation_ceiling": 0, "regions": [
        {"layer_id": 0, "offset": 0, "size": TOTAL, "kind": "weight"}]}))
    record["sources"]["weight_manifest"] = str(build / "weight_manifest.json")
    (tmp_path / "r.json").write_text(json.dumps(record))
    assert main(["report", str(tmp_path / "r.json"), "-o", str(tmp_path / "r.html"), "--capacity-curve"]) == 0
    assert "Changed since the run: hbm, fpsram. The curve is that of the files as they are now." in " ".join(
        Page((tmp_path / "r.html").read_text()).texts)
    assert main(["plot", str(tmp_path / "r.json"), "--kind", "capacity", "-o", str(tmp_path / "c.svg")]) == 0
    assert "changed since the run: hbm, fpsram; the curve is that of the files as they are now" in (
        capsys.readouterr().err)
    (build / "weight_manifest.json").unlink()
    for words in (["plot", "--kind", "capacity", "-o", "c.svg"], ["report", "--capacity-curve", "-o", "c.html"]):
        assert main([words[0], str(tmp_path / "t.json"), *words[1:-1], str(tmp_path / words[-1])]) == 101
        error = capsys.readouterr().err
        assert "expected a record of plena-emu run --weight-manifest" in error and error.count("\n") == 1
    flags = ["--timing-only", "--dram", "ddr4", "--quiet", "--json", str(tmp_path / "d.json")]
    assert main(["run", str(build), *flags]) == 0
    capsys.readouterr()
    assert main(["report", str(tmp_path / "d.json"), "-o", str(tmp_path / "d.html")]) == 0
    assert "since the run" not in (tmp_path / "d.html").read_text()
    assert main(["diff", str(tmp_path / "t.json"), str(tmp_path / "d.json")]) == 0
    assert "sources.sha256.dram" in capsys.readouterr().out


def test_what_a_record_lacks(records, tmp_path, capsys):
    folder, _, plain = records
    assert main(["plot", str(folder / "plain.json"), "--kind", "timeline", "-o", str(tmp_path / "f.svg")]) == 101
    assert "needs a record of plena-emu run --timeline" in capsys.readouterr().err
    plain = plain.stages
    bare = json.loads((folder / "plain.json").read_text())
    bare["stages"] = None
    (tmp_path / "bare.json").write_text(json.dumps(bare))
    assert main(["report", str(tmp_path / "bare.json"), "-o", str(tmp_path / "r.html")]) == 101
    assert "has no stages" in capsys.readouterr().err and not (tmp_path / "r.html").exists()
    assert main(["plot", str(folder / "plain.json"), "--kind", "stages", "-o", str(tmp_path / "f.gif")]) == 2
    assert ".svg, .png, .pdf" in capsys.readouterr().err


BROWSERS = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
BROWSER = next((path for path in BROWSERS if path), None)


PROBE = """<!DOCTYPE html><meta charset="utf-8"><body style="margin:0"><script>
const frame = document.createElement('iframe');
frame.style = 'border:0;width:WIDTHpx;height:900px';
frame.srcdoc = PAGE;
frame.onload = () => {
  const page = frame.contentDocument, view = frame.contentWindow;
  const fetched = view.performance.getEntriesByType('resource').map(entry => entry.name);
  document.title = JSON.stringify([page.documentElement.scrollWidth, view.innerWidth,
    [...page.images].map(image => [image.complete, image.naturalWidth, atob(image.currentSrc.split(',')[1])]),
    fetched.filter(name => !name.startsWith('data:')), view.getComputedStyle(page.body).backgroundColor]);
};
document.body.append(frame);
</script>"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed: the page is not looked at by a browser")
@pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_a_browser_shows_it(page, tmp_path, width, is_dark):
    """No console messages, nothing fetched, nothing wider than the window, every picture drawn in the theme's colours.

    The page lies in a frame of the width: a window of Chromium is never narrower than 500.
    """
    probe = tmp_path / "probe.html"
    text = json.dumps(page.read_text()).replace("</", "<\\/")
    probe.write_text(PROBE.replace("WIDTH", str(width)).replace("PAGE", text))
    done = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom",
         f"--blink-settings=preferredColorScheme={0 if is_dark else 1}", f"--user-data-dir={tmp_path / 'profile'}",
         f"--window-size={width + 100},900", probe.as_uri()],
        capture_output=True, text=True, timeout=120)
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)
    assert title, done.stderr[-500:]
    scroll, inner, images, fetched, ground = json.loads(html.unescape(title[1]))
    assert scroll <= inner == width and fetched == []
    colour = DARK.ground if is_dark else LIGHT.ground
    assert ground == "rgb({}, {}, {})".format(*bytes.fromhex(colour[1:]))
    assert len(images) == 5
    for is_complete, size, drawing in images:
        assert is_complete and size > 0 and f"fill: {colour}" in drawing
    assert "CONSOLE" not in done.stderr


CURVES = {
    "reference": ["--memory-model", "auto"],
    "a board": ["--board", "custom_a7"],
    "laid over": ["--board", "custom_a7", "--clock-mhz", "50", "--dram", "ddr3_1600_x16", "--ddr-speed", "2",
                  "--host-bandwidth", "100M"],
    "no link": ["--board", "v80", "--host-bandwidth", "1G"],
    "board, reference's time": ["--board", "custom_a7", "--reference-timing"],
    "production DMA": ["--memory-model", "auto", "--dma", "production"],
    "timeline": ["--board", "custom_a7", "--timing", "rtl-v1"],
}


@pytest.mark.parametrize("flags", CURVES.values(), ids=CURVES)
def test_points_of_a_capacity_curve_are_runs(records, flags, tmp_path):
    """The run of the record lies on its curve; each regime changes at its edge, and the link is the record's."""
    build = records[0] / "base_aten_linear"
    assert main(["run", str(build), "--timing-only", "--quiet", "--json", str(tmp_path / "r.json"), *flags]) == 0
    result = read_run(str(tmp_path / "r.json"))
    curve = curve_of(result)
    assert (curve.weight_bytes, curve.total_bytes) == (WEIGHT, TOTAL)
    for point in curve.points:
        expected = "weight-stream" if point.capacity_bytes < WEIGHT else "kv-swap"
        assert point.regime == ("resident" if point.capacity_bytes >= TOTAL else expected)
    resident = {point.latency_ps for point in curve.points if point.regime == "resident"}
    assert result.regime == "resident" and resident == {result.latency_ps}
    small = ["--ddr-capacity", str(WEIGHT - 1), "--timing-only", "--quiet", "--json", str(tmp_path / "s.json")]
    assert main(["run", str(build), *flags, *small]) == 0
    streamed = next(point.latency_ps for point in curve.points if point.capacity_bytes == WEIGHT - 1)
    assert read_run(str(tmp_path / "s.json")).latency_ps == streamed > result.latency_ps
    out = tmp_path / "c.svg"
    assert main(["plot", str(tmp_path / "r.json"), "--kind", "capacity", "-o", str(out)]) == 0
    assert b"weight-stream" in out.read_bytes()
    assert (b"this run" in out.read_bytes()) == bool(result.limits and result.limits.ddr_capacity_bytes)
