"""The voxels that are measured: solid or pore, inside a mask."""

from typing import Literal, get_args

Chosen = Literal["solid", "pore"]
CHOICES = get_args(Chosen)
