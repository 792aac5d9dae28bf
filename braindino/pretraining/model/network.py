"""Student and teacher: a ViT with a DINO head for CLS tokens and an iBOT head for patches."""

from collections.abc import Iterator

import torch
from timm.models.eva import Eva
from torch import Tensor, nn

from braindino.pretraining.model.backbone import forward_tokens
from braindino.pretraining.model.heads import DINOHead, HeadConfig
from braindino.pretraining.model.rope import Rope, RopeConfig
from braindino.pretraining.sharding import local, reshard


class Trunk(nn.Module):
    """Backbone in timm's names, without heads.

    Args:
        backbone: see `create_backbone`.
    """

    def __init__(self, backbone: Eva) -> None:
        super().__init__()
        self.backbone = backbone
        self._rope = Rope()

    def tokens(self, images: Tensor, wanted: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return CLS and patch tokens, without masks or randomness; see `forward_tokens`.

        Args:
            images: (N, 1, H, W).
            wanted: positions of the wanted patches; None for all.

        Returns:
            (N, D), and (N, patches, D) or (n, D).
        """
        return forward_tokens(self.backbone, images, self._table(images), wanted)

    def _table(self, images: Tensor) -> Tensor:
        return self._rope.table(self.backbone, *self.grid(images), images.device)

    def grid(self, images: Tensor) -> tuple[int, int]:
        """Return the rows and columns of whole patches in images (..., H, W)."""
        patch_rows, patch_columns = self.backbone.patch_embed.patch_size
        return images.shape[-2] // patch_rows, images.shape[-1] // patch_columns


class Network(Trunk):
    """Backbone and the two heads.

    Args:
        backbone: see `create_backbone`.
        dino: size of the head on CLS tokens.
        ibot: size of the head on patch tokens.
    """

    def __init__(self, backbone: Eva, dino: HeadConfig, ibot: HeadConfig) -> None:
        super().__init__(backbone)
        self.dino_head = DINOHead(backbone.embed_dim, dino)
        self.ibot_head = DINOHead(backbone.embed_dim, ibot)


class Student(Network):
    """Trained network, with a mask token, stochastic depth and changes of RoPE coordinates.

    Args:
        backbone: see `create_backbone`.
        dino: size of the head on CLS tokens.
        ibot: size of the head on patch tokens.
        rope: changes of the coordinates in training.
        drop_path: see `forward_tokens`.
        recompute: activation checkpointing.
    """

    def __init__(
        self,
        backbone: Eva,
        dino: HeadConfig,
        ibot: HeadConfig,
        rope: RopeConfig,
        drop_path: float,
        recompute: bool,
    ) -> None:
        super().__init__(backbone, dino, ibot)
        self.mask_token = nn.Parameter(torch.zeros(1, backbone.embed_dim))
        self.rope, self.drop_path, self.recompute = rope, drop_path, recompute

    def forward(
        self,
        images: Tensor,
        mask: Tensor,
        wanted: Tensor | None,
        local_images: Tensor,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return CLS tokens and patches of the masked global crops, and CLS of the local ones.

        Args:
            images: (2 B, 1, H, W).
            mask: (2 B, patches) bool.
            wanted: see `forward_tokens`.
            local_images: (L B, 1, h, w), L may be 0.
            generator: decides all that is random in training mode.

        Returns:
            (2 B, D); (2 B, patches, D) or (n, D); (L B, D).
        """
        cls, patches = self._masked_tokens(images, mask, wanted, generator)
        if not len(local_images):
            return cls, patches, cls[:0]
        nothing = torch.zeros(0, dtype=torch.long, device=images.device)
        return cls, patches, self._masked_tokens(local_images, None, nothing, generator)[0]

    def _masked_tokens(
        self, images: Tensor, mask: Tensor | None, wanted: Tensor | None, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        inputs = (wanted, mask, self.mask_token)
        if not self.training:
            return forward_tokens(self.backbone, images, self._table(images), *inputs)
        tables = self._rope.training_tables(
            self.backbone, *self.grid(images), images.device, self.rope, generator
        )
        return forward_tokens(
            self.backbone, images, tables, *inputs, self.drop_path, generator, self.recompute
        )

    def prototype_weights(self) -> Iterator[Tensor]:
        """Yield the last layers of both heads, which stay frozen at first."""
        yield self.dino_head.prototypes.weight
        yield self.ibot_head.prototypes.weight

    def parts(self) -> list[list[nn.Parameter]]:
        """Return the parameters by submodule, for clipping: backbone with mask token, the heads."""
        backbone = [*self.backbone.parameters(), self.mask_token]
        return [backbone, list(self.dino_head.parameters()), list(self.ibot_head.parameters())]


class Teacher(Network):
    """Moving average of the student: never trained, and in eval mode whatever calls `.train()`.

    Args:
        backbone: see `create_backbone`.
        dino: size of the head on CLS tokens.
        ibot: size of the head on patch tokens.
    """

    def __init__(self, backbone: Eva, dino: HeadConfig, ibot: HeadConfig) -> None:
        super().__init__(backbone, dino, ibot)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "Teacher":
        """Stay in eval mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return CLS tokens of the images, and logits of these and of the wanted patches.

        Args:
            images: (N, 1, H, W).
            wanted: (n,) see `forward_tokens`.

        Returns:
            (N, D), (N, prototypes), (n, prototypes).
        """
        cls, patches = self.tokens(images, wanted)
        return cls, self.dino_head(cls), self.ibot_head(patches)

    @torch.no_grad()
    def ema_update(self, student: Student, weight: float | Tensor) -> None:
        """Move all parameters towards the student's: teacher += weight * (student - teacher).

        Each process updates its part of sharded networks.

        Args:
            student: student of the same sizes.
            weight: 1 - momentum; 1 copies the student.
        """
        reshard(self)
        student_parameters = dict(student.named_parameters())
        averages = local(list(self.parameters()))
        targets = local([student_parameters[name] for name, _ in self.named_parameters()])
        if isinstance(weight, Tensor):
            torch._foreach_lerp_(averages, targets, [weight] * len(averages))
        else:
            torch._foreach_lerp_(averages, targets, weight)
