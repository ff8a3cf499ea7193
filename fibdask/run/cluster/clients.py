"""Clients of schedulers whose end says nothing of the work that was done."""

import warnings

import distributed

from ...conventions import FibdaskWarning

_PATIENCE = 60.0  # seconds


class PatientClient(distributed.Client):  # type: ignore[misc]
    """A client that warns where workers take too long to end; what they have done is done."""

    def close(self, timeout: float = _PATIENCE) -> None:
        """Close it, and the workers that it owns.

        Warns
        -----
        FibdaskWarning
            If that takes longer than so many seconds, as on a machine that is busy.
        """
        try:
            super().close(timeout)
        except TimeoutError:
            self.status = "closed"  # or it would be waited for once more when it is forgotten
            text = (
                f"workers did not end within {timeout:g} s, as happens on a busy machine: what "
                "they have done is complete; they end with this process"
            )
            warnings.warn(text, FibdaskWarning, stacklevel=2)
