"""Probes: a pooling and a head trained on the features of a frozen encoder, and evaluated."""

from braindino.probing.augmentation import Augmentation
from braindino.probing.heads.base import Head, OptimizerDefaults
from braindino.probing.heads.classification import ClassificationHead, classification_rows
from braindino.probing.heads.closed_form import ClosedForm, CoxNetHead, KNNHead, LogisticHead, RidgeHead
from braindino.probing.heads.regression import DaysHead, RegressionHead, regression_rows
from braindino.probing.heads.segmentation import SegmentationHead
from braindino.probing.heads.survival import SurvivalHead, survival_rows
from braindino.probing.module import FrozenProbeModule
from braindino.probing.pooling import GatedAttentionPooling, MeanPooling, Pooling
from braindino.probing.protocol import Protocol
from braindino.probing.study import run_study
from braindino.probing.table import results_table

__all__ = [
    "Augmentation",
    "ClassificationHead",
    "ClosedForm",
    "CoxNetHead",
    "DaysHead",
    "FrozenProbeModule",
    "GatedAttentionPooling",
    "Head",
    "KNNHead",
    "LogisticHead",
    "MeanPooling",
    "OptimizerDefaults",
    "Pooling",
    "Protocol",
    "RegressionHead",
    "RidgeHead",
    "SegmentationHead",
    "SurvivalHead",
    "classification_rows",
    "regression_rows",
    "results_table",
    "run_study",
    "survival_rows",
]
