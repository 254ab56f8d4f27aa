"""The page says what was found, in words with intervals, and holds nothing that names could break or a network load."""

from __future__ import annotations

import re
import sys
from dataclasses import replace

import numpy as np
import pytest
from tests.report.page_cases import FOUND, full, marked_up, unlabelled
from tests.report.page_documents import analysis, drawn, findings, galleries, series

from shallowdeep.analysis.error_detection import Detection
from shallowdeep.errors import BadImageError, ConfigurationError
from shallowdeep.report.page import Series, page
from shallowdeep.report.page_sentences import headlines
from shallowdeep.report.page_series import level_of
from shallowdeep.report.page_wording import NONE, finite, interval, lowest_auroc, percent, points


def test_headlines_give_intervals_and_chance() -> None:
    """Each finding is a sentence with its interval, and the destructive share stands beside chance."""
    found = findings(FOUND)
    assert found.wasteful is not None
    assert found.destructive is not None
    waste = replace(found.wasteful, share=0.91, oracle_cost=0.36, intervals={"share": (0.904, 0.915)})
    lost = replace(
        found.destructive, share_of_errors=0.44, errors=1671, chance=0.31, chance_together=None, accuracy_gain=0.05,
        intervals={"share_of_errors": (0.42, 0.46)},
    )  # fmt: skip
    shown = headlines(replace(found, wasteful=waste, destructive=lost))
    said = [headline.sentence.replace("\N{NO-BREAK SPACE}", " ") for headline in shown]
    assert (
        "Some exit before the last is right for 91.0 % of the samples (90.4\N{EN DASH}91.5 %); stopping each at its "
        "first right exit would cost 36.0 % of the backbone."
    ) in said
    assert (
        "44.0 % of the final classifier's 1,671 mistakes (42.0\N{EN DASH}46.0 %) were right at an earlier exit; "
        "shuffled answers would reach 31.0 %. An ideal stopping rule would add 5.0 points."
    ) in said
    assert any("+0.13 points (\N{MINUS SIGN}0.13 to +0.39 points)" in sentence for sentence in said)


def test_wording_of_numbers() -> None:
    """Numbers have no-break spaces and true minus signs, nothing is minus zero, and what is unknown is a dash."""
    assert percent(0.91).split("\N{NO-BREAK SPACE}") == ["91.0", "%"]
    assert percent(None) == NONE
    assert points(-0.014).startswith("\N{MINUS SIGN}1.40")
    assert points(-0.00001).startswith("0.00")
    assert interval({}, "share") == ""
    assert finite({"a": [float("nan"), np.float32(2), (np.inf,)], "b": np.arange(2)}) == {
        "a": [None, 2.0, (None,)],
        "b": [0, 1],
    }


@pytest.mark.parametrize(
    ("auroc", "bound", "lowest"), [(0.7, 0.5, 0.5), (0.7, 0.49, 0), (0.4, None, 0), (float("nan"), None, 0.5)]
)
def test_the_scale_of_auroc_holds_what_is_worse_than_guessing(auroc: float, bound: float | None, lowest: float) -> None:
    """It begins at guessing, or at 0 where an indicator or its interval lies below."""
    block = Detection(auroc, 0.1, 0.1, 0.1, {} if bound is None else {"auroc": (bound, 0.9)})
    assert lowest_auroc(finite([block, Detection(0.9, 0.1, 0.1, 0.1)])) == lowest


def test_page_has_a_title_a_language_and_nothing_to_load() -> None:
    """The document names its language and title, and no attribute holds an address on the network."""
    text = full()
    assert '<html lang="en">' in text
    assert "<title>How runs/cifar10 overthinks</title>" in text
    assert not re.search(r"""(src|href|action|data)\s*=\s*["']?\s*(https?:)?//""", text)
    assert "@import" not in text
    assert "url(" not in text


def test_markup_in_names_stays_text() -> None:
    """Neither the page's elements nor its embedded JSON can be broken out of by a name."""
    text = marked_up()
    assert "<script>document.title" not in text
    assert text.count("</script>") == 2
    assert "<b>" not in text


def test_blocks_that_cannot_be_said_have_no_section() -> None:
    """Without labels, sections on right and wrong are gone, from the contents too."""
    text = unlabelled()
    for name in ("wasteful", "lost", "indicators", "classes", "confused", "paper"):
        assert f'id="{name}"' not in text
        assert f'"#{name}"' not in text
    assert "No labels: accuracy and overthinking cannot be said." in text


def test_the_page_opens_with_findings() -> None:
    """What could not be computed stands near the end; a warning that makes all doubtful stands first."""
    found = findings(FOUND)
    missing, doubtful = "No trajectory predictor here.", "The network has learned nothing."
    told = replace(found, notes=(doubtful, missing), warnings=(doubtful,))
    text = page(replace(analysis(FOUND), findings=told), series=None)
    parts = [text.index(part) for part in (doubtful, 'class="headlines"', missing, 'id="provenance"')]
    assert parts == sorted(parts)
    assert text.count(doubtful) == text.count(missing) == 1
    assert 'href="#notes"' in text
    plain = page(replace(analysis(FOUND), findings=replace(told, notes=(), warnings=())), series=None)
    assert 'id="notes"' not in plain
    assert 'role="note"' not in plain


def test_page_stays_small() -> None:
    """10,000 samples, 7 exits and 60 thumbnails with maps take less than 8 MB."""
    found = drawn()
    assert len(page(analysis(found), series=series(found), galleries=galleries(found, 30)).encode()) < 8e6


def test_missing_jinja_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Jinja2 the error says which extra brings it."""
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ConfigurationError, match=r"Expected jinja2 .*shallowdeep\[report\]"):
        full()


def test_series_and_pictures_are_checked() -> None:
    """Arrays that do not fit together and pictures of an unknown kind are refused."""
    good = series(FOUND)
    with pytest.raises(ConfigurationError, match="uint8"):
        Series(FOUND.confidence, None, FOUND.costs)  # type: ignore[arg-type] # the wrong type is the point
    with pytest.raises(ConfigurationError, match="costs"):
        Series(good.confidence, None, FOUND.costs[1:])
    with pytest.raises(ConfigurationError, match="outcomes"):
        Series(good.confidence, np.ones((2, 2), bool), FOUND.costs)
    first = galleries(FOUND, 1)[0]
    animated = replace(first, samples=(replace(first.samples[0], image=b"GIF89a"),))
    with pytest.raises(BadImageError, match="PNG or JPEG"):
        page(analysis(FOUND), series=None, galleries=[animated])


@pytest.mark.parametrize(("threshold", "level"), [(0, 0), (1, 255), (0.84, 215), (200 / 255, 200), (0.5, 128)])
def test_marks_are_never_more_lenient_than_they_say(threshold: float, level: int) -> None:
    """A mark is the slider's first step at or above it."""
    assert level_of(threshold) == level
