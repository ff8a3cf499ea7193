"""What tests of servers have in common."""

import pytest

from fibdask.blocks.engine import remote
from tests.servers import SECRET, s3_server


@pytest.fixture(scope="module")
def endpoint():
    """A server of S3 with an empty bucket."""
    with s3_server() as address:
        yield address


@pytest.fixture
def credentials(monkeypatch):
    """Who asks, and patience for tests."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setattr(remote, "PAUSES", (0.01, 0.02))
