"""What is guaranteed for a policy, with the assumptions and the numbers of the test."""

from __future__ import annotations

from dataclasses import dataclass


def points(share: float) -> str:
    """Return a fraction in percentage points: ``0.01`` is "1 point"."""
    return f"{100 * share:g} point{'' if 100 * share == 1 else 's'}"


@dataclass(frozen=True)
class Promise:
    """That a policy loses little against the network's own final exit.

    Attributes:
        sentence: what is promised and under which assumptions.
        risk: ``accuracy-gap`` or ``disagreement``.
        max_loss: largest loss, a fraction.
        confidence: probability with which the promise holds, over the draw of the samples.
        against: what the loss is counted from.
        samples: certify samples of the test.
        test: the statistical test.
        p_value: of "the loss is larger".
        runtime: whose outputs it was tested on, such as ``openvino int8``; "" for float32, whose outputs are alike in
            every runtime.
        instructions: of the processor that it was tested on, such as ``avx512_vnni``; "" where any do.
        versions: of the packages that made what was tested, such as ``openvino 2026.1.0, nncf 3.0.0``; "" where any do.
    """

    sentence: str
    risk: str
    max_loss: float
    confidence: float
    against: str
    samples: int
    test: str
    p_value: float
    runtime: str = ""
    instructions: str = ""
    versions: str = ""


@dataclass(frozen=True)
class AnswersPromise:
    """That few of the answers which a policy gives are wrong, where it may withhold some.

    Attributes:
        sentence: what is promised and under which assumptions.
        error_rate: largest share of wrong answers among those given, a fraction.
        confidence: probability with which the promise holds, over the draw of the samples.
        samples: certify samples of the test.
        answered_share: share of these that were answered, a fraction.
        error_rate_on_certify: share of wrong answers among those given to them, a fraction.
        test: the statistical test.
        p_value: of "more are wrong".
        runtime: whose outputs it was tested on, as in `Promise`.
        instructions: of the processor that it was tested on, as in `Promise`.
        versions: of the packages that made what was tested, as in `Promise`.
    """

    sentence: str
    error_rate: float
    confidence: float
    samples: int
    answered_share: float
    error_rate_on_certify: float
    test: str
    p_value: float
    runtime: str = ""
    instructions: str = ""
    versions: str = ""
