"""The audits that a run holds, with their pictures."""

from __future__ import annotations

from dataclasses import dataclass

from shallowdeep.audits.backdoor_audit import BackdoorAudit
from shallowdeep.audits.slowdown_audit import SlowdownAudit
from shallowdeep.audits.suspects_audit import SuspectsAudit, TriggersAudit


@dataclass(frozen=True)
class EncodedPicture:
    """An image before and after a change, as PNG files in base64.

    Attributes:
        before: the image.
        after: the changed image.
        difference: the change around grey, enlarged.
        enlarged: how many times.
        caption: what is to be seen.
    """

    before: str
    after: str
    difference: str
    enlarged: float
    caption: str


@dataclass(frozen=True)
class Audits:
    """The audits of one network; None for those that were not made.

    Attributes:
        backdoor: a backdoor under study.
        suspects: someone else's network, examined.
        slowdown: slowed down by changed images.
        backdoor_pictures: images with the trigger.
        slowdown_pictures: changed images.
    """

    backdoor: BackdoorAudit | None = None
    suspects: SuspectsAudit | TriggersAudit | None = None
    slowdown: SlowdownAudit | None = None
    backdoor_pictures: tuple[EncodedPicture, ...] = ()
    slowdown_pictures: tuple[EncodedPicture, ...] = ()
