"""Commands, called in the process of the tests: a process of their own takes seconds to start."""

import pytest

from fibdask.run.cli import main


@pytest.fixture
def call(capsys):
    """Call a command in this process; returns what it printed, and its errors."""

    def run(*arguments, code=0):
        found = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            found = end.code
        out, err = capsys.readouterr()
        assert found == code, out + err
        return out, err

    return run
