"""Test the short forms of arguments."""

from braindino.cli.config.arguments import expand_shorthands


def test_expand_shorthands_writes_those_of_a_probe_in_full() -> None:
    given = ["--config", "seg.yaml", "--cache-gb", "5", "--cache-gb=7", "--baselines", "unet"]
    full = ["--config", "seg.yaml", "--probe.cache_gb", "5", "--probe.cache_gb=7"]
    full += ["--probe.baselines", "unet"]
    assert expand_shorthands("probe", given) == full
    assert expand_shorthands("fit", given) == given
