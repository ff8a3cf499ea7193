"""`python -m fibdask.run.cli`."""

from . import main

main()
