"""Compare epochs of a segmentation with cached tokens with epochs that run the encoder.

Two studies: hippocampus crops (Medical Segmentation Decathlon, Task04) with the ViT of `pretrain_tiny.yaml`,
and FLAIR volumes of open_ms with a ViT-S/16 on 12 slices of 224 x 224 per scan. Weights are random: the time
does not depend on them. In each, the same slices are drawn for the decoder `paper`, which cannot be cached,
and for `conv` and `linear` with and without the cache. An epoch trains on 16 slices per training case and
decodes all slices of the validation cases, in float32 on one thread. Times are those of the processor, so
that other work on the machine changes them little; reading from a slow disk is not part of them.

    OMP_NUM_THREADS=1 python benchmarks/token_cache.py ../shared/data --work token_cache_work

Writes `benchmarks/results/token_cache.md`.
"""

import argparse
import copy
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import torch
from nibabel.processing import resample_from_to

from braindino.datasets import Cohort
from braindino.datasets.grid_masks import grid_masks
from braindino.encoders.base import Encoder
from braindino.encoders.vit import ViTEncoder, create_vit
from braindino.probing import FrozenProbeModule, Protocol, SegmentationHead
from braindino.probing.data.cases import ProbeCases
from braindino.probing.data.slices import CaseSlices, MaskedCases
from braindino.probing.data.tokens import cached_tokens
from braindino.scans.contract import Preprocessing

RESULTS = Path(__file__).parent / "results" / "token_cache.md"
ARMS = [("paper", False), ("conv", False), ("conv", True), ("linear", False), ("linear", True)]


@dataclass(frozen=True)
class Study:
    """Data and encoder of a comparison.

    Attributes:
        name: text of the table.
        data: the labelled cases.
        encoder: the encoder.
        train: number of training cases of an epoch.
        validation: number of validation cases of an epoch.
    """

    name: str
    data: Cohort
    encoder: Encoder
    train: int
    validation: int


def encoder_of(architecture: str, contract: Preprocessing, **sizes: Any) -> ViTEncoder:
    """Return a ViT with random weights."""
    torch.manual_seed(0)
    arguments = {"in_chans": 1, "init_values": 1.0, **sizes}
    return ViTEncoder(create_vit(architecture, **arguments), contract, architecture, arguments)


def hippocampus(data: Path, work: Path) -> Study:
    images = sorted((data / "hippocampus" / "images").glob("*.nii.gz"))[:30]
    rows = [(p.name, p.resolve(), (data / "hippocampus" / "labels" / p.name).resolve()) for p in images]
    regions = {"anterior": [1], "posterior": [2]}
    sizes = {"patch_size": 8, "embed_dim": 96, "depth": 4, "num_heads": 3}
    encoder = encoder_of("vit_tiny_patch16_dinov3_qkvb", Preprocessing(depth=None, size=(48, 32)), **sizes)
    return Study("hippocampus, tiny ViT/8", cohort(rows, work / "hippocampus", regions), encoder, 8, 3)


def open_ms(data: Path, work: Path) -> Study:
    folders = sorted((data / "corpus" / "open_ms").glob("mni_*"))
    work.mkdir(parents=True, exist_ok=True)
    rows = []
    for folder in folders:
        scan, mask = folder / f"{folder.name}_FLAIR.nii.gz", work / f"{folder.name}_lesions.nii.gz"
        # Masks are on the grid of MNI, scans in a part of it.
        lesions = resample_from_to(nib.load(folder / mask.name), nib.load(scan), order=0)
        nib.save(nib.Nifti1Image(np.asarray(lesions.dataobj).astype(np.uint8), lesions.affine), mask)
        rows.append((folder.name, scan.resolve(), mask.resolve()))
    encoder = encoder_of("vit_small_patch16_dinov3_qkvb", Preprocessing(depth=12, size=(224, 224)))
    return Study("open_ms, ViT-S/16", cohort(rows, work / "open_ms", {"lesion": [1]}), encoder, 1, 1)


def cohort(rows: list[tuple[str, Path, Path]], work: Path, regions: dict[str, list[int]]) -> Cohort:
    """Return scans with their masks as a cohort with a store."""
    work.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, columns=["id", "scan", "mask"]).to_csv(work / "cases.csv", index=False)
    return Cohort(
        work / "cases.csv",
        work / "store",
        prepare=True,
        task="segmentation",
        regions=regions,
        path={"T1w": "scan", "mask": "mask"},
        dataset=work.name,
    )


def timed(call: Callable[..., Any], spent: dict[str, float], name: str) -> Callable[..., Any]:
    """Return a function that adds the time of its calls to `spent[name]`."""

    def wrapped(*arguments: Any, **options: Any) -> Any:
        start = time.process_time()
        result = call(*arguments, **options)
        spent[name] += time.process_time() - start
        return result

    return wrapped


def batches(loader: Iterable[dict[str, Any]], spent: dict[str, float]) -> Iterator[dict[str, Any]]:
    """Yield the batches, and add the time that they take to `spent["load"]`."""
    following = timed(iter(loader).__next__, spent, "load")
    while True:
        try:
            yield following()
        except StopIteration:
            return


def epoch(module: FrozenProbeModule, train: Any, validation: Any) -> dict[str, float]:
    """Run an epoch; return its seconds, and the parts for the encoder and for loading."""
    spent = {"encode": 0.0, "load": 0.0}
    decoder: Any = module.pooling
    compute = type(decoder).tokens
    decoder.tokens = timed(lambda *arguments: compute(decoder, *arguments), spent, "encode")
    optimiser = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=1e-4)
    start = time.process_time()
    module.train()
    for number, batch in enumerate(batches(train, spent)):
        optimiser.zero_grad()
        module.training_step(batch, number).backward()
        optimiser.step()
    spent["train"] = time.process_time() - start
    module.eval()
    with torch.no_grad():
        for batch in batches(validation, spent):
            module.head.evidence(module.forward_batch(batch), batch["target"], batch["case"])
    spent["epoch"] = time.process_time() - start
    return spent


def measure(study: Study, folder: Path, epochs: int) -> Iterator[list[str]]:
    """Yield a row of the table for each arm."""
    data = study.data
    data.use_contract(study.encoder.preprocessing)
    data.prepare_data()
    data.setup()
    masks, unusable = grid_masks(data)
    cases = ProbeCases.of(data, SegmentationHead(), "mask", unusable)
    chosen = pd.concat([cases.part("train")[: study.train], cases.part("val")[: study.validation]])
    # Only the cases of an epoch are cached.
    cases = copy.copy(cases)
    object.__setattr__(cases, "table", chosen.reset_index(drop=True))
    masked = MaskedCases(cases, data, masks)
    parts = [torch.tensor(cases.part(name).index.to_numpy()) for name in ("train", "val")]
    for decoder, is_cached in ARMS:
        head = SegmentationHead(decoder=decoder)
        module = FrozenProbeModule("", head, augment=False)
        module.resolve(study.encoder)
        size = head.image_size or study.encoder.preprocessing.size
        start = time.process_time()
        protocol = Protocol(seeds=[0], cache=folder / decoder, cache_gb=20.0 * is_cached)
        tokens = cached_tokens(study.encoder, module, cases, masked, protocol)
        filling = time.process_time() - start
        slices = CaseSlices(masked, study.encoder, head, tokens=tokens)
        torch.manual_seed(0)
        module.build(slices, parts[0], cases.classes)
        train, validation = slices.loader(parts[0], 16, shuffle=0), slices.loader(parts[1], 16)
        runs = [epoch(module, train, validation) for _ in range(epochs)]
        best = min(runs, key=lambda spent: spent["epoch"])
        whole = best["epoch"]
        decoding = whole - best["encode"] - best["load"]
        row = [study.name, decoder, " x ".join(map(str, size)), "cached" if is_cached else "in the loop"]
        row += [f"{best['train']:.2f}", f"{whole - best['train']:.2f}", f"{whole:.2f}", f"{60 / whole:.1f}"]
        row += [f"{part / whole:.0%}" for part in (best["encode"], decoding, best["load"])]
        scans = 0 if tokens is None else len(tokens.keys)
        size_mb = 0.0 if tokens is None else tokens.cache.size() / scans / 1e6
        row += [f"{filling:.0f}", f"{size_mb:.1f}"] if is_cached else ["", ""]
        print(" | ".join(row), flush=True)
        yield row


def ratios(rows: list[list[str]]) -> list[str]:
    """Return a sentence per study about the time of an epoch of `conv` with the cache."""
    lines = []
    for name in dict.fromkeys(row[0] for row in rows):
        seconds = {(row[1], row[3]): float(row[6]) for row in rows if row[0] == name}
        cached = seconds["conv", "cached"]
        against = [seconds[arm, "in the loop"] / cached for arm in ("paper", "conv")]
        linear = seconds["linear", "in the loop"] / seconds["linear", "cached"]
        lines.append(
            f"- {name}: without the cache an epoch of `conv` takes {against[1]:.1f} times as long, one of "
            f"`linear` {linear:.1f} times. One of `paper`, whose slices are not enlarged, takes "
            f"{against[0]:.1f} times as long as `conv` with the cache."
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, default=Path("token_cache_work"))
    parser.add_argument("--studies", nargs="+", choices=["hippocampus", "open_ms"])
    parser.add_argument("--epochs", type=int, default=1, help="the fastest of so many is reported")
    options = parser.parse_args()
    makers = {"hippocampus": hippocampus, "open_ms": open_ms}
    rows = []
    for name in options.studies or makers:
        study = makers[name](options.data, options.work)
        rows += list(measure(study, options.work / name / f"tokens_{time.time_ns()}", options.epochs))
    heads = [
        *("data, encoder", "decoder", "image_size", "tokens", "training s", "validation s", "epoch s"),
        *("epochs / min", "encoder", "decoder", "loading", "filling the cache s", "MB / scan"),
    ]
    table = [f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows)]
    timing = "one epoch each" if options.epochs == 1 else f"the fastest of {options.epochs} epochs each"
    text = [
        "# Token cache",
        "",
        f"`OMP_NUM_THREADS={torch.get_num_threads()} python benchmarks/token_cache.py DATA "
        f"{' '.join(sys.argv[2:])}`".replace(str(options.work), "WORK"),
        f"on {date.today().isoformat()}: float32, {torch.get_num_threads()} thread of a CPU, seconds of the "
        f"processor; {timing}. Scans have about 36 (hippocampus) and 12 slices. Entries were in memory: "
        "a cold disk adds its time to that of loading.",
        "",
        *table,
        "",
        *ratios(rows),
    ]
    RESULTS.write_text("\n".join(text) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
