"""Command line, recipes, workers and the pipeline that joins the stages."""

from .cluster import local_cluster
from .pipeline import run_recipe

__all__ = ["local_cluster", "run_recipe"]
