"""The LightningModule of a probe: a pooling and a head on the features of an encoder."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from braindino.encoders.base import Encoder
from braindino.errors import BraindinoError
from braindino.identity import stable_id
from braindino.probing.augmentation import Augmentation
from braindino.probing.data.base import Batch, CaseData, running_moments
from braindino.probing.data.online import encode_cases
from braindino.probing.decoders.base import MAX_SLICES, Decoder
from braindino.probing.heads.base import Head, OptimizerDefaults
from braindino.probing.heads.closed_form import ClosedForm
from braindino.probing.heads.segmentation import SegmentationHead
from braindino.probing.pooling import MeanPooling, Pooling
from braindino.probing.stochastic_depth import drop_paths
from braindino.scans.preprocessing import decode


@stable_id("FrozenProbeModule")
class FrozenProbeModule(LightningModule):
    """Train a pooling and a head on cached features, or with the encoder in the loop.

    Logs `train/loss`, `val/loss` and the head's metrics as `val/<metric>` once per epoch.

    Args:
        encoder: a folder made by `braindino export`, a pretraining run, a file of weights, a timm name, or
            `scratch`; see `braindino.encoders.checkpoints.load_encoder`. It is trained only with `unfreeze`.
        head: head that predicts the target, e.g. `{class_path: braindino.probing.ClassificationHead}`.
        pooling: pooling of slices to one vector per case; the mean over slices and modalities if omitted.
            Segmentation has none: it decodes patch tokens.
        standardise: subtract from each feature its mean over the labelled training cases and divide by its
            deviation; true if omitted, false in the paper's recipe (`probe.recipe`). The features of an
            untrained or little trained encoder differ between scans by a millionth of their size, too little
            for a head to learn from without this.
        lr: learning rate of AdamW; if omitted that of the head: 1e-4 (BrainDINO's released code), for
            survival 1e-3, for segmentation that of the decoder (1e-3; `paper` 3e-4).
        weight_decay: decoupled weight decay; if omitted that of the head: 0, which makes the optimiser plain
            Adam, for segmentation that of the decoder (0.01; `paper` 0.05).
        batch_size: cases per step; if omitted that of the head: 8 (BrainDINO's logs: 2 to 8), for survival
            all labelled cases, because a case is compared with those at risk in the same step. For
            segmentation slices per step: 16.
        unfreeze: train the encoder too; it has to be in the loop (segmentation, or `probe.cache: false`).
        encoder_lr: learning rate of an encoder that is trained (BrainDINO's released code: 3e-5).
        augment: change the training slices of an encoder in the loop: true, false, or the amounts.
        ema: share of a moving average of the weights that a step keeps; the average is evaluated and saved.
            0 averages nothing.

    Attributes:
        mean: (dim,) mean of the features, set by `build` where they are standardised.
        spread: (dim,) deviation of the features, set by `build` where they are standardised.
        trained: the copy of the encoder that is trained, with `unfreeze`.
        false_pixels: (B,) false pixels of the last training step on empty slices, with `hard_empty`.
        drop_path: rate of stochastic depth in a frozen encoder in the loop, while the head is trained.
    """

    stored_defaults: ClassVar[Mapping[str, Any]] = {"ema": 0.0}
    mean: Tensor
    spread: Tensor
    trained: Encoder
    # Hides a method of Lightning's that nothing here calls.
    unfreeze: bool  # type: ignore[assignment]

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
        ema: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= ema < 1:
            raise BraindinoError(f"model.ema {ema}: expected 0 to less than 1.")
        if head.dense and pooling is not None:
            raise BraindinoError(
                f"model.pooling: {type(head).__name__} decodes patch tokens and pools nothing; leave it out."
            )
        self.encoder = encoder
        self.head = head
        self.pooling: Pooling | Decoder = pooling or MeanPooling()
        if isinstance(head, SegmentationHead):
            self.pooling = head.make_decoder()
        self.standardise = standardise
        self.lr = lr
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.unfreeze = unfreeze
        self.encoder_lr = encoder_lr
        self.augment = augment
        self.ema = ema
        self.drop_path = 0.0
        self.false_pixels: Tensor | None = None
        self._drops: tuple[nn.Module, ...] = ()
        # In a tuple, so that Lightning neither moves, saves nor trains it with the probe.
        self._frozen: tuple[Encoder, ...] = ()
        self._losses: list[Tensor] = []
        self._trained = 0
        self._evidence: list[dict[str, Tensor]] = []

    @property
    def optimizer_settings(self) -> OptimizerDefaults:
        """Return the head's optimiser defaults, with `lr` and `weight_decay` if they are given."""
        defaults = self.head.optimizer_defaults
        return replace(
            defaults,
            lr=defaults.lr if self.lr is None else self.lr,
            weight_decay=defaults.weight_decay if self.weight_decay is None else self.weight_decay,
        )

    @property
    def standardises(self) -> bool:
        """Return whether features are standardised: unless the user or the recipe turns it off."""
        return self.standardise is not False

    @property
    def _has_moments(self) -> bool:
        """Return whether there are features to standardise: a decoder of pixels alone has none."""
        return self.standardises and not (isinstance(self.pooling, Decoder) and not self.pooling.reads_tokens)

    @property
    def network(self) -> Encoder | None:
        """Return the encoder in the loop; None with cached features."""
        if self.unfreeze:
            return self.trained
        return self._frozen[0] if self._frozen else None

    def resolve(self, encoder: Encoder) -> None:
        """Set the decoder and the image size of a segmentation head, where they were omitted.

        Args:
            encoder: the encoder.

        Raises:
            BraindinoError: an option that does not suit the encoder.
        """
        if isinstance(self.head, SegmentationHead) and encoder.patch_size is not None:
            self.head.resolve(encoder.preprocessing.size, encoder.patch_size)
            self.pooling = self.head.make_decoder()

    def build(self, data: CaseData, labelled: Tensor, classes: Sequence[str]) -> None:
        """Initialise all parameters, from torch's global random state.

        Args:
            data: gives the widths; only its labelled cases are used.
            labelled: numbers of the labelled training cases.
            classes: classes of the dataset, or its regions; empty for a regression.
        """
        if data.encoder is not None:
            self.attach(data.encoder)
        target = data.train_target(labelled)
        width = self._build_pooling(data.shape, target)
        if self._has_moments:
            with torch.no_grad():
                mean, spread = running_moments(
                    self._features_to_standardise(batch) for batch in data.sample(labelled)
                )
            self.register_buffer("mean", mean)
            self.register_buffer("spread", spread)
        self._build_head(width, target, classes)

    def _build_pooling(self, shape: Mapping[str, Any], target: Tensor) -> int:
        """Initialise the pooling or the decoder; return the width of the head's input."""
        if isinstance(self.head, SegmentationHead) and isinstance(self.pooling, Decoder):
            self.pooling.outputs = self.head.count_outputs(target)
        return self.pooling.build(**shape)

    def _build_head(self, width: int, target: Tensor, classes: Sequence[str]) -> None:
        """Initialise the head, after the pooling or the decoder."""
        self.head.build(width, target, classes)
        if isinstance(self.head, SegmentationHead) and isinstance(self.pooling, Decoder):
            self.head.build_auxiliary(self.pooling.level_widths[1:])

    def attach(self, encoder: Encoder) -> None:
        """Take an encoder into the loop; with `unfreeze`, or stochastic depth, a copy of it."""
        if self.unfreeze:
            self.trained = copy.deepcopy(encoder).requires_grad_(True).train()
        else:
            if self.drop_path:
                encoder = copy.deepcopy(encoder)
                self._drops = tuple(drop_paths(encoder, self.drop_path))
            self._frozen = (encoder.freeze(),)

    def restore(self, saved: Mapping[str, Any], classes: Sequence[str], encoder: Encoder) -> None:
        """Restore a trained probe, in evaluation mode.

        Args:
            saved: result of `probe_state`.
            classes: classes of the dataset, or its regions.
            encoder: the encoder of the probe.

        Raises:
            RuntimeError: `saved` is of another pooling or head.
        """
        state = saved["state"]
        self.resolve(encoder)
        if saved["in_loop"]:
            self.attach(encoder)
        if self._has_moments:
            self.register_buffer("mean", torch.empty_like(state["mean"]))
            self.register_buffer("spread", torch.empty_like(state["spread"]))
        width = self._build_pooling(saved["shape"], saved["target"])
        self._build_head(width, saved["target"], classes)
        if isinstance(self.head, ClosedForm):
            self.head.reserve({name[5:]: value for name, value in state.items() if name[:5] == "head."})
        self.load_state_dict(state)
        self.eval().requires_grad_(False)

    def step_size(self, labelled: int) -> int:
        """Return the cases (or slices) per step of a training on `labelled` cases."""
        return self.batch_size or self.head.batch_size or labelled

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Return outputs (B, outputs) of features (B, M, D, dim) and the slice mask (B, M, D)."""
        output: Tensor = self.head(self.pooled(features, mask))
        return output

    def pooled(self, features: Tensor, mask: Tensor) -> Tensor:
        """Return the head's input (B, width) of features (B, M, D, dim) and slice mask (B, M, D)."""
        if self.standardises:
            features = (features - self.mean) / self.spread
        pooled: Tensor = self.pooling(features, mask)
        return pooled

    def forward_batch(self, batch: Batch) -> Tensor:
        """Return the outputs of a batch of any `CaseData`: (B, outputs), or (B, outputs, H, W)."""
        output: Tensor
        if "features" in batch:
            output = self(batch["features"], batch["mask"])
            return output
        batch = batch if "images" in batch else self._with_images(batch)
        if not isinstance(self.head, SegmentationHead):
            output = self(*self._features(batch))
            return output
        output = self.head(self._maps(batch)[0])
        if self.head.test_flips and not self.training:
            mirrored = self._maps(_mirrored(batch))[0]
            output = self.head.average(output, self.head(mirrored).flip(-1))
        return output

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch of `CaseData`; with `hard_empty`, set `false_pixels`."""
        if "features" not in batch:
            batch = self._with_images(batch)
            # Slices that the sampler has mirrored do not change further.
            if self.augment is not False and "flipped" not in batch:
                augment = Augmentation() if self.augment is True else self.augment
                labels = batch["target"] if self.head.dense else None
                images, labels = augment(batch["images"], labels)
                # Equal slices differ after their changes, so that none can stand for another one.
                batch = {name: value for name, value in batch.items() if name != "planes"}
                batch = {**batch, "images": images, "target": batch["target"] if labels is None else labels}
        for drop in self._drops:
            drop.train()
        if isinstance(self.head, SegmentationHead):
            finest, *coarser = self._maps(batch)
            output = self.head(finest)
            loss = self.head.supervised_loss(output, coarser, batch["target"])
            if self.head.hard_empty:
                self.false_pixels = self.head.false_pixels(output.detach(), batch["target"])
        else:
            loss = self.head.loss(self.forward_batch(batch), batch["target"])
        for drop in self._drops:
            drop.eval()
        self._losses.append(loss.detach() * len(batch["target"]))
        self._trained += len(batch["target"])
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Collect the evidence of a batch; metrics such as the AUROC need the whole part."""
        evidence = self.head.evidence(self.forward_batch(batch), batch["target"], batch["case"])
        self._evidence.append(evidence)

    def on_fit_start(self) -> None:
        """Move the frozen encoder, which is not a submodule, to the device of the probe."""
        for encoder in self._frozen:
            encoder.to(self.device)

    def on_validation_epoch_end(self) -> None:
        """Log the losses of both parts, and the head's metrics of the validation part.

        The training loss is logged here, once, because Lightning's averaging costs a fifth of a step.
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
        """Return the optimiser, with `encoder_lr` for a trained encoder, and its schedule if any."""
        settings = self.optimizer_settings
        probe = [value for name, value in self.named_parameters() if not name.startswith("trained.")]
        groups: list[dict[str, Any]] = [{"params": probe}]
        if self.unfreeze:
            groups.append({"params": list(self.trained.parameters()), "lr": self.encoder_lr})
        kind = torch.optim.Adam if settings.coupled else torch.optim.AdamW
        optimiser = kind(groups, lr=settings.lr, betas=settings.betas, weight_decay=settings.weight_decay)
        if not settings.decay:
            return optimiser
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: settings.lr_factor(step, steps))
        return [optimiser], [{"scheduler": schedule, "interval": "step"}]

    @staticmethod
    def _with_images(batch: Batch) -> Batch:
        slices, scale, zero_point = batch["slices"], batch["scale"], batch["zero_point"]
        if "planes" in batch and slices.ndim == 5:
            # Neighbours (B, K, M, H, W) have the scale of their scan.
            scale, zero_point = (value[:, None].expand(slices.shape[:3]) for value in (scale, zero_point))
        return {**batch, "images": decode(slices, scale, zero_point)}

    def _tokens(self, batch: Batch) -> Tensor:
        """Return the patch tokens of slices; those of scans that are not cached are computed.

        See `Decoder.tokens`.
        """
        network, decoder, images, present = self.network, self.pooling, _stacked(batch), batch["present"]
        assert network is not None
        assert isinstance(decoder, Decoder)
        planes = batch.get("planes")
        if "tokens" not in batch:
            return decoder.tokens(network, images, present, planes)
        tokens, missing = batch["tokens"].to(images.dtype), present & ~batch["cached"]
        if (rows := missing.any(dim=1)).any():
            numbers = None if planes is None else planes[rows]
            # Either one is 0.
            tokens[rows] += decoder.tokens(network, images[rows], missing[rows], numbers)
        return tokens

    def _maps(self, batch: Batch) -> list[Tensor]:
        """Return the maps of slices, the finest (B, width, H, W) first; see `Decoder.levels`."""
        decoder = self.pooling
        assert isinstance(decoder, Decoder)
        tokens = self._tokens(batch)
        if self._has_moments:
            tokens = (tokens - self.mean[:, None, None]) / self.spread[:, None, None]
        if not decoder.use_tokens:
            tokens = torch.zeros_like(tokens)
        return decoder.levels(tokens, _stacked(batch), batch["present"])

    def _features(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the features (B, M, D, dim) of cases and the mask (B, M, D) of slices.

        D is 1 if pooling over slices has no parameters: it is done here.
        """
        assert self.network is not None
        assert isinstance(self.pooling, Pooling)
        images, mask, patches = batch["images"], batch["mask"], self.pooling.patches
        features = encode_cases(self.network, images, mask, MAX_SLICES, patches)
        if self.pooling.trains_on_slices:
            return features, mask
        return self.pooling.pool_slices(features, mask).unsqueeze(2), mask.any(dim=2, keepdim=True)

    def _features_to_standardise(self, batch: Batch) -> Tensor:
        """Return the features of slices or scans, or the patch tokens, of a batch, (n, dim)."""
        if "features" in batch:
            return batch["features"][batch["mask"]]
        assert self.network is not None
        device = next(self.network.parameters()).device
        batch = self._with_images({name: value.to(device) for name, value in batch.items()})
        if self.head.dense:
            self.pooling.to(device)
            tokens = self._tokens(batch)
            if tokens.ndim > 4:
                # Without the zeros of missing modalities.
                tokens = tokens.transpose(1, 2)[batch["present"]]
            return tokens.movedim(-3, -1).flatten(0, -2)
        features, mask = self._features(batch)
        return features[mask]


def _mirrored(batch: Batch) -> Batch:
    """Return a batch with its slices mirrored left to right, and their cached tokens."""
    tokens = {"tokens": batch["mirrored"]} if "mirrored" in batch else {}
    return {**batch, "images": batch["images"].flip(-1), **tokens}


def _stacked(batch: Batch) -> Tensor:
    """Return the pixels of slices and their neighbours, (B, K, M, H, W)."""
    images = batch["images"]
    return images.unsqueeze(1) if images.ndim == 4 else images
