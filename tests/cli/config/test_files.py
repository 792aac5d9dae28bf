"""Find configs by name from any folder, local files first."""

from pathlib import Path

import pytest

from braindino.cli.config.files import config_files, find_config, resolve_configs, shipped_configs, source_of
from braindino.errors import BraindinoError


def test_find_config_prefers_local_over_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config("pretrain.yaml") == shipped_configs()["pretrain.yaml"]
    assert find_config("pretrain") == shipped_configs()["pretrain.yaml"]
    Path("pretrain.yaml").write_text("a: 1")
    assert find_config("pretrain.yaml") == Path("pretrain.yaml")


def test_find_config_names_similar_configs(tmp_path: Path) -> None:
    with pytest.raises(BraindinoError, match=r"Did you mean pretrain\.yaml"):
        find_config("pretrian.yaml")
    with pytest.raises(BraindinoError, match="is a folder"):
        find_config(str(tmp_path))


def test_resolve_configs_accepts_every_form_of_the_option(tmp_path: Path) -> None:
    local = tmp_path / "my own.yaml"
    local.write_text("a: 1")
    given = ["--config", "pretrain.yaml", f"--config={local}", "--x", "1", "-c", str(local)]
    resolved = resolve_configs(given)
    assert config_files(resolved) == [shipped_configs()["pretrain.yaml"], local, local]
    assert resolved[-4:-2] == ["--x", "1"]
    with pytest.raises(BraindinoError, match="missing"):
        resolve_configs(["--config"])


def test_source_of_returns_last_config_with_the_key(tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("model: {init_args: {lr: 1}}\ntrainer: {devices: 1}\n")
    two.write_text("trainer: {devices: x}\n")
    arguments = ["--config", str(one), "--config", str(two), "--seed_everything=3"]
    assert source_of("trainer.devices", arguments) == two
    assert source_of("model.lr", arguments) == source_of("model.init_args.lr", arguments) == one
    assert source_of("seed_everything", arguments) is None
    assert source_of("data.root", arguments) is None
