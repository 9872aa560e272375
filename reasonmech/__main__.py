"""`python -m reasonmech` is the command `reasonmech`."""

from reasonmech.cli import main

main()
