"""Write the README and the LICENSE of an exported encoder."""

from collections.abc import Sequence

from braindino.encoders.vit import ViTEncoder
from braindino.scans.seen import Seen, is_person_digest
from braindino.version import __version__

_CARD = """---
library_name: timm
pipeline_tag: image-feature-extraction
tags: [medical-imaging, brain-mri, self-supervised-learning, dino]
{licence}
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

With braindino (reads the contract, refuses a store prepared with a different one):

```
braindino probe --config adni_cls.yaml --data.root my_scans --model.encoder {folder}
```

With timm alone (you prepare the slices; (N, {channels}, {height}, {width}), float32, background 0):

```python
import timm

model = timm.create_model("local-dir:{folder}", pretrained=True).eval()
{norms}```
{graphs}
## Limits

For research. Not a medical device; no clinical claim is made. Performance on scanners, sequences, ages and
diseases other than those pretrained on is unknown until measured. The licence of the weights (`LICENSE`)
follows the data that they were trained on. `pretraining_people.txt` lists the people and scans they were
trained on ({how}), so that evaluations can find the people they share: anyone who has a scan, or guesses an
id, can see if it is listed. The owners of the data decide if the list may be shared.
"""

_NORMS = """import torch
for norm in model.modules():  # these weights were trained with another eps than timm's
    if isinstance(norm, torch.nn.LayerNorm):
        norm.eps = {eps:g}
"""

_GRAPHS = """
Without Python code of a model: {files}. Input `slices` (N, 1, H, W) float32, prepared as above, any N and any
sides that are multiples of {patch}; outputs `cls` (N, {embed_dim}) and `patches` (N, H/{patch} * W/{patch},
{embed_dim}), row by row. They were compared with the original when they were written.
"""

_UNSTATED = """The licence of these weights has not been stated.

Weights follow the terms of the data that they were trained on (`README.md` has the number of people,
and `pretraining_people.txt` lists them). Replace this file with the licence under which you share them,
and the entries `license`, `license_name` and `license_link` at the top of `README.md`.
"""

_STATED = """These weights are shared under: {licence}

Put the full text of that licence here before you share them. The software braindino is under Apache-2.0.
"""


def _people(seen: Seen | None) -> str:
    """Return the number of people seen in pretraining, with the gaps of the list."""
    if seen is None:
        return "not recorded"
    listed = f"{len(seen.people)} (listed in `pretraining_people.txt`)"
    return f"{listed}; **incomplete**: {'; '.join(seen.gaps)}" if seen.gaps else listed


def _how(seen: Seen | None) -> str:
    """Return the form in which people are listed."""
    plain = seen is not None and not all(map(is_person_digest, seen.people))
    return "ids, and digests of the scans" if plain else "digests of ids and of scans"


def licence_notice(licence: str | None) -> str:
    """Return the text of LICENSE.

    Args:
        licence: licence of the weights, None if not stated.
    """
    return _UNSTATED if licence is None else _STATED.format(licence=licence)


def model_card(
    encoder: ViTEncoder,
    steps: int,
    licence: str | None = None,
    graphs: Sequence[str] = (),
    folder: str = "encoder",
) -> str:
    """Return the text of README.md, with front matter as model hubs read it.

    Args:
        encoder: what the card describes, with `seen` as it is listed beside the card.
        steps: number of optimiser steps.
        licence: licence of the weights, None if not stated.
        graphs: names of the files that `write_graphs` made.
        folder: name of the encoder's folder in the examples.
    """
    contract = "\n".join(f"- `{key}`: {value}" for key, value in encoder.preprocessing.to_dict().items())
    height, width = encoder.preprocessing.size
    stated = (
        f"license: {licence}" if licence else "license: other\nlicense_name: unstated\nlicense_link: LICENSE"
    )
    files = ", ".join(f"`{name}`" for name in graphs)
    shown = (
        _GRAPHS.format(files=files, patch=encoder.patch_size, embed_dim=encoder.embed_dim) if graphs else ""
    )
    eps = encoder.model_args.get("norm_eps")
    norms = "" if eps is None else _NORMS.format(eps=float(eps))
    return _CARD.format(
        norms=norms,
        licence=stated,
        graphs=shown,
        architecture=encoder.architecture,
        parameters=sum(p.numel() for p in encoder.parameters()) / 1e6,
        patch=encoder.patch_size,
        embed_dim=encoder.embed_dim,
        version=__version__,
        steps=steps,
        people=_people(encoder.seen),
        how=_how(encoder.seen),
        contract=contract,
        folder=folder,
        channels=encoder.in_chans,
        height=height,
        width=width,
    )
