"""Former name of `braindino.synthetic.rendering`, for scripts of users that import from it."""

from braindino.synthetic.rendering import Lesion, Rendered, render
from braindino.synthetic.rendering import SyntheticHead as Head

__all__ = ["Head", "Lesion", "Rendered", "render"]
