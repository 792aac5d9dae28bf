"""Both sides of the self-distillation: a ViT, a DINO head on its CLS token, an iBOT head on its patches."""

from collections.abc import Iterator

import torch
from timm.models.eva import Eva
from torch import Tensor, nn

from braindino.pretraining.model.backbone import forward_tokens
from braindino.pretraining.model.heads import HeadConfig, ProjectionHead
from braindino.pretraining.model.rope import Rope, RopeConfig
from braindino.pretraining.sharding import local, put_away


class Trunk(nn.Module):
    """A backbone in timm's names, without heads.

    Args:
        backbone: see `create_backbone`.
    """

    def __init__(self, backbone: Eva) -> None:
        super().__init__()
        self.backbone = backbone
        self._rope = Rope()

    def tokens(self, images: Tensor, wanted: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """CLS (N, D) and patches of (N, 1, H, W), without masks or randomness; see `forward_tokens`."""
        return forward_tokens(self.backbone, images, self._table(images), wanted)

    def _table(self, images: Tensor) -> Tensor:
        return self._rope.table(self.backbone, *self.grid(images), images.device)

    def grid(self, images: Tensor) -> tuple[int, int]:
        """Rows and columns of whole patches."""
        patch_rows, patch_columns = self.backbone.patch_embed.patch_size
        return images.shape[-2] // patch_rows, images.shape[-1] // patch_columns


class Network(Trunk):
    """A backbone and the two heads; the student has a mask token besides.

    Args:
        backbone: see `create_backbone`.
        dino, ibot: sizes of the heads.
    """

    def __init__(self, backbone: Eva, dino: HeadConfig, ibot: HeadConfig) -> None:
        super().__init__(backbone)
        self.dino_head = ProjectionHead(backbone.embed_dim, dino)
        self.ibot_head = ProjectionHead(backbone.embed_dim, ibot)


class Student(Network):
    """The network that is trained: with a mask token, stochastic depth and changes of the RoPE coordinates.

    Args:
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
        """CLS tokens and patches of the masked global crops, and CLS tokens of the local ones.

        In training mode `generator` decides all that is random.

        Args:
            images: (2 B, 1, H, W). mask: (2 B, patches) bool. wanted: see `forward_tokens`.
            local_images: (L B, 1, h, w), L may be 0.
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
        """The last layers of both heads, which stay frozen at first."""
        yield self.dino_head.prototypes.weight
        yield self.ibot_head.prototypes.weight

    def parts(self) -> list[list[nn.Parameter]]:
        """Parameters by submodule, for clipping: backbone with mask token, DINO head, iBOT head."""
        backbone = [*self.backbone.parameters(), self.mask_token]
        return [backbone, list(self.dino_head.parameters()), list(self.ibot_head.parameters())]


class Teacher(Network):
    """The moving average of the student: never trained, always in eval mode, whatever calls `.train()`."""

    def __init__(self, backbone: Eva, dino: HeadConfig, ibot: HeadConfig) -> None:
        super().__init__(backbone, dino, ibot)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "Teacher":
        """Stay in eval mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """CLS tokens of (N, 1, H, W), and logits of these and of the `wanted` patches."""
        cls, patches = self.tokens(images, wanted)
        return cls, self.dino_head(cls), self.ibot_head(patches)

    @torch.no_grad()
    def follow(self, student: Student, weight: float | Tensor) -> None:
        """teacher += weight * (student - teacher), on all parameters; `weight` 1 copies the student.

        Of sharded networks each process moves its own part.
        """
        put_away(self)
        theirs = dict(student.named_parameters())
        own = local(list(self.parameters()))
        others = local([theirs[name] for name, _ in self.named_parameters()])
        if isinstance(weight, Tensor):
            torch._foreach_lerp_(own, others, [weight] * len(own))
        else:
            torch._foreach_lerp_(own, others, weight)
