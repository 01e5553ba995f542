"""The planner that the tests of this folder share."""

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from benchmark.jobs.cli import CONF, prepare_config
from benchmark.orchestration.planner import Planner


@pytest.fixture(scope="module")
def planner(prepared):
    """Plans a suite, by default the synthetic one, with settings of its own."""

    def make(*overrides, suite="synthetic"):
        places = [f"data_dir={prepared}", f"experiment={suite}", *overrides]
        stages = dict.fromkeys(("pretrain", "truth", "score"), places)
        return Planner(compose("bench", places).suite, stages | {"prepare": [f"data_dir={prepared}", f"suite={suite}"]})

    prepare_config()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield make
