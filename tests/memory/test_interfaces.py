"""Do the classes of memory timing offer what their two written interfaces ask for, with the same signatures?"""

import inspect

import numpy as np
import pytest

from plena_emu.kernels import layout
from plena_emu.manifests.schema import Manifest
from plena_emu.memory.engines import DramEngine
from plena_emu.memory.interfaces import Follower, FollowingEngine, MemoryEngine, MemoryModel
from plena_emu.memory.models import RegimeModel, open_model
from plena_emu.memory.simple_engine import SimpleEngine
from plena_emu.memory.simple_foresight import SimpleForesight


def opened(regime, dram=None):
    descriptors = np.zeros((1, layout.DESC_WIDTH), dtype=np.int64)
    return open_model(regime, Manifest(activation_ceiling=0), descriptors, capacity=None, bandwidth=None, dram=dram)


@pytest.mark.parametrize("regime, dram, engine", [
    ("resident", None, SimpleEngine), ("resident", "ddr4", DramEngine), ("hbm", None, DramEngine),
])
def test_instances_satisfy_the_interfaces(regime, dram, engine):
    model = opened(regime, dram)
    assert isinstance(model, MemoryModel) and isinstance(model, RegimeModel)
    assert isinstance(model.engine, MemoryEngine) and isinstance(model.engine, engine)
    assert (model.engine.dram is None) == (engine is SimpleEngine)


@pytest.mark.parametrize("kind, interface", [
    (SimpleEngine, MemoryEngine), (DramEngine, MemoryEngine), (RegimeModel, MemoryModel),
    (SimpleEngine, FollowingEngine), (SimpleForesight, Follower),
])
def test_methods_have_the_signatures_of_the_interface(kind, interface):
    methods = {name: value for name, value in vars(interface).items()
               if inspect.isfunction(value) and not name.startswith("_")}
    assert methods
    for name, asked in methods.items():
        offered = inspect.signature(getattr(kind, name))
        assert list(offered.parameters) == list(inspect.signature(asked).parameters), name


def test_what_lacks_a_method_is_none():
    class Half:
        kernels, dram, last_event_ps, statistics, memo = "x", None, 0, None, None

    assert not isinstance(Half(), MemoryEngine) and not isinstance(Half(), MemoryModel)
