"""DINOModule: self-distillation of a ViT on slices with DINO, iBOT, KoLeo and Gram."""

import copy
import math
import warnings
from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from braindino.errors import BraindinoError
from braindino.pretraining import limits
from braindino.pretraining.callbacks.collapse import CollapseMonitor
from braindino.pretraining.callbacks.finite_guard import FiniteGuard
from braindino.pretraining.callbacks.throughput import ThroughputMonitor
from braindino.pretraining.conditions import check_trainer, contract_of
from braindino.pretraining.config import GramConfig, LossConfig, TeacherConfig
from braindino.pretraining.distributed import print_on_rank_zero, rank, world_size
from braindino.pretraining.init_weights import LoadedWeights, load_backbone, load_heads, resolve
from braindino.pretraining.losses.objective import distil
from braindino.pretraining.model.backbone import Initialisation, create_backbone
from braindino.pretraining.model.gram import GramTeacher, check_gram
from braindino.pretraining.model.heads import HeadConfig
from braindino.pretraining.model.network import Student, Teacher
from braindino.pretraining.model.rope import RopeConfig
from braindino.pretraining.optimiser import OptimiserConfig, clip_gradients, create_optimiser
from braindino.pretraining.sharding import Sharded, local, shard
from braindino.pretraining.views.masking import MaskConfig, Masks, sample_masks
from braindino.pretraining.views.rng import Randomness
from braindino.pretraining.views.views import Views, ViewsConfig, make_views
from braindino.scans.contract import Preprocessing
from braindino.scans.seen import Seen
from braindino.training.people import record_seen, seen_until, unknown_start

GUARDED = ("loss", "dino", "ibot", "koleo", "gram")  # logged when a step is not finite


class DINOModule(pl.LightningModule):
    """Student and EMA teacher, trained as BrainDINO by its closest published recipe.

    The method is that of arXiv 2604.27277. Batches are those of `SliceDataModule`: "slices" (B, H, W) raw,
    "scale" (B,), "zero_point" (B,). The data module's `contract` is stored with the checkpoint, as the
    encoder's input contract. All lengths are optimiser steps. Random draws of a batch are a function of
    (seed, batch number, process), so a resumed run repeats those of an uninterrupted one. Checkpoints list
    the people and scans that the weights were trained on.

    Args:
        architecture: a timm `vit_*_dinov3` name.
        in_chans: 1 takes the grey slice, 3 repeats it (needed to start from natural-image weights).
        model_args: see `create_vit`: `patch_size`, `embed_dim`, `depth`, `num_heads`, `init_values`,
            `norm_eps`, ...
        initialisation: scale of the random weights: "dinov3", or "timm", which scales the last layers of deep
            blocks down.
        init_from: start the backbone from an earlier run (folder or `.ckpt`: its teacher), an export, a file
            of DINOv3 weights, a timm name whose published weights are on this machine, or `hub:<timm name>`,
            which fetches them; None from scratch. Not loaded again when a run continues.
        init_heads: load heads and mask token from there too; only an earlier run has them.
        drop_path: share of the batch that each residual branch of the student skips.
        rope: changes of the patch coordinates in training.
        views: crops and intensity changes.
        masks: patches hidden from the student.
        dino_head: size of the head on CLS tokens.
        ibot_head: size of the head on masked patches.
        teacher: moving average and centring.
        losses: weights of the losses.
        gram: Gram anchoring; needs `views.gram_size`.
        optimiser: AdamW and its schedules.
        activation_checkpointing: compute the student's blocks again in the backward pass instead of storing
            their activations.
        compile: compile the transformer blocks (`torch.compile`). The first steps take minutes; it is meant
            for GPUs.
        monitor_every: optimiser steps between the costlier measurements (entropy, effective rank).
        seed: seed of views, masks and stochastic depth (the weights follow `seed_everything`).

    Raises:
        BraindinoError: unknown architecture, crop sizes that the patch size does not divide, or settings that
            lack what they need.
    """

    def __init__(
        self,
        architecture: str = "vit_base_patch16_dinov3",
        in_chans: int = 3,
        model_args: dict[str, Any] | None = None,
        initialisation: Initialisation = "dinov3",
        init_from: str | None = None,
        init_heads: bool = False,
        drop_path: float = 0.2,
        rope: RopeConfig = RopeConfig(),  # noqa: B008 - frozen, so sharing it is safe
        views: ViewsConfig = ViewsConfig(),  # noqa: B008
        masks: MaskConfig = MaskConfig(),  # noqa: B008
        dino_head: HeadConfig = HeadConfig(),  # noqa: B008
        ibot_head: HeadConfig = HeadConfig(),  # noqa: B008
        teacher: TeacherConfig = TeacherConfig(),  # noqa: B008
        losses: LossConfig = LossConfig(),  # noqa: B008
        gram: GramConfig = GramConfig(),  # noqa: B008
        optimiser: OptimiserConfig = OptimiserConfig(),  # noqa: B008
        activation_checkpointing: bool = False,
        compile: bool = False,
        monitor_every: int = 50,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.monitor_every, self.seed, self.drop_path = monitor_every, seed, drop_path
        self.compile_blocks = compile
        limits.positive(self, "", "monitor_every")
        limits.not_negative(self, "", "seed")
        limits.fraction(self, "", "drop_path")
        if init_heads and init_from is None:
            raise BraindinoError("model.init_heads: needs model.init_from, the run that has the heads.")
        check_gram(gram, views, init_from)
        self.init_from, self.init_heads, self.gram = init_from, init_heads, gram
        # Weights that were loaded for the backbone and for the Gram teacher.
        self.starts: list[LoadedWeights] = []
        # People and scans of these weights, or of this run before it was continued.
        self._seen_before: list[Seen] = []
        self._configured = self._started = False
        self.architecture = architecture
        self.model_args = {"in_chans": in_chans, **(model_args or {})}
        backbone = create_backbone(architecture, initialisation=initialisation, **self.model_args)
        views.check(backbone.patch_embed.patch_size[0])
        self.views, self.masks, self.losses = views, masks, losses
        self.teacher_config, self.optimiser_config = teacher, optimiser
        self.student = Student(backbone, dino_head, ibot_head, rope, drop_path, activation_checkpointing)
        self.teacher = Teacher(copy.deepcopy(backbone), dino_head, ibot_head)
        self.teacher.ema_update(self.student, 1.0)
        self.gram_teacher = GramTeacher(copy.deepcopy(backbone)) if gram.weight else None
        self.guard = FiniteGuard()
        # Batches of this process since the start of the run, over all interruptions.
        self.batches = 0
        self._contract: dict[str, Any] | None = None
        self._total_steps = math.inf
        self._slices_per_step = 0
        # Peak learning rate of the checkpoint that the run continues from.
        self._earlier_peak: float | None = None
        self._guarded: dict[str, Tensor] = {}
        self._is_skipped = torch.zeros(())
        # Prototypes before a step that must not move them.
        self._frozen: list[Tensor] = []
        self._momentum = teacher.momentum

    # ----------------------------------------------------------------------------------------------- set-up

    def setup(self, stage: str) -> None:
        """Read the data module's contract and check the trainer's settings.

        Args:
            stage: stage that Lightning runs.

        Raises:
            BraindinoError: no contract, or one that patches do not divide, clipping by the trainer, or a
                precision without float32 weights for the moving average.
        """
        # The teacher is in eval mode on purpose; Lightning would warn in each run.
        warnings.filterwarnings("ignore", r"Found \d+ module\(s\) in eval mode")
        self._contract = contract_of(self.trainer, self.student.backbone.patch_embed.patch_size[0])
        check_trainer(self.trainer)

    def configure_model(self) -> None:
        """Compile and shard the networks, once.

        Sharded weights cannot be loaded into any more, and Lightning restores a checkpoint only after this
        hook. So the weights that the run starts from are loaded first, whether it is fresh or continues.
        """
        if self._configured:
            return
        self._configured = True
        networks = [n for n in (self.student, self.teacher, self.gram_teacher) if n is not None]
        if self.compile_blocks:
            for network in networks:
                # The last block has another number of tokens in every batch.
                for block in network.backbone.blocks[:-1]:
                    block.compile()
        if isinstance(self.trainer.strategy, Sharded):
            if self.trainer.state.fn == TrainerFn.FITTING:
                self._load_start()
                self._started = True
            mesh = self.trainer.strategy.device_mesh["data_parallel"]
            for network in networks:
                shard(network, mesh)

    def _load_start(self) -> None:
        """Load what a fresh run starts from; one that continues has it in its checkpoint."""
        contract = Preprocessing.from_dict(self._contract or {})
        # All processes use the first one's choice of a checkpoint.
        broadcast = self.trainer.strategy.broadcast
        if self.init_from is not None:
            source = broadcast(resolve(self.init_from))
            self._take(load_backbone(source, self.student.backbone, contract, "model.init_from"))
            if self.init_heads:
                print_on_rank_zero(load_heads(source, self.student))
            self.teacher.ema_update(self.student, 1.0)
        if self.gram_teacher is not None:
            if self.gram.teacher is None:
                self.gram_teacher.backbone.load_state_dict(self.teacher.backbone.state_dict())
            else:
                source = broadcast(resolve(self.gram.teacher))
                anchor = self.gram_teacher.backbone
                self._take(load_backbone(source, anchor, contract, "model.gram.teacher"))

    def _take(self, start: LoadedWeights) -> None:
        print_on_rank_zero(start.report)
        self.starts.append(start)
        self._seen_before.append(start.seen or unknown_start(start.source))

    def configure_callbacks(self) -> list[pl.Callback]:
        """Return the monitors of every run."""
        return [CollapseMonitor(), ThroughputMonitor(self.monitor_every)]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Create AdamW; a fresh run also loads the weights that it starts from.

        The schedules are set in `on_before_optimizer_step`. Lightning calls this hook after a checkpoint is
        restored, so that by now it is known whether the run is fresh.

        Raises:
            BraindinoError: a schedule ends at the last step and the length of the run is not set, or the
                weights that the run starts from cannot be loaded.
        """
        if not self._started:
            self._load_start()
        self._total_steps = float(self.trainer.estimated_stepping_batches)
        schedules = (
            self.optimiser_config.lr_schedule(),
            self.optimiser_config.weight_decay_schedule(),
            self.teacher_config.momentum_schedule(),
        )
        if math.isinf(self._total_steps) and any(s.final is not None for s in schedules):
            raise BraindinoError(
                "a schedule with a final value needs the length of the run: set trainer.max_steps."
            )
        return create_optimiser(self.student, len(self.student.backbone.blocks), self.optimiser_config)

    # ------------------------------------------------------------------------------------ losses of a batch

    def views_of(self, batch: Mapping[str, Tensor], number: int) -> tuple[Views, Masks, Randomness]:
        """Return views and masks of a batch by its number, and the generators that made them."""
        randomness = Randomness.of(self.seed, number, rank(), self.device)
        patch_size = self.student.backbone.patch_embed.patch_size[0]
        views = make_views(batch, self.views, randomness).whole_patches(patch_size)
        crops = views.global_crops.flatten(0, 1)
        masks = sample_masks(len(crops), self.student.grid(crops), self.masks, randomness.host)
        return views, masks.to(crops.device), randomness

    def _losses(self, batch: Mapping[str, Tensor], number: int, measure: bool) -> dict[str, Tensor]:
        views, masks, randomness = self.views_of(batch, number)
        return distil(
            self.student,
            self.teacher,
            views,
            masks,
            self.losses,
            self.teacher_config.temperature_schedule().at(self._step, self._total_steps),
            self.teacher_config.sinkhorn_iterations,
            randomness.device,
            measure,
            None if self.gram_teacher is None else (self.gram_teacher, self.gram.weight),
        )

    @property
    def _step(self) -> int:
        return int(self.trainer.global_step)

    # --------------------------------------------------------------------------------------------- training

    def on_train_batch_start(self, batch: Mapping[str, Tensor], batch_idx: int) -> None:
        """Scale the learning rate by the size of a full batch, which the first one of a run is."""
        if not self._slices_per_step:
            batches = world_size() * self.trainer.accumulate_grad_batches
            self._slices_per_step = len(batch["slices"]) * batches
            continued = self.trainer.global_step > 0
            if report := self.optimiser_config.report(self._slices_per_step, continued, self._earlier_peak):
                print_on_rank_zero(report)

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of one micro-batch; see the class for its contents."""
        # The last of `monitor_every` steps is the one that Lightning logs when it logs as often.
        values = self._losses(batch, self.batches, measure=(self._step + 1) % self.monitor_every == 0)
        self.batches += 1
        self._guarded = {name: values[name].detach() for name in GUARDED if name in values}
        logged = {f"train/{name}": value.detach() for name, value in values.items()}
        self.log_dict(logged, batch_size=len(batch["slices"]))
        return values["loss"]

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Set the schedules, save frozen prototypes, clip, and flag a step that is not finite."""
        step, total, config = self._step, self._total_steps, self.optimiser_config
        lr = config.lr_schedule().at(step, total) * config.scaling(self._slices_per_step)
        weight_decay = config.weight_decay_schedule().at(step, total)
        for group in optimizer.param_groups:
            group["lr"] = lr * group["lr_factor"]
            group["weight_decay"] = weight_decay * group["wd_factor"]
        prototypes = local(list(self.student.prototype_weights()))
        frozen = step < config.freeze_prototypes_steps
        self._frozen = [p.detach().clone() for p in prototypes] if frozen else []
        norm = clip_gradients(self.student.parts(), config.clip)
        self._is_skipped = self.guard.observe(step, {**self._guarded, "gradient norm": norm})
        optimizer.found_inf = self._is_skipped  # type: ignore[attr-defined]
        self._momentum = self.teacher_config.momentum_schedule().at(step, total)
        self.log_dict(
            {
                "train/grad_norm": norm,
                "train/skipped_steps": float(self.guard.skipped),
                "train/lr": lr,
                "train/weight_decay": weight_decay,
                "train/momentum": self._momentum,
                "train/teacher_temperature": self.teacher_config.temperature_schedule().at(step, total),
            }
        )

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step the student, then update the teacher: once per optimiser step, not per micro-batch."""
        super().optimizer_step(*args, **kwargs)
        # Frozen prototypes are restored: AdamW has counted their gradient, as at a learning rate of 0.
        for weight, before in zip(local(list(self.student.prototype_weights())), self._frozen, strict=False):
            weight.detach().copy_(before)
        self.teacher.ema_update(self.student, (1 - self._momentum) * (1 - self._is_skipped))

    # ------------------------------------------------------------------------------------------- evaluation

    def _evaluate(self, batch: Mapping[str, Tensor], batch_idx: int, stage: str) -> None:
        values = self._losses(batch, batch_idx, measure=True)
        logged = {f"{stage}/{name}": value for name, value in values.items()}
        self.log_dict(logged, batch_size=len(batch["slices"]), sync_dist=True)

    def validation_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> None:
        """Log the losses on views that depend on the batch number only, centred over the batch."""
        self._evaluate(batch, batch_idx, "val")

    def test_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> None:
        """Log the losses as `validation_step` does."""
        self._evaluate(batch, batch_idx, "test")

    # ------------------------------------------------------------------------------------------- checkpoint

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what rebuilds the encoder, the number of batches, the start, people and scans.

        People and scans that the start's weights were trained on count as seen in this run's pretraining too.
        """
        checkpoint["encoder"] = {
            "architecture": self.architecture,
            "model_args": self.model_args,
            "preprocessing": self._contract,
        }
        checkpoint["pretraining"] = {
            "batches": self.batches,
            "seed": self.seed,
            "peak_lr": self.optimiser_config.peak(self._slices_per_step) if self._slices_per_step else None,
            "starts": [start.to_dict() for start in self.starts],
        }
        record_seen(checkpoint, self.trainer, *self._seen_before)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue the count of batches, and restore the peak learning rate, starts and people."""
        self.batches = checkpoint["pretraining"]["batches"]
        self._earlier_peak = checkpoint["pretraining"].get("peak_lr")
        self._started = True
        self._seen_before = [seen_until(checkpoint)]
        self.starts = [LoadedWeights.from_dict(start) for start in checkpoint["pretraining"]["starts"]]
