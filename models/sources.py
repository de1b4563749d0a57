"""Finds a model and its weights: a directory in Hugging Face's formats, a config file or a bundled name (spec §9.1)."""

import os

import msgspec

from plena_emu.errors import EmuError

from .config_files import read_config
from .configs import ModelDescription, TextConfig, VisionConfig
from .descriptions import load_description
from .options import CompileOptions
from .weights import RANDOM, Weights, has_weights, open_weights

DEFAULT_SEED = 0


def find_model(model: str | os.PathLike) -> ModelDescription:
    """Find a model.

    Parameters
    ----------
    model : str or path
        A directory with `config.json`, such a file, or the name of a bundled description.

    Returns
    -------
    ModelDescription

    Raises
    ------
    EmuError
        There is no such model, or its config is not supported.
    """
    name = os.fspath(model)
    if os.path.exists(name):
        return read_config(name)
    return load_description(name)


def open_model(model: str | os.PathLike, options: CompileOptions) -> tuple[TextConfig | VisionConfig, Weights]:
    """Open the wanted part of a model with as many layers as wanted.

    Parameters
    ----------
    model : str or path
        As for `find_model`.
    options : CompileOptions
        `part`, `layers` and `weights`: without the latter the directory's own, else `random:0`.

    Returns
    -------
    tuple of config and Weights

    Raises
    ------
    EmuError
        As `find_model` and `open_weights`; also more layers than the model has.
    """
    config = find_model(model).part(options.part)
    options.check_part("text" if isinstance(config, TextConfig) else "vision")
    if options.layers is not None:
        if options.layers > config.layers:
            raise EmuError(f"model {config.name}: has {config.layers} layers, --layers asks for {options.layers}")
        config = msgspec.structs.replace(config, layers=options.layers)
    source = options.weights
    if source is None:
        own = os.path.isdir(model) and has_weights(model)
        source = os.fspath(model) if own else f"{RANDOM}{DEFAULT_SEED}"
    return config, open_weights(source, config)
