"""The README of an exported encoder: what it is, how to load it, what it was made for, what it is not."""

from braindino import __version__
from braindino.encoders.vit import ViTEncoder

_CARD = """---
library_name: timm
tags: [medical-imaging, brain-mri, self-supervised-learning, dino]
license: other
---

# A brain MRI encoder, pretrained by self-distillation

| | |
|---|---|
| architecture | `{architecture}`, {parameters:.1f} M parameters, patch {patch} |
| features | {embed_dim} per slice |
| made with | braindino {version}, DINO + iBOT + KoLeo on unlabelled slices |
| optimiser steps | {steps} |
| people seen in pretraining | {people} |
| weights | the EMA teacher's backbone, float32, `model.safetensors` |

## Input contract

Features are only meaningful for slices prepared like this:

{contract}

## Load

With braindino (reads the contract, refuses a store prepared otherwise):

```
braindino probe --config adni_cls.yaml --data.root my_scans --model.encoder {folder}
```

With timm alone (you prepare the slices; (N, {channels}, {height}, {width}), float32, background 0):

```python
import timm
model = timm.create_model("local-dir:{folder}", pretrained=True).eval()
```

## Limits

For research. Not a medical device; no clinical claim is made. Performance on scanners, sequences, ages and
diseases other than those pretrained on is unknown until measured. The licence of the weights follows the data
that they were trained on: state it here before sharing them.
"""


def model_card(encoder: ViTEncoder, steps: int, people: int | None, folder: str = "encoder") -> str:
    """Markdown with front matter as model hubs read it."""
    contract = "\n".join(f"- `{key}`: {value}" for key, value in encoder.preprocessing.to_dict().items())
    height, width = encoder.preprocessing.size
    return _CARD.format(
        architecture=encoder.architecture,
        parameters=sum(p.numel() for p in encoder.parameters()) / 1e6,
        patch=encoder.patch_size,
        embed_dim=encoder.embed_dim,
        version=__version__,
        steps=steps,
        people="not recorded" if people is None else f"{people} (listed in `pretraining_people.txt`)",
        contract=contract,
        folder=folder,
        channels=encoder.in_chans,
        height=height,
        width=width,
    )
