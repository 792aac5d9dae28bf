"""Random numbers as a function of seed, batch and process, so that resumed runs repeat them."""

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Randomness:
    """Generators of one batch on one process.

    Attributes:
        host: generator for decisions that the host must know (boxes, masks, which slice is changed).
        shared: generator for decisions that are the same on all processes (the resolution of a batch).
        device: generator for numbers drawn on the accelerator (noise, stochastic depth).
    """

    host: np.random.Generator
    shared: np.random.Generator
    device: torch.Generator

    @classmethod
    def of(cls, seed: int, batch: int, process: int, device: torch.device) -> "Randomness":
        """Return the generators of a batch; streams of neighbouring numbers are unrelated.

        Args:
            seed: seed of the run.
            batch: number of the batch.
            process: number of the process.
            device: device of the generator for bulk numbers.
        """
        host, bulk = np.random.SeedSequence((seed, batch, process)).spawn(2)
        # A third child of process 0's sequence, which every process can create.
        shared = np.random.SeedSequence((seed, batch), spawn_key=(2,))
        generator = torch.Generator(device)
        # `manual_seed` refuses values above the signed range: 63 of the 64 bits are used.
        generator.manual_seed(int(bulk.generate_state(1, np.uint64)[0] >> np.uint64(1)))
        return cls(np.random.default_rng(host), np.random.default_rng(shared), generator)
