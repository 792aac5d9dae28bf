"""`python -m braindino` is the command."""

import sys

from braindino.cli.main import main

sys.exit(main())
