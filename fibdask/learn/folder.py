"""Folders of models: their files, and the card, whose weights are those that it speaks of."""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from ..blocks import fingerprint
from ..conventions import ConventionError
from .greymaps import GREY_MAP
from .rules import check_card

WEIGHTS, CARD, TEST_PAIR = "weights.safetensors", "card.json", "test_pair.safetensors"
ADAPTATION = "adaptation.json"
"""What candidates of an adaptation scored, in its folder, whatever was chosen."""
USED_WITH = "used_with_sha256"
"""Key of a card: hash of what else on it the weights are used with."""
_TRAINED_WITH = ("voltages", "grey", GREY_MAP, "temperature")
"""What the test pair, of normalised grey values, may not tell."""


def read_card(folder: Path) -> dict[str, Any]:
    """Read the card of a model, and check that the weights are those that it speaks of.

    Raises
    ------
    ConventionError
        If there is no model, or card and weights do not fit together.
    """
    if (folder / ADAPTATION).is_file() and not (folder / CARD).exists():
        msg = (
            f"{folder} holds an adaptation, but no model of it: the given one stays, which "
            f"{ADAPTATION} names as its parent, or it was interrupted; give that, or adapt again"
        )
        raise ConventionError(msg)
    try:
        card: dict[str, Any] = json.loads((folder / CARD).read_text())
    except (OSError, ValueError) as error:
        msg = f"a model is a folder with {CARD}, {WEIGHTS} and {TEST_PAIR}; {folder}: {error}"
        raise ConventionError(msg) from None
    check_card(card, str(folder / CARD))
    _check_weights(folder, card)
    _check_used_with(folder, card)
    return card


def read_chosen_card(folder: Path, chosen: str) -> dict[str, Any]:
    """Read the card of a model that was chosen before, as `read_card` does.

    Raises
    ------
    ConventionError
        If it is no longer the one of that fingerprint.
    """
    card = read_card(folder)
    if card_fingerprint(card) != chosen:
        msg = f"the model {folder} has changed since it was chosen; choose it again"
        raise ConventionError(msg)
    return card


def card_fingerprint(card: Mapping[str, Any]) -> str:
    """Return the hash of a model's weights, and of what they are used with."""
    parts = ("sha256", "architecture", "temperature")
    adapted = (card[GREY_MAP],) if GREY_MAP in card else ()
    return fingerprint(*(card[part] for part in parts), *adapted)


def used_with(card: Mapping[str, Any]) -> str:
    """Return the hash of what on a card the weights are used with."""
    return sha256(json.dumps([card.get(key) for key in _TRAINED_WITH]).encode()).hexdigest()


def _check_weights(folder: Path, card: Mapping[str, Any]) -> None:
    try:
        found = sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    except OSError as error:
        msg = f"the weights of the model cannot be read: {error}"
        raise ConventionError(msg) from None
    if found != card["sha256"]:
        msg = (
            f"the weights are not those of the card: {folder / WEIGHTS} has the hash {found[:12]}…"
            f", the card says {str(card['sha256'])[:12]}…; the model is damaged or mixed up"
        )
        raise ConventionError(msg)


def _check_used_with(folder: Path, card: Mapping[str, Any]) -> None:
    if card.get(USED_WITH) not in (None, used_with(card)):  # none of earlier versions
        told = ", ".join(f"{key} {card[key]}" for key in _TRAINED_WITH if key in card)
        msg = (
            f"{folder / CARD} was changed: it says {told}, of which one is another than the model "
            "was trained with; take the card that was written with it, or train one (fibdask train)"
        )
        raise ConventionError(msg)
