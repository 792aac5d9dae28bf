"""List the settings of the trainer that a probe accepts; imports nothing heavy."""

# The only trainer settings that do not affect the result of a probe; its protocol decides the rest.
MACHINE = ("accelerator", "devices", "deterministic", "benchmark", "enable_progress_bar")


def decided_by_protocol(key: str) -> str:
    """Return the message for a setting of the trainer that the protocol of a probe decides."""
    instead = " Set probe.max_epochs." if key == "max_epochs" else ""
    return (
        f"trainer.{key}: the protocol of a probe decides it, so it cannot be set.{instead}\n"
        f"A probe takes these settings of the trainer: {', '.join(MACHINE)}."
    )
