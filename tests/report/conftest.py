"""One headless browser for the pages that tests open."""

import pytest

from ..browser import chromium


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A page of a headless Chromium."""
    with chromium(tmp_path_factory.mktemp("chromium")) as page:
        yield page
