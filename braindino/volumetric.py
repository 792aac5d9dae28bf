"""Former name of `braindino.brainsegfounder`, for configs that name its modules by it."""

from braindino.brainsegfounder import SwinSSLModule, SwinUNETRModule

__all__ = ["SwinSSLModule", "SwinUNETRModule"]
