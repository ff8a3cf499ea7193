"""The reference of commands, written from the commands themselves.

`python -m fibdask.run.cli.reference > docs/commands.md` writes it anew.
"""

import inspect
import sys
from collections.abc import Iterator

import click

from . import cli

_HEAD = """# Commands

`fibdask COMMAND --help` says the same in a terminal. Exit codes are 0 where all is done, 1 where
something failed, and 2 where a recipe, or how a command is called, is wrong. `fibdask --version
--verbose` tells the versions of all that is used, which reports of faults need. This page is
written from the code.

`eval "$(_FIBDASK_COMPLETE=bash_source fibdask)"` in `~/.bashrc` completes commands and options;
likewise `zsh_source` and `fish_source`.
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
