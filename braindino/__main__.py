"""Run the command with `python -m braindino`."""

import sys

from braindino.cli.main import main

sys.exit(main())
