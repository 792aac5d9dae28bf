"""What every training run needs beside its model: run folder, checkpoints, signals, SLURM, logs, progress."""
