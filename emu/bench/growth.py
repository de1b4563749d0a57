"""How the time of whole models grows with layers and with tokens: timing-only runs of builds without weights.

The control pass works through instructions, the timing pass through accesses. So control's time per instruction and
timing's time per access should stay what they are: `Growth.rise` and `Growth.fall` say how far they do not.
"""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator

from ..config.build_dir import fields_of
from ..errors import EmuError
from ..kernels.limits import ACCESS_BYTES
from ..request import RunRequest
from .record import Growth, GrowthPoint, timing

LAYERS = (1, 2, 4, 8, 16, 32)
TOKENS = (64, 128, 256, 512, 1024, 2048)
FEWEST_TOKENS = TOKENS[0]
NO_REGIONS = '{"activation_ceiling": 0, "regions": []}'  # every model but hbm needs a manifest (§3.6)


def series_of(layers: int) -> dict[str, list[tuple[int, int]]]:
    """List the (layers, tokens) of both series for a model of so many layers: it ends with all of them.

    Returns
    -------
    dict
        Points by what grows.
    """
    counts = [count for count in LAYERS if count < layers] + [layers]
    return {"layers": [(count, FEWEST_TOKENS) for count in counts], "tokens": [(1, count) for count in TOKENS]}


@contextlib.contextmanager
def _built(compile_model, model, preset, points) -> Iterator[dict[tuple[int, int], str]]:
    """Build a model at every point, in a scratch directory; directories by point."""
    with tempfile.TemporaryDirectory(prefix="plena-bench-", ignore_cleanup_errors=True) as scratch:
        found: dict[tuple[int, int], str] = {}
        for layers, tokens in points:
            found[layers, tokens] = os.path.join(scratch, f"{layers}-{tokens}")
            compile_model(model, found[layers, tokens], preset=preset, layers=layers, prefill=tokens, weights="none",
                          logits="none")
            with open(os.path.join(found[layers, tokens], "weight_manifest.json"), "w", encoding="ascii") as file:
                file.write(NO_REGIONS)
        yield found


def measure_growth(
    model: str, preset: str, layers: int, memory_models: list[str], runs: int, compile_model: Callable,
    progress: Callable[[str], None] = lambda text: None,
) -> list[Growth]:
    """Measure both series of a model on each memory model.

    Parameters
    ----------
    layers : int
        That the model has.
    runs : int
        Repetitions that count; all points take turns.
    compile_model : callable
        `plena_emu.models.compile`.

    Returns
    -------
    list of Growth

    Raises
    ------
    EmuError
        The model cannot be built, or a run failed.
    """
    series = series_of(layers)
    points = list(dict.fromkeys(point for some in series.values() for point in some))
    progress(f"{model}: {len(points)} builds")
    with _built(compile_model, model, preset, points) as directories:
        found: dict[tuple, GrowthPoint] = {}
        for memory_model in memory_models:
            progress(f"{model} {memory_model}: growth")
            found |= {(memory_model, *point): made
                      for point, made in _points(directories, memory_model, runs).items()}
    return [Growth(model=model, preset=preset, memory_model=memory_model, grows=grows,
                   points=[found[memory_model, *point] for point in some])
            for memory_model in memory_models for grows, some in series.items()]


def _points(directories, memory_model, runs):
    """`GrowthPoint` of every build on a memory model, all builds in turns."""
    samples: dict = {point: {"simulate": [], "control": [], "timing": []} for point in directories}
    results = {}
    for repetition in range(runs + 1):
        for point, directory in directories.items():
            results[point], seconds = _run(directory, memory_model)
            if repetition:
                for phase, found in samples[point].items():
                    found.append(seconds[phase])
    return {(layers, tokens): GrowthPoint(
        layers=layers, tokens=tokens, instructions=result.instructions,
        accesses=(result.bytes_read + result.bytes_written) // ACCESS_BYTES,
        **{phase: timing(found) for phase, found in samples[layers, tokens].items()})
        for (layers, tokens), result in results.items()}


def _run(directory, memory_model):
    """Run a build once: (result, seconds of the simulate phase and of its passes)."""
    from ..logs import Log
    from ..precompile import kernels_of, make_ready

    # On one thread, since on two timing runs beside control.
    request = RunRequest(**fields_of(directory, {"timing_only": True, "memory_model": memory_model, "stages": False,
                                                 "threads": 1, "dump_dir": None}))
    make_ready(kernels_of(request))
    from ..running.runner import execute

    seconds: dict[str, float] = {}
    result = execute(request, Log("off"), look=lambda simulation: seconds.update(simulation.pass_s))
    if not result.instructions or not result.bytes_read:
        raise EmuError(f"build {directory}: executes nothing, or reads nothing")
    return result, seconds | {"simulate": result.wall.simulate_s}
