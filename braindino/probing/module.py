"""The probe as Lightning trains it: a pooling and a head on features, kept, or made anew in the loop."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from braindino.encoders.base import Encoder
from braindino.errors import BraindinoError
from braindino.identity import stable_id
from braindino.probing.augmentation import Augmentation
from braindino.probing.data.base import Batch, CaseData, running_moments
from braindino.probing.data.online import encode_cases
from braindino.probing.decoder import PatchDecoder
from braindino.probing.heads.base import Head, Recipe
from braindino.probing.heads.closed_form import ClosedForm
from braindino.probing.pooling import MeanPooling, Pooling
from braindino.probing.stochastic_depth import drop_paths
from braindino.scans.preprocessing import decode

AT_ONCE = 64  # slices that pass the encoder together when it is in the loop


@stable_id("FrozenProbeModule")
class FrozenProbeModule(LightningModule):
    """Pooling and head, trained on features that a frozen encoder gave once, or gives in the loop.

    Args:
        encoder: a folder made by `braindino export`, a pretraining run, a file of weights, a timm name, or
            `scratch`: whatever `braindino.encoders.checkpoints.load_encoder` reads. It is not trained, unless
            `unfreeze`.
        head: what to predict, e.g. `{class_path: braindino.probing.ClassificationHead}`.
        pooling: from slices to one vector per case; the mean over slices and modalities if omitted.
            Segmentation has none: it decodes patch tokens.
        standardise: subtract the mean of each feature over the labelled training cases and divide by its
            deviation, before whatever is trained; true if omitted, false in the paper's recipe
            (`probe.recipe`). The features of an untrained or little trained encoder differ between scans by a
            millionth of their size: without this a head sees nothing in them.
        lr: learning rate of AdamW; the head's own if omitted: 1e-4 (BrainDINO's released code), for
            survival 1e-3, for segmentation 3e-4.
        weight_decay: decoupled weight decay; the head's own if omitted: 0, which makes the optimiser plain
            Adam, for segmentation 0.05.
        batch_size: cases per step; the head's own if omitted: 8 (BrainDINO's logs: 2 to 8), for survival all
            labelled cases, because a case is compared with those at risk in the same step. For segmentation
            slices per step: 16.
        unfreeze: train the encoder too; it has to be in the loop (segmentation, or `probe.cache: false`).
        encoder_lr: its learning rate (BrainDINO's released code: 3e-5).
        augment: change the slices of training where the encoder is in the loop: true, false, or how much.

    Logs `train/loss`, `val/loss` and the head's metrics as `val/<metric>` once per epoch.
    """

    mean: Tensor
    spread: Tensor
    trained: Encoder
    unfreeze: bool  # type: ignore[assignment]  # hides a method of Lightning's that nothing here calls

    def __init__(
        self,
        encoder: str,
        head: Head,
        pooling: Pooling | None = None,
        standardise: bool | None = None,
        lr: float | None = None,
        weight_decay: float | None = None,
        batch_size: int | None = None,
        unfreeze: bool = False,
        encoder_lr: float = 3e-5,
        augment: Augmentation | bool = True,
    ) -> None:
        super().__init__()
        if head.dense and pooling is not None:
            raise BraindinoError(
                f"model.pooling: {type(head).__name__} decodes patch tokens and pools nothing; leave it out."
            )
        self.encoder = encoder
        self.head = head
        self.pooling: Pooling | PatchDecoder = PatchDecoder() if head.dense else pooling or MeanPooling()
        self.standardise = standardise
        self.lr = lr
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.unfreeze = unfreeze
        self.encoder_lr = encoder_lr
        self.augment = augment
        self.drop_path = 0.0  # stochastic depth of a frozen encoder in the loop, while the head is trained
        self._drops: tuple[nn.Module, ...] = ()
        self._frozen: tuple[Encoder, ...] = ()  # in a tuple: neither moved, saved nor trained with the probe
        self._losses: list[Tensor] = []
        self._trained = 0
        self._evidence: list[dict[str, Tensor]] = []

    @property
    def recipe(self) -> Recipe:
        """The head's, with what the user says instead."""
        own = self.head.recipe
        return replace(
            own,
            lr=own.lr if self.lr is None else self.lr,
            weight_decay=own.weight_decay if self.weight_decay is None else self.weight_decay,
        )

    @property
    def standardises(self) -> bool:
        """Whether features are standardised; they are if the user and the recipe leave it open."""
        return self.standardise is not False

    @property
    def network(self) -> Encoder | None:
        """The encoder in the loop; None where features are kept."""
        if self.unfreeze:
            return self.trained
        return self._frozen[0] if self._frozen else None

    def build(self, data: CaseData, labelled: Tensor, classes: Sequence[str]) -> None:
        """Make all parameters anew. Uses torch's global random state.

        Args:
            data: tells the widths; of its cases only those numbered `labelled`, to be trained on, are
                looked at.
            classes: of the dataset, or its regions; empty for a regression.
        """
        if data.encoder is not None:
            self.attach(data.encoder)
        width = self.pooling.build(**data.shape)
        if self.standardises:
            with torch.no_grad():
                mean, spread = running_moments(self._seen(batch) for batch in data.sample(labelled))
            self.register_buffer("mean", mean)
            self.register_buffer("spread", spread)
        self.head.build(width, data.train_target(labelled), classes)

    def attach(self, encoder: Encoder) -> None:
        """Take an encoder into the loop; a copy of it if it is to be trained."""
        if self.unfreeze:
            self.trained = copy.deepcopy(encoder).requires_grad_(True).train()
        else:
            if self.drop_path:
                encoder = copy.deepcopy(encoder)
                self._drops = tuple(drop_paths(encoder, self.drop_path))
            self._frozen = (encoder.freeze(),)

    def restore(self, kept: Mapping[str, Any], classes: Sequence[str], encoder: Encoder) -> None:
        """Take on what a trained copy was (`kept_probe`), and be ready to predict.

        Raises:
            RuntimeError: `kept` is of another pooling or head.
        """
        state = kept["state"]
        if kept["in_loop"]:
            self.attach(encoder)
        if self.standardises:
            self.register_buffer("mean", torch.empty_like(state["mean"]))
            self.register_buffer("spread", torch.empty_like(state["spread"]))
        width = self.pooling.build(**kept["shape"])
        self.head.build(width, kept["target"], classes)
        if isinstance(self.head, ClosedForm):
            self.head.reserve({name[5:]: value for name, value in state.items() if name[:5] == "head."})
        self.load_state_dict(state)
        self.eval().requires_grad_(False)

    def step_size(self, labelled: int) -> int:
        """Cases (or slices) per step when `labelled` cases are trained on."""
        return self.batch_size or self.head.batch_size or labelled

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """(B, M, D, dim) and the mask (B, M, D) of slices that are there -> (B, outputs)."""
        return self.head(self.pooled(features, mask))

    def pooled(self, features: Tensor, mask: Tensor) -> Tensor:
        """(B, M, D, dim) and the mask (B, M, D) -> (B, width), what the head is given."""
        if self.standardises:
            features = (features - self.mean) / self.spread
        return self.pooling(features, mask)

    def answer(self, batch: Batch) -> Tensor:
        """The head's output for a batch of any `CaseData`: (B, outputs), or (B, outputs, H, W) of slices."""
        if "features" in batch:
            return self(batch["features"], batch["mask"])
        batch = batch if "images" in batch else self._with_images(batch)
        if isinstance(self.pooling, PatchDecoder):
            tokens = self._tokens(batch)
            if self.standardises:
                tokens = (tokens - self.mean[:, None, None]) / self.spread[:, None, None]
            images = batch["images"]
            return self.head(self.pooling(tokens, (images.shape[-2], images.shape[-1])))
        return self(*self._features(batch))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of a batch of `CaseData`."""
        if "features" not in batch:
            batch = self._with_images(batch)
            if self.augment is not False:
                augment = Augmentation() if self.augment is True else self.augment
                labels = batch["target"] if self.head.dense else None
                images, labels = augment(batch["images"], labels)
                batch = {**batch, "images": images, "target": batch["target"] if labels is None else labels}
        for drop in self._drops:
            drop.train()
        loss = self.head.loss(self.answer(batch), batch["target"])
        for drop in self._drops:
            drop.eval()
        self._losses.append(loss.detach() * len(batch["target"]))
        self._trained += len(batch["target"])
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep what the head wants to know of a batch; metrics such as the AUROC belong to the whole part."""
        self._evidence.append(self.head.evidence(self.answer(batch), batch["target"], batch["case"]))

    def on_fit_start(self) -> None:
        """Bring the frozen encoder, which is no part of the module, to where it is needed."""
        for encoder in self._frozen:
            encoder.to(self.device)

    def on_validation_epoch_end(self) -> None:
        """Log the losses of both parts, and the head's metrics of the validation part.

        The training loss is logged here, once: Lightning's own averaging costs a fifth of a step.
        """
        if self._trained:
            self.log("train/loss", torch.stack(self._losses).sum() / self._trained)
        self._losses.clear()
        self._trained = 0
        evidence = {name: torch.cat([part[name] for part in self._evidence]) for name in self._evidence[0]}
        self._evidence.clear()
        for name, value in self.head.scores(evidence).items():
            self.log(f"val/{name}", torch.tensor(value, dtype=torch.float32))

    def configure_optimizers(self) -> Any:
        """AdamW, which without weight decay is Adam, or Adam; a trained encoder at its own rate."""
        recipe = self.recipe
        probe = [value for name, value in self.named_parameters() if not name.startswith("trained.")]
        groups: list[dict[str, Any]] = [{"params": probe}]
        if self.unfreeze:
            groups.append({"params": list(self.trained.parameters()), "lr": self.encoder_lr})
        kind = torch.optim.Adam if recipe.coupled else torch.optim.AdamW
        optimiser = kind(groups, lr=recipe.lr, betas=recipe.betas, weight_decay=recipe.weight_decay)
        if not recipe.decay:
            return optimiser
        steps = int(self.trainer.estimated_stepping_batches)
        decay = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: max(0.0, 1 - step / steps))
        return [optimiser], [{"scheduler": decay, "interval": "step"}]

    @staticmethod
    def _with_images(batch: Batch) -> Batch:
        return {**batch, "images": decode(batch["slices"], batch["scale"], batch["zero_point"])}

    def _tokens(self, batch: Batch) -> Tensor:
        """(B, levels x D, h, w) of slices."""
        assert self.network is not None
        assert isinstance(self.pooling, PatchDecoder)
        return self.pooling.tokens(self.network, batch["images"], batch["present"])

    def _features(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(B, M, D, dim) of cases and the mask of slices; D is 1 where pooling them has no parameters."""
        assert self.network is not None
        assert isinstance(self.pooling, Pooling)
        images, mask, patches = batch["images"], batch["mask"], self.pooling.patches
        features = encode_cases(self.network, images, mask, AT_ONCE, patches)
        if self.pooling.trains_on_slices:
            return features, mask
        return self.pooling.pool_slices(features, mask).unsqueeze(2), mask.any(dim=2, keepdim=True)

    def _seen(self, batch: Batch) -> Tensor:
        """(n, dim) what a batch holds, to standardise by: features of slices or scans, or patch tokens."""
        if "features" in batch:
            return batch["features"][batch["mask"]]
        assert self.network is not None
        device = next(self.network.parameters()).device
        batch = self._with_images({name: value.to(device) for name, value in batch.items()})
        if self.head.dense:
            self.pooling.to(device)
            return self._tokens(batch).movedim(1, -1).flatten(0, -2)
        features, mask = self._features(batch)
        return features[mask]
