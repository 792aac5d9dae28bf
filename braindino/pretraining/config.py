"""Settings of the teacher, the losses and Gram anchoring; the defaults are published values."""

from dataclasses import dataclass

from braindino.pretraining import limits
from braindino.pretraining.schedules import Schedule


@dataclass(frozen=True)
class TeacherConfig:
    """Moving average and centring; lengths in optimiser steps.

    Defaults: method.md "Pretraining".

    Args:
        momentum: teacher = momentum * teacher + (1 - momentum) * student after every optimiser step.
        momentum_final: None keeps it constant; a number is reached by a half cosine (1.0 in DINOv2).
        temperature: temperature of the targets, after the warm-up.
        temperature_start: temperature of the targets at step 0.
        temperature_warmup_steps: length of the linear warm-up from `temperature_start` to `temperature`.
        sinkhorn_iterations: iterations of the centring.

    Raises:
        BraindinoError: a number out of range.
    """

    momentum: float = 0.994
    momentum_final: float | None = None
    temperature: float = 0.07
    temperature_start: float = 0.04
    temperature_warmup_steps: int = 30_000
    sinkhorn_iterations: int = 3

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        limits.fraction(self, "teacher", "momentum", "momentum_final")
        limits.positive(self, "teacher", "temperature", "temperature_start", "sinkhorn_iterations")
        limits.not_negative(self, "teacher", "temperature_warmup_steps")

    def momentum_schedule(self) -> Schedule:
        """Return the momentum per optimiser step."""
        return Schedule(self.momentum, final=self.momentum_final)

    def temperature_schedule(self) -> Schedule:
        """Return the temperature of the targets per optimiser step."""
        return Schedule(self.temperature, self.temperature_start, self.temperature_warmup_steps)


@dataclass(frozen=True)
class LossConfig:
    """Weights of the losses. Defaults: method.md "Pretraining".

    Args:
        dino: factor of the cross entropy of CLS tokens.
        ibot: factor of the cross entropy of masked patches.
        koleo: factor of KoLeo, summed over the two global crops.
        koleo_over_processes: search KoLeo's nearest neighbour over all processes (stage 2) instead of within
            each.
        local_weight: factor of the local crops' part of DINO; 0.5 in stage 2.
        student_temperature: temperature of the student's softmax.

    Raises:
        BraindinoError: a number out of range.
    """

    dino: float = 1.0
    ibot: float = 1.0
    koleo: float = 0.1
    koleo_over_processes: bool = False
    local_weight: float = 1.0
    student_temperature: float = 0.1

    def __post_init__(self) -> None:
        """Refuse negative weights, and a temperature that is not above 0."""
        limits.not_negative(self, "losses", "dino", "ibot", "koleo", "local_weight")
        limits.positive(self, "losses", "student_temperature")


@dataclass(frozen=True)
class GramConfig:
    """Gram anchoring (DINOv3, section 4.2). Stage 2 uses weight 1.5 (method.md "Pretraining").

    Args:
        weight: factor of the loss; 0 turns it off, and then there is no Gram teacher.
        teacher: weights of the frozen Gram teacher, in the forms of `init_from`; None takes those of
            `init_from` itself, the teacher of stage 1.
    """

    weight: float = 0.0
    teacher: str | None = None
