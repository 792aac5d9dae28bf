"""Self-distilled foundation models for brain MRI: scans in, frozen encoder, probes, honest numbers out."""

__version__ = "0.1.0"
