"""Print the `--help` text of every verb as JSON, for the reference of commands."""

import contextlib
import io
import json
import os
import sys

from braindino.cli.main import LIGHTNING_VERBS, ORDER, PLAIN_VERBS, main

WIDTH = 80


def help_text(verb: str) -> str:
    """Return what `braindino VERB --help` prints in a terminal of 80 columns."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        main([verb, "--help"])
    # jsonargparse moves the cursor back over a space.
    return output.getvalue().strip().replace(" \b", "")


if __name__ == "__main__":
    os.environ["COLUMNS"] = str(WIDTH)
    sys.argv[0] = "braindino"
    # The Lightning verbs list the classes that are imported: the other verbs would add theirs.
    order = sorted(ORDER, key=lambda verb: verb not in LIGHTNING_VERBS)
    texts = {verb: help_text(verb) for verb in order}
    summaries = PLAIN_VERBS | LIGHTNING_VERBS
    json.dump([{"verb": verb, "summary": summaries[verb], "help": texts[verb]} for verb in ORDER], sys.stdout)
