"""The command `fibdask`: what interrupts its loading ends in a sentence, too."""

import sys


def main() -> None:
    """Load the command line, which takes a second or more, and run it."""
    try:
        from .run.cli import main as run
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; run again to go on\n")
        sys.exit(1)
    run()


if __name__ == "__main__":
    main()
