"""Define the version of the package, which releases change here, and its folder."""

from pathlib import Path

__version__ = "0.1.0"

# Folder of the package, inside the checkout if there is one.
PACKAGE = Path(__file__).parent
