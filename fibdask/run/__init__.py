"""Command line, recipes, workers and the pipeline that joins the stages."""
