"""The command `fibdask`: thin faces of library functions; no tracebacks for user errors."""

import contextlib
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import click

from ...conventions import VERSION, BlocksFailedError, FibdaskError, FibdaskWarning, RecipeError
from ..shown import lines, one_line
from . import demo, labels, models, recipes, runs, stacks
from .pages import page_of


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
    no_args_is_help=True,
)
@click.option("--version", is_flag=True, help="Print the version.")
@click.option(
    "--verbose", is_flag=True, help="With --version: also the versions of all that is used."
)
@click.pass_context
def cli(context: click.Context, version: bool, verbose: bool) -> None:
    """Make trustworthy 3D microstructures of FIB-SEM stacks that are larger than memory."""
    if version:
        _tell_version(verbose=verbose)
        context.exit()
    if verbose:
        msg = "--verbose belongs to --version"
        raise click.UsageError(msg)
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def _tell_version(*, verbose: bool) -> None:
    if not verbose:
        click.echo(f"fibdask, version {VERSION}")
        return
    from ..versions import version_lines

    click.echo("\n".join(version_lines()))


_MODULES = (runs, demo, recipes, stacks, labels, models)
for _command in (command for module in _MODULES for command in module.COMMANDS):
    cli.add_command(_command)


def _warnings_once() -> Callable[..., None]:
    """Return what prints a warning, each once: a recipe is looked at before it runs, and then."""
    told: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *place: Any) -> None:
        # Where in the code it arose is told of other packages' only.
        own = issubclass(category, FibdaskWarning)
        where = "" if own else f" ({place[0]}:{place[1]})"
        text = f"warning: {one_line(message)}{where}"
        if text not in told:
            told.add(text)
            click.echo(text, err=True)

    return show


@contextlib.contextmanager
def _told_to_end() -> Iterator[None]:
    """End by SIGTERM as by Ctrl-C: batch systems send it before they kill a job."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # of threads other than the main one
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong usage or recipe."""
    # Threads of torch that wait must not keep cores from the others; it is read when torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        with _told_to_end(), warnings.catch_warnings():
            warnings.showwarning = _warnings_once()
            cli(arguments, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; run again to go on", err=True)
        sys.exit(1)
    except FibdaskError as error:
        text = lines(error) if isinstance(error, BlocksFailedError) else one_line(error)
        click.echo(f"error: {text} ({page_of(error)})", err=True)
        sys.exit(2 if isinstance(error, RecipeError) else 1)
    except (OSError, MemoryError) as error:  # a full disk, a folder that may not be written
        short = "this machine has not enough memory"
        known = short if isinstance(error, MemoryError) else type(error).__name__
        click.echo(f"error: {one_line(error) or known}", err=True)
        sys.exit(1)
