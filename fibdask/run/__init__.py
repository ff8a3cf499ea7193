"""Recipes run: from a TOML file to stores, statistics and a report, on workers or in this process.

`stages` is the table of stages, from which the rest derives. `recipe/` reads and checks recipes,
`walk` leads through their stages, which `planner` forecasts and `runner` makes; `folder/` is what
a run leaves behind, `cluster/` the workers, `cli/` the commands.
"""
