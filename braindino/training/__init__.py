"""Everything of a run beside its model: folder, checkpoints, signals, SLURM, logs, progress."""
