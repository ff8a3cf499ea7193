"""The reference of commands, written from the commands themselves.

`python -m fibdask.run.cli.reference > docs/commands.md` writes it anew.
"""

import inspect
import sys
from collections.abc import Iterator

import click

from . import cli

_HEAD = """# Commands

`fibdask COMMAND --help` prints the same in a terminal. Exit codes are 0 if all is done, 1 if
something failed, and 2 if the recipe or the call is wrong. `fibdask --version --verbose` prints the
versions of all that is used; include them in bug reports. This page is generated from the code.

To complete commands and options with Tab, add `eval "$(_FIBDASK_COMPLETE=bash_source fibdask)"` to
`~/.bashrc`; use `zsh_source` or `fish_source` in these shells.
"""


def command_reference() -> str:
    """Return the page of all commands, in the order of the alphabet."""
    parts = ("\n".join(_part(name, command)) for name, command in sorted(cli.commands.items()))
    return "\n".join([_HEAD, *parts])


def _part(name: str, command: click.Command) -> Iterator[str]:
    """Iterate over the lines about a command: how it is called, what it does, its options."""
    context = click.Context(command, info_name=f"fibdask {name}")
    pieces = [piece for piece in command.collect_usage_pieces(context) if piece != "[OPTIONS]"]
    yield from (f"## `fibdask {name}`", "", "```sh")
    yield from (" ".join([context.command_path, *pieces]), "```", "")
    yield from (inspect.cleandoc(command.help or ""), "", "| option | meaning |", "|---|---|")
    for option in (one for one in command.params if isinstance(one, click.Option)):
        if record := option.get_help_record(context):
            names, meaning = (" ".join(text.split()).replace("|", "\\|") for text in record)
            yield f"| `{names}` | {meaning} |"
    yield ""


if __name__ == "__main__":
    sys.stdout.write(command_reference())
