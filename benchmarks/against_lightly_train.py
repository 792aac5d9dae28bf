"""Compare a pretraining step with lightly-train's DINOv2 method, on equal models and crops.

Model, crops, prototypes and batch are the same; the two run in turn. lightly-train is not a dependency of
this project. In an environment that has both:

    pip install lightly-train
    python benchmarks/against_lightly_train.py --model small --batch 8

Both get the same crops as tensors (views are not timed) and make one optimiser step: teacher, masked student,
local crops, DINO, iBOT with a separate head, KoLeo, Sinkhorn-Knopp, backward pass, clipping, AdamW, moving
average. The model is DINOv3's ViT with registers and RoPE, as implemented in each library, without drop path,
which lightly-train's DINOv3 does not have.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace

import torch
from torch import Tensor

from braindino.pretraining import DINOModule
from braindino.pretraining.config import LossConfig
from braindino.pretraining.losses.objective import distil
from braindino.pretraining.model.heads import HeadConfig
from braindino.pretraining.optimiser import OptimiserConfig, clip_gradients, create_optimiser
from braindino.pretraining.views.masking import MaskConfig, sample_masks
from braindino.pretraining.views.rng import Randomness
from braindino.pretraining.views.views import Views

try:
    from lightly_train._methods.dinov2.dinov2 import DINOv2, DINOv2AdamWViTArgs, DINOv2Args
    from lightly_train._models.dinov3.dinov3_package import DINOv3Package
    from lightly_train._models.dinov3.dinov3_vit import DINOv3ViTModelWrapper
    from lightly_train._models.embedding_model import EmbeddingModel
except ModuleNotFoundError as missing:
    sys.exit(f"needs lightly-train ({missing}): pip install lightly-train, beside braindino")

NAMES = {"tiny": "vitt16", "small": "vits16", "base": "vitb16"}
CPU = torch.device("cpu")


def ours(args: argparse.Namespace, images: Tensor, local_images: Tensor) -> Callable[[int], None]:
    head = HeadConfig(prototypes=args.prototypes)
    module = DINOModule(
        f"vit_{args.model}_patch16_dinov3_qkvb",
        in_chans=3,
        drop_path=0.0,
        dino_head=head,
        ibot_head=head,
    )
    student, teacher = module.student.train(), module.teacher
    optimiser = create_optimiser(student, len(student.backbone.blocks), OptimiserConfig())
    views = Views(images.unflatten(0, (2, -1)), local_images.unflatten(0, (8, -1)))
    grid = student.grid(images)

    def step(number: int) -> None:
        randomness = Randomness.of(0, number, 0, CPU)
        masks = sample_masks(len(images), grid, MaskConfig(), randomness.host)
        values = distil(student, teacher, views, masks, LossConfig(), 0.05, 3, randomness.device)
        values["loss"].backward()
        clip_gradients(student.parts(), 3.0)
        optimiser.step()
        optimiser.zero_grad()
        teacher.ema_update(student, 0.006)

    return step


def theirs(args: argparse.Namespace, images: Tensor, local_images: Tensor) -> Callable[[int], None]:
    model = DINOv3Package.get_model(f"{NAMES[args.model]}-notpretrained", load_weights=False)
    method_args = DINOv2Args(
        ibot_separate_head=True,
        center_method="sinkhorn_knopp",
        output_dim=args.prototypes,
        student_freeze_last_layer_steps=0,
    )
    optimiser_args = DINOv2AdamWViTArgs()
    method_args.resolve_auto(SimpleNamespace(), optimiser_args, SimpleNamespace())
    wrapped = DINOv3ViTModelWrapper(model)
    method = DINOv2(method_args, optimiser_args, EmbeddingModel(wrapped), len(images) // 2, 3).train()
    method.teacher_embedding_model.eval()
    method.teacher_head.eval()
    # The attributes of a Lightning trainer that the step reads.
    trainer = SimpleNamespace(
        global_step=1, max_epochs=1, max_steps=1000, estimated_stepping_batches=1000, world_size=1, loggers=[]
    )
    object.__setattr__(method, "_trainer", trainer)
    type(method).trainer = property(lambda _: trainer)  # type: ignore[assignment]
    (optimiser,), _ = method.configure_optimizers()
    rgb = [x.expand(-1, 3, -1, -1) for x in (*images.chunk(2), *local_images.chunk(8))]
    parameters = [p for group in optimiser.param_groups for p in group["params"]]

    def step(number: int) -> None:
        batch = {"views": rgb}
        result = method.training_step_impl(batch, number)
        result.loss.backward()
        # Equivalent to its configure_gradient_clipping.
        torch.nn.utils.clip_grad_norm_(parameters, 3.0)
        method.on_before_optimizer_step(optimiser)
        optimiser.step()
        optimiser.zero_grad()
        DINOv2.on_train_batch_end(method, None, batch, number)

    return step


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=list(NAMES), default="tiny")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--prototypes", type=int, default=65_536)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.manual_seed(0)
    images, local_images = torch.randn(2 * args.batch, 1, 224, 224), torch.randn(8 * args.batch, 1, 96, 96)
    steps = {
        name: make(args, images, local_images)
        for name, make in {"ours": ours, "lightly-train": theirs}.items()
    }
    times: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(args.repeats + 1):
        for name, step in steps.items():
            start = time.process_time()
            step(repeat)
            if repeat:
                times[name].append(time.process_time() - start)
    print(f"{args.model}, batch {args.batch}, 2 x 224 + 8 x 96, K {args.prototypes}")
    print(
        f"{torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}; "
        f"CPU seconds, median of {args.repeats}"
    )
    for name, values in times.items():
        print(f"{name:<20}{statistics.median(values):9.3f}")
    ratios = [b / a for a, b in zip(*times.values(), strict=True)]
    print(
        f"{'lightly / ours':<20}{statistics.median(ratios):9.3f}   ({min(ratios):.3f} to {max(ratios):.3f})"
    )


if __name__ == "__main__":
    main()
