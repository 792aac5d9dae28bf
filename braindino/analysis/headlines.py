"""The metrics that tables and comparisons show of each task, the first being the one that decides."""

HEADLINES = {
    "classification": ("auroc", "balanced_accuracy", "accuracy", "f1"),
    "regression": ("mae", "rmse", "r2", "pearson"),
    "survival": ("c_index", "c_index_ipcw", "integrated_brier", "td_auc"),
}
LOWER_IS_BETTER = ("mae", "rmse", "integrated_brier", "brier", "ece")
