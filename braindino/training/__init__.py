"""Support of training runs: folders, checkpoints, signals, SLURM, logs, progress."""
