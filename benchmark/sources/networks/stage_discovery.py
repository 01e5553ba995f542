"""The stages of a model's network, discovered by code that is imported only when a metric reads stages.

The key of a job has the code of the modules that it imports, so that jobs without such metrics do not depend on how
stages are discovered. The keys of the other jobs name that module; see `benchmark.jobs.stage_keys.stages_code`.
"""

from importlib import import_module

from benchmark.sources.model import Model
from benchmark.sources.networks.network_stages import NetworkStages


def stages_of_model(model: Model) -> NetworkStages:
    """The stages of a model's network; see `benchmark.sources.networks.stages`."""
    stages = import_module("benchmark.sources.networks.stages")
    discovered: NetworkStages = stages.stages_of(model.arch, channels=model.channels, classes=model.classes)
    return discovered
