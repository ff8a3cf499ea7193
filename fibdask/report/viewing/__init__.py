"""A page on this machine to look through volumes: the client and the server are neuroglancer's."""

from .page import StackView, view, view_volumes
from .volumes import last_volumes, named_volumes

__all__ = ["StackView", "last_volumes", "named_volumes", "view", "view_volumes"]
