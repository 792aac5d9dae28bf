"""ViTEncoder: a 2-D vision transformer of timm, such as its DINOv3 architecture."""

import difflib
import math
from collections.abc import Sequence
from typing import Any

import timm
import torch
from torch import Tensor, nn

from braindino.encoders.base import Encoder
from braindino.errors import BraindinoError
from braindino.identity import stable_id
from braindino.scans.contract import Preprocessing

# timm would fetch or unpickle the files that these name, and the arguments may come from a stranger's file.
_ABOUT_WEIGHTS = {"pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir"}


def create_vit(
    architecture: str,
    in_chans: int = 3,
    drop_path: float = 0.0,
    norm_eps: float | str | None = None,
    **model_args: Any,
) -> nn.Module:
    """Return a randomly initialised timm ViT, whose output is the CLS token after the last norm.

    Args:
        architecture: a timm name such as `vit_base_patch16_dinov3` (RoPE, 4 registers, LayerScale 1e-5: the
            encoder of BrainDINO; method.md "Encoder").
        in_chans: 3 repeats the grey slice, as natural-image weights need; 1 takes it as it is.
        drop_path: rate of stochastic depth at the last block, rising linearly from 0 at the first.
        norm_eps: eps of all LayerNorms; None for timm's, which is 1e-5 in DINOv3's architectures as in Meta's
            published models. BrainDINO's own model has 1e-6.
        model_args: passed to timm (`patch_size`, `embed_dim`, `depth`, `num_heads`, `init_values`, ...).

    Raises:
        BraindinoError: timm has no such architecture, or refuses an argument, or one is about weights.
    """
    if foreign := sorted(_ABOUT_WEIGHTS & model_args.keys()):
        raise BraindinoError(
            f"model_args: {foreign[0]!r} is about weights, not the architecture, and is refused.\n"
            "Start from weights by naming them: model.encoder for a probe, model.init_from for pretraining."
        )
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(module="eva"), n=3, cutoff=0.3)
        raise BraindinoError(
            f"architecture {architecture!r} is not known to timm {timm.__version__}.\n"
            f"Nearest: {', '.join(near) or 'none'}."
        )
    arguments = {"global_pool": "token", "num_classes": 0, "in_chans": in_chans, **model_args}
    if drop_path:
        arguments["drop_path_rate"] = drop_path
    try:
        model: nn.Module = timm.create_model(architecture, pretrained=False, **arguments)
    except Exception as error:  # of many kinds: timm hands arguments on to whatever uses them
        reason = str(error).partition("\n")[0][:200] or type(error).__name__
        raise BraindinoError(
            f"timm cannot build {architecture} with {str(arguments)[:400]}: {reason}"
        ) from error
    if norm_eps is not None:
        _set_norm_eps(model, norm_eps)
    return model


def _set_norm_eps(model: nn.Module, norm_eps: float | str) -> None:
    """Set the eps of all LayerNorms."""
    try:
        eps = float(norm_eps)  # YAML reads 1e-6 as text
    except (TypeError, ValueError):
        eps = math.nan
    if not 0 < eps < 1:
        raise BraindinoError(f"model_args: norm_eps {norm_eps!r}: expected a number between 0 and 1.")
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = eps


@stable_id("ViTEncoder")
class ViTEncoder(Encoder):
    """Encode slices by a timm ViT.

    Args:
        model: a timm ViT with `num_classes=0` (see `create_vit`).
        preprocessing: the contract that the weights were trained under.
        architecture: a timm name, by which `create_vit` builds the same network again.
        model_args: the other arguments of `create_vit`.

    Raises:
        BraindinoError: the contract's slice size is not a multiple of the patch size.
    """

    def __init__(
        self, model: nn.Module, preprocessing: Preprocessing, architecture: str, model_args: dict[str, Any]
    ) -> None:
        super().__init__()
        self.model = model
        self.preprocessing = preprocessing
        self.architecture = architecture
        self.model_args = dict(model_args)
        self.embed_dim = int(model.num_features)  # type: ignore[arg-type]
        self.patch_size = int(model.patch_embed.patch_size[0])  # type: ignore[union-attr, index]
        self.in_chans = int(model.patch_embed.proj.in_channels)  # type: ignore[union-attr, arg-type]
        self.blocks = len(model.blocks)  # type: ignore[arg-type]
        if any(side % self.patch_size for side in preprocessing.size):
            raise BraindinoError(
                f"slices of {preprocessing.size[0]} x {preprocessing.size[1]} pixels do not divide into "
                f"patches of {self.patch_size}.\n"
                f"Prepare the store with a size that is a multiple of {self.patch_size}."
            )
        self.freeze()

    def untrained(self, seed: int = 0) -> "ViTEncoder":
        """Return the same architecture and contract with random weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = create_vit(self.architecture, **self.model_args)
        return ViTEncoder(model, self.preprocessing, self.architecture, self.model_args)

    def description(self) -> dict[str, Any]:
        """Return the timm name and arguments; the pooling is always the CLS token."""
        arguments = {name: value for name, value in self.model_args.items() if name != "global_pool"}
        return {"architecture": self.architecture, "model_args": arguments}

    def _channels(self, slices: Tensor) -> Tensor:
        """Repeat grey slices to fill the channels of the network."""
        return slices.expand(-1, self.in_chans, -1, -1)

    def forward(self, slices: Tensor) -> Tensor:
        """Return the CLS tokens of slices, equal to timm's output to the bit; see `Encoder`."""
        features: Tensor = self.model(self._channels(slices))
        return features

    def with_mean_patch(self, slices: Tensor) -> Tensor:
        """Return CLS token and mean patch token in one pass; see `Encoder.with_mean_patch`."""
        tokens = self.model.forward_features(self._channels(slices))  # type: ignore[operator]
        first = int(self.model.num_prefix_tokens)  # type: ignore[arg-type]
        cls = self.model.forward_head(tokens)  # type: ignore[operator]
        return torch.cat([cls, tokens[:, first:].mean(dim=1)], dim=1)

    def patch_maps(self, slices: Tensor, blocks: Sequence[int]) -> list[Tensor]:
        """Return the patch tokens after each of `blocks`, normed; see `Encoder.patch_maps`."""
        maps: list[Tensor] = self.model.forward_intermediates(  # type: ignore[operator]
            self._channels(slices), indices=list(blocks), norm=True, intermediates_only=True
        )
        return maps
