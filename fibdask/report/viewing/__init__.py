"""A page on this machine to look through volumes: the client and the server are neuroglancer's."""

from .page import StackView, view, view_volumes

__all__ = ["StackView", "view", "view_volumes"]
