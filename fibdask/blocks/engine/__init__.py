"""What makes and writes blocks: the only Dask graph code."""
