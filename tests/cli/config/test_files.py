"""Configs by bare name: from any folder, a local file first."""

from pathlib import Path

import pytest

from braindino.cli.config.files import config_files, find_config, resolve_configs, shipped_configs, source_of
from braindino.errors import BraindinoError


def test_shipped_from_any_folder_and_local_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config("pretrain.yaml") == shipped_configs()["pretrain.yaml"]
    assert find_config("pretrain") == shipped_configs()["pretrain.yaml"]
    Path("pretrain.yaml").write_text("a: 1")
    assert find_config("pretrain.yaml") == Path("pretrain.yaml")


def test_unknown_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(BraindinoError, match=r"Did you mean pretrain\.yaml"):
        find_config("pretrian.yaml")
    with pytest.raises(BraindinoError, match="is a folder"):
        find_config(str(tmp_path))


def test_every_way_to_write_the_option(tmp_path: Path) -> None:
    own = tmp_path / "my own.yaml"
    own.write_text("a: 1")
    given = ["--config", "pretrain.yaml", f"--config={own}", "--x", "1", "-c", str(own)]
    resolved = resolve_configs(given)
    assert config_files(resolved) == [shipped_configs()["pretrain.yaml"], own, own]
    assert resolved[-4:-2] == ["--x", "1"]
    with pytest.raises(BraindinoError, match="missing"):
        resolve_configs(["--config"])


def test_source_of_is_the_last_config_that_gives_the_key(tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("model: {init_args: {lr: 1}}\ntrainer: {devices: 1}\n")
    two.write_text("trainer: {devices: x}\n")
    arguments = ["--config", str(one), "--config", str(two), "--seed_everything=3"]
    assert source_of("trainer.devices", arguments) == two
    assert source_of("model.lr", arguments) == source_of("model.init_args.lr", arguments) == one
    assert source_of("seed_everything", arguments) is None
    assert source_of("data.root", arguments) is None
