"""The losses of a batch: half of it on each of two processes equals the whole on one, with gradients."""

import torch
from torch import Tensor

from braindino.pretraining.config import LossConfig
from braindino.pretraining.losses.objective import distil
from braindino.pretraining.views.masking import MaskConfig, Masks, sample_masks
from braindino.pretraining.views.rng import Randomness
from braindino.pretraining.views.views import Views, make_views
from tests.helpers.processes import run_processes
from tests.helpers.slices import structured_slices
from tests.helpers.tiny_module import VIEWS, tiny_module

SLICES = 6
CPU = torch.device("cpu")


def views_and_masks() -> tuple[Views, Masks]:
    batch = {
        "slices": structured_slices(SLICES, 32),
        "scale": torch.full((SLICES,), 0.02),
        "zero_point": torch.full((SLICES,), 40.0),
    }
    randomness = Randomness.of(0, 0, 0, CPU)
    views = make_views(batch, VIEWS, randomness)
    return views, sample_masks(2 * SLICES, (4, 4), MaskConfig(share=0.6), randomness.host)


def part(views: Views, masks: Masks, slices: slice) -> tuple[Views, Masks]:
    """Return the views and masks of some of the slices."""
    mask = masks.mask.unflatten(0, (2, SLICES))[:, slices].flatten(0, 1)
    indices = mask.flatten().nonzero()[:, 0]
    part = Masks(mask, indices, (1 / mask.sum(1))[indices // mask.shape[1]])
    return Views(views.global_crops[:, slices], views.local_crops[:, slices]), part


def losses_and_gradient(views: Views, masks: Masks) -> dict[str, Tensor]:
    module = tiny_module(drop_path=0.0).eval()  # eval: RoPE changes would be drawn once per process
    config = LossConfig(koleo_over_processes=True)
    generator = torch.Generator().manual_seed(0)
    values = distil(module.student, module.teacher, views, masks, config, 0.05, 3, generator)
    values["loss"].backward()
    gradient = torch.cat([p.grad.flatten() for p in module.student.parameters() if p.grad is not None])
    return {**{name: value.detach() for name, value in values.items()}, "gradient": gradient}


def _half(rank: int, world: int) -> dict[str, Tensor]:
    half = SLICES // world
    return losses_and_gradient(*part(*views_and_masks(), slice(rank * half, (rank + 1) * half)))


def test_distil_on_two_processes_with_half_the_batch_equals_one() -> None:
    """Masked patches are unequally many on the two, and nearest neighbours may be on the other."""
    views, masks = views_and_masks()
    counts = [len(part(views, masks, s)[1].indices) for s in (slice(0, 3), slice(3, 6))]
    assert counts[0] != counts[1]
    whole = losses_and_gradient(views, masks)
    halves = run_processes(_half, 2)
    for name, value in whole.items():
        mean = (halves[0][name] + halves[1][name]) / 2
        torch.testing.assert_close(mean, value, rtol=1e-4, atol=1e-6, msg=name)


def test_distil_masks_the_student_only() -> None:
    views, masks = views_and_masks()
    none = Masks(torch.zeros_like(masks.mask), masks.indices[:0], masks.weights[:0])
    masked, unmasked = losses_and_gradient(views, masks), losses_and_gradient(views, none)
    assert masked["dino"] != unmasked["dino"]  # the student's CLS comes from the masked crops
    assert unmasked["ibot"] == 0
