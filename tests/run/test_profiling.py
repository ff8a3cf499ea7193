"""The page of Dask about a run: written whole, refused where there is nothing to tell."""

import sys

import distributed
import pytest

from fibdask import FibdaskWarning, RecipeError
from fibdask.run.folder.run_folder import LOCK
from fibdask.run.profiling import profiled


@pytest.fixture
def client():
    """A client of a scheduler and a worker in this process."""
    options = {"processes": False, "dashboard_address": "127.0.0.1:0"}
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, **options) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture
def page(tmp_path):
    """Where the page goes, in the folder of a run."""
    (tmp_path / LOCK).touch()
    return tmp_path / "profile.html"


def test_profiled__writes_one_page(client, page):
    with profiled(client, page):
        assert client.submit(sum, [1, 2]).result() == 3
    text = page.read_text(encoding="utf-8")
    assert "Dask Performance Report" in text
    assert "cdn.bokeh.org" not in text.split("</script>")[0]
    assert set(page.parent.iterdir()) == {page, page.parent / LOCK}


def test_profiled__a_run_is_not_lost_where_it_cannot_be_written(client, page):
    page.mkdir()
    with pytest.warns(FibdaskWarning, match="no profile was written to"), profiled(client, page):
        assert client.submit(sum, [1, 2]).result() == 3
    assert set(page.parent.iterdir()) == {page, page.parent / LOCK}


def test_profiled__leaves_a_folder_in_which_nothing_was_run(client, tmp_path):
    with profiled(client, tmp_path / "out" / "profile.html"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_profiled__needs_a_scheduler(page):
    refused = pytest.raises(RecipeError, match="and this run uses none")
    with refused, profiled(None, page):
        pass


def test_profiled__says_what_is_not_installed(client, page, monkeypatch):
    monkeypatch.setitem(sys.modules, "bokeh", None)
    refused = pytest.raises(RecipeError, match="pip install bokeh")
    with refused, profiled(client, page):
        pass
