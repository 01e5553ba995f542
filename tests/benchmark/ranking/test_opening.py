"""What identifies a source of a ranking."""

from omegaconf import OmegaConf

from benchmark.ranking.opening import Opener
from tests.checkpoints import small_network, write_weights


def test_the_name_that_a_file_gets_in_a_pool_does_not_count(tmp_path):
    opener = Opener(store=None, cache=tmp_path)
    path = write_weights(small_network("UNet"), tmp_path / "unet.pt")
    node = {"_target_": "benchmark.sources.readers.state_dict.StateDictSource", "path": str(path)}
    keys = {opener.key(OmegaConf.create(node | {"name": name})) for name in ("unet", "site_a/unet")}
    assert len(keys) == 1
    other = opener.key(OmegaConf.create(node | {"name": "unet", "settings": {"act": "prelu"}}))
    assert other not in keys
