"""The paper's way to train a probe as one option, compared with the constants of docs/method.md."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from braindino.errors import BraindinoError
from braindino.files import read_json
from braindino.probing import (
    ClassificationHead,
    DaysHead,
    FrozenProbeModule,
    LogisticHead,
    Protocol,
    RegressionHead,
    SegmentationHead,
    SurvivalHead,
    run_study,
)
from braindino.probing.decoders.paper import PatchDecoder
from braindino.probing.heads.base import mlp
from braindino.probing.recipes import apply_recipe
from braindino.probing.stochastic_depth import drop_paths
from braindino.scans.contract import Preprocessing
from tests.helpers.tiny_vit import tiny_encoder

# head: optimiser, lr, weight decay, cases per step, epochs, patience
PAPER = {
    ClassificationHead: (torch.optim.Adam, 1e-4, 1e-5, 8, 8, 4),
    RegressionHead: (torch.optim.AdamW, 1e-3, 1e-4, 8, 8, 4),
    DaysHead: (torch.optim.AdamW, 1e-3, 1e-4, 8, 8, 4),
    SurvivalHead: (torch.optim.Adam, 3e-4, 1e-3, 12, 100, 20),
}


def _optimiser(module):
    module.weight = nn.Parameter(torch.zeros(1))
    optimiser = module.configure_optimizers()
    (group,) = optimiser.param_groups
    return type(optimiser), group["lr"], group["weight_decay"]


@pytest.mark.parametrize("head", PAPER)
def test_apply_recipe_paper_sets_every_constant(head):
    kind, rate, decay, step, epochs, patience = PAPER[head]
    given = FrozenProbeModule("x", head())
    module, protocol = apply_recipe(given, Protocol(recipe="paper"), 1)
    assert _optimiser(module) == (kind, rate, decay)
    assert module.step_size(500) == step
    assert (protocol.max_epochs, protocol.patience) == (epochs, patience)
    assert (module.standardise, module.head.dropout) == (False, 0.0)
    assert apply_recipe(given, Protocol(recipe="paper"), 2)[0].head.dropout == 0.3
    assert (given.standardise, given.head.dropout, given.head.optimizer_defaults) == (
        None,
        0.0,
        head.optimizer_defaults,
    )


@pytest.mark.parametrize("head", PAPER)
def test_apply_recipe_default_leaves_the_head_unchanged(head):
    module, protocol = apply_recipe(FrozenProbeModule("x", head()), Protocol(), 2)
    assert _optimiser(module)[0] is torch.optim.AdamW
    assert module.optimizer_settings == head.optimizer_defaults
    assert (module.standardise, module.head.dropout, module.drop_path) == (True, 0.0, 0.0)
    assert (protocol.max_epochs, protocol.patience) == (100, 10)


def test_apply_recipe_keeps_options_of_the_user():
    module = FrozenProbeModule("x", ClassificationHead(), standardise=True, lr=0.1, batch_size=3)
    module, protocol = apply_recipe(module, Protocol(recipe="paper", max_epochs=100), 1)
    assert _optimiser(module) == (torch.optim.Adam, 0.1, 1e-5)
    assert (module.standardise, module.step_size(9)) == (True, 3)
    assert (protocol.max_epochs, protocol.patience) == (100, 4)


def test_apply_recipe_of_other_heads():
    module, _ = apply_recipe(FrozenProbeModule("x", SegmentationHead()), Protocol(recipe="paper"), 4)
    assert (module.standardise, module.optimizer_settings) == (False, PatchDecoder.optimizer_defaults)
    assert (module.head.decoder, type(module.pooling)) == ("paper", PatchDecoder)
    with pytest.raises(BraindinoError, match=r"recipe: paper trains .*LogisticHead is solved at once"):
        apply_recipe(FrozenProbeModule("x", LogisticHead()), Protocol(recipe="paper"), 1)


@pytest.mark.parametrize(
    ("decoder", "expected"),
    [
        # 40 steps: two of warm-up, then the line to 0; the paper's line begins at its top.
        ("conv", [0.5, 1 - 1 / 40, 1 - 2 / 40, 1 - 3 / 40]),
        ("paper", [1.0, 1 - 1 / 40, 1 - 2 / 40, 1 - 3 / 40]),
    ],
)
def test_configure_optimizers_warms_up_except_for_the_paper(decoder, expected):
    module = FrozenProbeModule("x", SegmentationHead(decoder=decoder))
    module.head.layers = nn.Conv2d(4, 2, 1)
    module._trainer = SimpleNamespace(estimated_stepping_batches=40)
    (optimiser,), (plan,) = module.configure_optimizers()
    rates = []
    for _ in range(40):
        rates.append(optimiser.param_groups[0]["lr"] / module.optimizer_settings.lr)
        optimiser.step()
        plan["scheduler"].step()
    assert rates[:4] == pytest.approx(expected)
    assert rates[-1] == pytest.approx(1 / 40)
    assert optimiser.param_groups[0]["lr"] == 0


def test_mlp_with_dropout_has_it_after_the_norm_and_gelu_and_the_same_parameters():
    plain, dropping = mlp(6, 2), mlp(6, 2, 0.3)
    kinds = [type(layer) for layer in dropping]
    assert kinds == [nn.LayerNorm, nn.Dropout, nn.Linear, nn.GELU, nn.Dropout, nn.Linear]
    plain.load_state_dict(dropping.state_dict())
    x = torch.randn(5, 6)
    assert torch.equal(plain(x), dropping.eval()(x))


@pytest.fixture
def vit():
    torch.manual_seed(0)  # for what a test draws
    return tiny_encoder(Preprocessing(depth=3, size=(16, 16)), depth=3, init_values=1.0)


def test_drop_paths_act_in_training_only_and_rise_linearly(vit):
    x = torch.randn(4, 1, 16, 16)
    before = vit(x)
    modules = drop_paths(vit, 0.2)
    assert [module.drop_prob for module in modules] == pytest.approx([0.1, 0.1, 0.2, 0.2])
    assert torch.equal(vit(x), before)
    for module in modules:
        module.train()
    torch.manual_seed(0)
    assert any(not torch.equal(vit(x), before) for _ in range(5))


def test_attach_copies_an_encoder_whose_depth_is_to_be_stochastic(vit):
    module = FrozenProbeModule("x", ClassificationHead())
    module.drop_path = 0.2
    module.attach(vit)
    assert module.network is not vit
    assert len(module._drops) == 4
    assert not any(isinstance(part, type(module._drops[0])) for part in vit.modules())


def test_run_study_with_the_recipe_of_the_paper(tmp_path, planted, encoder, make_trainer):
    protocol = Protocol(recipe="paper", seeds=[0], resamples=0, baselines=False)
    module = FrozenProbeModule("tiny", ClassificationHead())
    results = run_study(module, planted(), protocol, make_trainer, tmp_path / "run", encoder)
    assert (results["recipe"], results["standardise"]) == ("paper", False)
    assert results["cells"][0]["epochs"] <= 8
    study = read_json(tmp_path / "run" / "study.json")
    assert (study["recipe"], study["model"]["standardise"]) == ("paper", False)
    assert study["protocol"]["max_epochs"] == 8
    assert read_json(tmp_path / "run" / "probe.json")["standardise"] is False
    ours = Protocol(seeds=[0], resamples=0, baselines=False)
    with pytest.raises(BraindinoError, match="another study"):
        run_study(module, planted(), ours, make_trainer, tmp_path / "run", encoder)
