"""Losses of self-distillation and the objective that combines them."""
