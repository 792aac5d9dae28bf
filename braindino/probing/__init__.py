"""Probes: a pooling and a head trained on the features of a frozen encoder, and evaluated."""

from braindino.probing.augmentation import Augmentation
from braindino.probing.heads.base import Head
from braindino.probing.heads.classification import ClassificationHead
from braindino.probing.heads.closed_form import CoxNetHead, KNNHead, LogisticHead, RidgeHead
from braindino.probing.heads.regression import DaysHead, RegressionHead
from braindino.probing.heads.segmentation import SegmentationHead
from braindino.probing.heads.survival import SurvivalHead
from braindino.probing.module import FrozenProbeModule
from braindino.probing.pooling import GatedAttentionPooling, MeanPooling, Pooling
from braindino.probing.protocol import Protocol
from braindino.probing.study import run_study
from braindino.probing.table import results_table

__all__ = [
    "Augmentation",
    "ClassificationHead",
    "CoxNetHead",
    "DaysHead",
    "FrozenProbeModule",
    "GatedAttentionPooling",
    "Head",
    "KNNHead",
    "LogisticHead",
    "MeanPooling",
    "Pooling",
    "Protocol",
    "RegressionHead",
    "RidgeHead",
    "SegmentationHead",
    "SurvivalHead",
    "results_table",
    "run_study",
]
