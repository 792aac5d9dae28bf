"""Write finished probes as one self-contained page, with its tables, figures and notes."""
