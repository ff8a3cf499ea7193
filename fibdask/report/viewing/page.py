"""The page: served to this machine only, for as long as somebody wants it."""

import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

import xarray as xr

from ...conventions import (
    ConventionError,
    FibdaskWarning,
    is_layered,
    require,
    volume_names,
)
from ..display import readable

_LOOPBACK = "127.0.0.1"


def view(stack: xr.Dataset) -> "StackView":
    """Serve a page for viewing the volumes of a stack, or layered sample, in a browser.

    Images of each voltage, probabilities, phases and labels are layers at their depths in nm; each
    slice reaches halfway to its neighbours. The page reads voxels on request; for a stored stack,
    coarse ones come from its pyramid. It is served on 127.0.0.1 until the returned object is closed
    or discarded.

    Parameters
    ----------
    stack
        Stack whose volumes (z, y, x), or (voltage, z, y, x), are in memory or in files. Volumes
        that would have to be computed are left out.

    Returns
    -------
    StackView
        Holds the link; as the last line of a notebook's cell it shows the page.

    Raises
    ------
    ConventionError
        If the stack breaks a rule, holds no volume that can be shown, or neuroglancer is not
        installed.

    Warns
    -----
    FibdaskWarning
        If volumes are left out, or slices are too thin to show.
    """
    checked = stack if is_layered(stack) else require(stack)
    return view_volumes(dict.fromkeys(volume_names(checked), checked))


def view_volumes(stacks: Mapping[str, xr.Dataset]) -> "StackView":
    """Serve the volumes that are named, each of its own stack; see `view`."""
    shown = {name: stack for name, stack in stacks.items() if readable(stack[name])}
    if left := [name for name in stacks if name not in shown]:
        msg = (
            f"volumes that would have to be computed are not shown: {', '.join(left)}; save the "
            "stack (save_stack) and view what is stored"
        )
        warnings.warn(msg, FibdaskWarning, stacklevel=3)
    if not shown:
        msg = "a view needs a volume in memory or in files; there is none"
        raise ConventionError(msg)
    if find_spec("neuroglancer") is None:
        msg = "stacks are viewed by neuroglancer, which is not installed; install fibdask[view]"
        raise ConventionError(msg)
    return StackView(shown)


class StackView:
    """A page that is being served.

    Attributes
    ----------
    link
        Address of the page, which nobody can guess.
    layers
        Names of what it shows, from the lowest.
    viewer
        That of neuroglancer, whose state may be changed.
    """

    def __init__(self, stacks: Mapping[str, xr.Dataset]) -> None:
        import neuroglancer

        from .layers import Layers

        self._server = neuroglancer.server
        self._server.set_server_bind_address(_LOOPBACK)
        # Else pages that somebody makes this one open could ask for this person's credentials.
        self.viewer: Any = neuroglancer.Viewer(allow_credentials=False)
        address = self._server.global_server.regular_server_url
        if urlsplit(address).hostname != _LOOPBACK:
            msg = (
                f"stacks are served on {_LOOPBACK} only; neuroglancer serves {address} in this "
                "process already: end that first (neuroglancer.stop())"
            )
            raise ConventionError(msg)
        with self.viewer.txn() as state:
            Layers(stacks).show_in(state)
        self.link: str = self.viewer.get_viewer_url()
        self.layers: list[str] = [layer.name for layer in self.viewer.state.layers]

    def close(self) -> None:
        """Stop serving the page; with the last page, the server ends."""
        server = self._server.global_server
        if server is None or server.viewers.pop(self.viewer.token, None) is None:
            return
        if not server.viewers:
            self._server.stop()
            server.executor.shutdown()

    def __repr__(self) -> str:
        return self.link

    def _repr_html_(self) -> str:
        """Return what notebooks show: the page, and its link."""
        return (
            f'<a href="{self.link}" target="_blank">{self.link}</a><br>'
            f'<iframe src="{self.link}" width="100%" height="640" style="border: 0"></iframe>'
        )
