"""Probes: a pooling and a head trained on frozen features, by an honest protocol."""
