"""What of a checkpoint goes to topics: predictions and dead letters."""

from __future__ import annotations

from collections.abc import Sequence

from riverd.config import Config
from riverd.engine import Unsaved
from riverd.predictions import prediction_messages
from storage.outgoing import Message, Parcel, pack
from stream.records import DeadLetter


def topics_of(config: Config) -> list[str]:
    """The topics that get anything."""
    return [topic for topic in (config.predictions.topic, config.dead_letters.topic) if topic is not None]


def parcels_of(config: Config, unsaved: Unsaved, *, checkpoint: int) -> list[Parcel]:
    """What has to be sent once this checkpoint is committed."""
    parcels = []
    if config.predictions.topic is not None and any(batch.ids for batch in unsaved.served):
        messages = prediction_messages(
            unsaved.served, model=config.model.name, version=checkpoint, threshold=config.monitors.threshold
        )
        parcels.append(pack(config.predictions.topic, list(messages)))
    if config.dead_letters.topic is not None and unsaved.dead_letters:
        parcels.append(pack(config.dead_letters.topic, dead_letter_messages(unsaved.dead_letters)))
    return parcels


def dead_letter_messages(letters: Sequence[DeadLetter]) -> list[Message]:
    """The raw bytes, with the reason and the place in the headers.

    Examples
    --------
    >>> [message] = dead_letter_messages([DeadLetter("flights", "0", 7, "no id", b"{}")])
    >>> message.value, dict(message.headers)["position"]
    (b'{}', b'7')
    """
    return [
        Message(
            f"{letter.topic}/{letter.partition}".encode(),
            letter.payload,
            [
                ("reason", letter.reason.encode()),
                ("topic", letter.topic.encode()),
                ("partition", letter.partition.encode()),
                ("position", str(letter.position).encode()),
            ],
        )
        for letter in letters
    ]
