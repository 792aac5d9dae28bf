"""Probes: a pooling and a head trained on frozen features, by an honest protocol."""

from braindino.probing.days import DaysHead
from braindino.probing.heads import ClassificationHead, Head, RegressionHead
from braindino.probing.module import FrozenProbeModule
from braindino.probing.pooling import GatedAttentionPooling, MeanPooling, Pooling
from braindino.probing.protocol import Protocol
from braindino.probing.study import run_study
from braindino.probing.survival import SurvivalHead
from braindino.probing.table import results_table

__all__ = [
    "ClassificationHead",
    "DaysHead",
    "FrozenProbeModule",
    "GatedAttentionPooling",
    "Head",
    "MeanPooling",
    "Pooling",
    "Protocol",
    "RegressionHead",
    "SurvivalHead",
    "results_table",
    "run_study",
]
