"""What identifies a source of a ranking."""

from omegaconf import OmegaConf

from benchmark.sources.opening import source_identity
from tests.checkpoints import small_network, write_weights


def test_the_name_that_a_file_gets_in_a_pool_does_not_count(tmp_path):
    path = write_weights(small_network("UNet"), tmp_path / "unet.pt")
    node = {"_target_": "benchmark.sources.readers.state_dict.StateDictSource", "path": str(path)}
    keys = {source_identity(OmegaConf.create(node | {"name": name})) for name in ("unet", "site_a/unet")}
    assert len(keys) == 1
    assert source_identity(OmegaConf.create(node | {"name": "unet", "settings": {"act": "prelu"}})) not in keys
