"""The one exception that a user is meant to read."""


class BraindinoError(Exception):
    """A mistake in the input, told in one to three lines: where it is, what was expected, the remedy.

    The command prints the message without a traceback and exits with code 2. Everything else that is
    raised is a defect of the program and keeps its traceback.
    """
