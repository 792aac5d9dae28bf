"""Compare a whole training run with steps on resident tensors, in slices per second.

For a GPU; the defaults are ViT-B, bf16, 100 slices. It also runs on a CPU, to test the script:

    python benchmarks/gpu_training.py --store store
    python benchmarks/gpu_training.py --store store --model tiny --batch 4 --steps 4 --precision 32-true
"""

import argparse
import time

import lightning.pytorch as pl
import torch

from braindino.datasets import SliceDataModule
from braindino.pretraining import DINOModule

# Dense bf16 FLOP/s, from the vendor's data sheets.
PEAK = {"H100": 989e12, "H200": 989e12, "A100": 312e12}


class Watch(pl.Callback):
    """Measure the seconds after the first `skip` steps, and of waiting for data."""

    def __init__(self, skip: int) -> None:
        self.skip, self.seconds, self.waited, self.steps = skip, 0.0, 0.0, 0
        self._start = self._last = 0.0

    @staticmethod
    def now() -> float:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter()

    def on_train_batch_start(self, trainer: pl.Trainer, *args: object) -> None:
        if trainer.global_step > self.skip:
            self.waited += time.perf_counter() - self._last

    def on_train_batch_end(self, trainer: pl.Trainer, *args: object) -> None:
        if trainer.global_step == self.skip:
            self._start = self.now()
        self._last = time.perf_counter()
        if trainer.global_step == trainer.max_steps:
            self.seconds, self.steps = self.now() - self._start, trainer.global_step - self.skip


class Resident(pl.LightningDataModule):
    """Yield one batch of the store, resident on the device, in every step."""

    def __init__(self, source: SliceDataModule, device: torch.device) -> None:
        super().__init__()
        self.contract = source.contract
        batch = next(iter(source.train_dataloader()))
        self.batch = {name: value.to(device) for name, value in batch.items()}

    def train_dataloader(self) -> "Resident":
        return self

    def __iter__(self) -> "Resident":
        return self

    def __next__(self) -> dict[str, torch.Tensor]:
        return self.batch


def flops(module: DINOModule, batch: int) -> float:
    """Return the FLOPs of a step: 2 per weight and token forwards, 4 backwards, no attention."""
    views, backbone = module.views.resolutions()[0], module.student.backbone
    patch = backbone.patch_embed.patch_size[0]
    prefix = backbone.num_prefix_tokens
    global_ = 2 * ((views.global_size // patch) ** 2 + prefix)
    local = module.views.local_crops * ((views.local_size // patch) ** 2 + prefix)
    weights = sum(p.numel() for p in backbone.blocks.parameters() if p.ndim == 2)
    head = sum(p.numel() for p in module.student.dino_head.parameters() if p.ndim == 2)
    masked = 2 * module.masks.share * sum(module.masks.ratio) / 2 * (views.global_size // patch) ** 2
    student = weights * (global_ + local) + head * (2 + module.views.local_crops + masked)
    teacher = weights * global_ + head * (2 + masked)
    return batch * (6 * student + 2 * teacher)


def run(args: argparse.Namespace, module: DINOModule, data: pl.LightningDataModule) -> Watch:
    watch = Watch(args.skip)
    trainer = pl.Trainer(
        max_steps=args.skip + args.steps,
        precision=args.precision,
        devices=1,
        callbacks=[watch],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, data)
    return watch


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", required=True, help="folder filled by `braindino prepare`")
    parser.add_argument("--model", choices=["tiny", "small", "base", "large"], default="base")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--skip", type=int, default=20, help="steps before the clock starts")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--precision", default="bf16-mixed")
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def module() -> DINOModule:
        return DINOModule(f"vit_{args.model}_patch16_dinov3_qkvb", in_chans=1, compile=args.compile)

    def data() -> SliceDataModule:
        return SliceDataModule(
            args.store, batch_size=args.batch, num_workers=args.workers, steps_per_epoch=10**6
        )

    source = data()
    source.prepare_data()
    source.setup("fit")
    step = run(args, module(), Resident(source, device))
    whole = run(args, module(), data())
    print(f"{args.model}, batch {args.batch}, {args.precision}, {name}, {args.workers} workers")
    rates = [args.batch * w.steps / w.seconds for w in (step, whole)]
    print(f"{'slices in memory':<22}{rates[0]:10.1f} slices/s")
    print(f"{'whole run':<22}{rates[1]:10.1f} slices/s   {rates[1] / rates[0]:.1%} of it")
    print(f"{'waiting for data':<22}{whole.waited / whole.seconds:10.2%}")
    done = flops(module(), args.batch) / args.batch * rates[1]
    peak = next((p for key, p in PEAK.items() if key in name), None)
    print(f"{'arithmetic':<22}{done / 1e12:10.2f} TFLOP/s" + (f"   MFU {done / peak:.1%}" if peak else ""))
    if device.type == "cuda":
        print(f"{'peak memory':<22}{torch.cuda.max_memory_allocated() / 2**30:10.2f} GiB")


if __name__ == "__main__":
    main()
