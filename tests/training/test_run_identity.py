"""Comparison of a run folder with a config: settings, ids, and finished runs."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from braindino.errors import BraindinoError
from braindino.training.run_identity import (
    check_finished,
    differences,
    free_id,
    is_length,
    settings_of,
    training_differences,
    unused_id,
)

CONFIG: dict[str, Any] = {
    "seed_everything": 0,
    "run": {"id": None, "checkpoint_every": 5},
    "trainer": {"max_steps": 4, "devices": 1, "callbacks": None},
    "data": {"class_path": "Slices", "init_args": {"batch_size": 8, "num_workers": 2}},
    "model": {"class_path": "Model", "init_args": {"optimiser": {"lr": 0.1}, "views": {}}},
}


def changed(**values: Any) -> dict[str, Any]:
    """Return the settings with some replaced, by their last name."""
    return {key: values.get(key.rpartition(".")[2], value) for key, value in settings_of(CONFIG).items()}


def save(folder: Path, config: dict[str, Any] = CONFIG) -> None:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def test_settings_of_excludes_consent_and_processes_of_nested_data() -> None:
    inner = {"jobs": 4, "prepare": True, "strip_cmd": "x {in} {out}", "root": "r"}
    data = {"class_path": "V", "init_args": {"cases": {"class_path": "C", "init_args": inner}, "jobs": 2}}
    assert settings_of({"data": data, "model": {"jobs": 3}}) == {
        "data.class_path": "V",
        "data.init_args.cases.class_path": "C",
        "data.init_args.cases.init_args.root": "r",
        "model.jobs": 3,
    }
    evaluated = {"model": {"class_path": "M", "init_args": {"nsd_tolerance": 1.0, "width": 12}}}
    assert settings_of(evaluated) == {"model.class_path": "M", "model.init_args.width": 12}


def test_differences_none_between_the_names_of_a_renamed_module(tmp_path: Path) -> None:
    def config(path: str) -> dict[str, Any]:
        return {"model": {"class_path": path, "init_args": {"width": 12}}}

    save(tmp_path / "run", config("braindino.volumetric.SwinSSLModule"))
    renamed = settings_of(config("braindino.brainsegfounder.SwinSSLModule"))
    assert differences(tmp_path / "run", renamed) == []
    other = settings_of(config("braindino.brainsegfounder.SwinUNETRModule"))
    assert differences(tmp_path / "run", other) == [
        "model.class_path braindino.brainsegfounder.SwinUNETRModule "
        "(was braindino.brainsegfounder.SwinSSLModule)"
    ]


def test_settings_of_excludes_place_and_speed() -> None:
    assert settings_of(CONFIG) == {
        "seed_everything": 0,
        "trainer.max_steps": 4,
        "trainer.callbacks": None,
        "data.class_path": "Slices",
        "data.init_args.batch_size": 8,
        "model.class_path": "Model",
        "model.init_args.optimiser.lr": 0.1,
        "model.init_args.views": {},
    }


def test_differences_name_keys_and_values(tmp_path: Path) -> None:
    save(tmp_path / "a")
    assert differences(tmp_path / "a", settings_of(CONFIG)) == []
    assert differences(tmp_path / "a", changed(lr=0.2, max_steps=9)) == [
        "trainer.max_steps 9 (was 4)",
        "model.optimiser.lr 0.2 (was 0.1)",
    ]
    without = changed()
    del without["trainer.callbacks"], without["seed_everything"]  # a seed that is drawn at every start
    assert differences(tmp_path / "a", without) == ["trainer.callbacks unset (was None)"]
    assert is_length("trainer.max_steps 9 (was 4)")
    assert not is_length("model.optimiser.lr 0.2 (was 0.1)")


def test_training_differences_exclude_network_seed_and_fraction() -> None:
    def config(network: str, steps: int, lr: float, seed: int) -> dict[str, Any]:
        init = {"width": steps, "optimiser": {"lr": lr}, "seed": 0} | ({"depth": 1} if seed else {})
        return {
            "seed_everything": seed,
            "trainer": {"max_steps": steps, "devices": steps},
            "data": {"init_args": {"fraction": lr, "crop": 8 * steps, "num_workers": seed}},
            "model": {"class_path": network, "init_args": init},
        }

    assert training_differences(config("Swin", 4, 0.1, 0), config("UNet", 4, 0.1, 1)) == []
    assert training_differences(config("Swin", 4, 0.1, 0), config("UNet", 5, 0.2, 1)) == [
        "trainer.max_steps 4 and 5",
        "data.crop 32 and 40",
        "model.optimiser.lr 0.1 and 0.2",
    ]


@pytest.mark.parametrize("content", ["[]", "a: [", "\x00", ""])
def test_differences_of_a_folder_without_a_readable_config_are_unknown(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.yaml").write_text(content)
    assert differences(tmp_path, settings_of(CONFIG)) is None
    assert differences(tmp_path / "none", settings_of(CONFIG)) is None


def test_free_id_is_that_of_the_run_with_the_same_settings(tmp_path: Path) -> None:
    assert free_id(tmp_path, "slurm-77", changed()) == "slurm-77"
    save(tmp_path / "slurm-77")
    assert free_id(tmp_path, "slurm-77", changed()) == "slurm-77"
    assert free_id(tmp_path, "slurm-77", changed(lr=0.2)) == "slurm-77-2"
    save(tmp_path / "slurm-77-2", {**CONFIG, "seed_everything": 1})
    assert free_id(tmp_path, "slurm-77", changed(seed_everything=1)) == "slurm-77-2"
    assert free_id(tmp_path, "slurm-77", changed(lr=0.2)) == "slurm-77-3"


def test_unused_id_is_the_first_without_a_folder(tmp_path: Path) -> None:
    assert unused_id(tmp_path, "now") == "now"
    (tmp_path / "now").mkdir()
    (tmp_path / "now-2").mkdir()
    assert unused_id(tmp_path, "now") == "now-3"


def test_check_finished_names_steps_done_and_asked_for(tmp_path: Path) -> None:
    save(tmp_path / "a")
    assert check_finished(tmp_path / "a", changed(), 3, 4) is None
    assert check_finished(tmp_path / "a", changed(), 4, -1) is None
    line = check_finished(tmp_path / "a", changed(max_steps=2), 4, 2)
    assert line is not None
    assert "is finished (4 steps done, 2 requested)" in line
    assert "--trainer.max_steps" in line
    with pytest.raises(
        BraindinoError, match=r"other settings: model.optimiser.lr 0.2 \(was 0.1\)(.|\n)*--run.id"
    ):
        check_finished(tmp_path / "a", changed(lr=0.2), 4, 4)
