"""In a browser the page recomputes what NumPy computes, and needs no network, mouse, light or wide screen."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.report.page_cases import FOUND, PAGES, full, unlabelled
from tests.report.page_documents import analysis, drawn, galleries, series

from shallowdeep.report.page import page
from shallowdeep.report.page_wording import NONE

if TYPE_CHECKING:
    from selenium.webdriver.remote.webdriver import WebDriver

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
UNSAID = re.compile(r"\b(NaN|nan|undefined|None|null|inf|Infinity)\b|\[object")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    """Return Chromium, headless, that writes down what it requests and what goes to the console."""
    webdriver = pytest.importorskip("selenium.webdriver")
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("Chromium or its driver is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.chrome.service.Service(DRIVER)
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


@pytest.fixture
def show(browser: WebDriver, tmp_path: Path) -> Callable[..., WebDriver]:
    """Return what opens a page in a window of some width and colour scheme; logs begin empty."""

    def opened(text: str, width: int = 1280, scheme: str = "light") -> WebDriver:
        file = tmp_path / "report.html"
        file.write_text(text, encoding="utf-8")
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},  # or clicks would miss what still scrolls
        ]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get("about:blank")
        for log in ("browser", "performance"):
            browser.get_log(log)
        browser.get(file.as_uri())
        return browser

    return opened


def run(driver: WebDriver, script: str, *arguments: object) -> Any:  # noqa: ANN401 - whatever JavaScript gives
    """Return what a piece of JavaScript returns."""
    return driver.execute_script(script, *arguments)


def live(driver: WebDriver, name: str) -> float:
    """Return a live figure as the page computed it, checked to be what it shows."""
    value, text = run(
        driver, f"const e = document.querySelector('[data-live={name}]'); return [e.dataset.value, e.innerText]"
    )
    shown = float(text.split("\N{NO-BREAK SPACE}")[0].replace("\N{MINUS SIGN}", "-"))
    assert shown == pytest.approx(100 * float(value), abs=0.051)
    return float(value)


def press(driver: WebDriver, selector: str, *keys: str) -> None:
    """Focus an element and press keys."""
    run(driver, "document.querySelector(arguments[0]).focus()", selector)
    driver.switch_to.active_element.send_keys(*keys)


@pytest.mark.parametrize("make", PAGES)
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_show_no_errors_and_fit(show: Callable[..., WebDriver], make: Callable[[], str], width: int) -> None:
    """Every page opens without a message or request, says nothing unsayable, fits the screen, and names its charts."""
    driver = show(make(), width)
    seen = run(
        driver,
        """document.querySelectorAll('details').forEach((e) => { e.open = true; });
        const labels = [...document.querySelectorAll('[aria-label], [alt], [title]')].map((e) =>
            [e.getAttribute('aria-label'), e.getAttribute('alt'), e.getAttribute('title')].filter((t) => t !== null));
        const svg = [...document.querySelectorAll('svg text, svg title')].map((e) => e.textContent);
        const paths = [...document.querySelectorAll('svg *')].flatMap((e) => [...e.attributes].map((a) => a.value));
        return { text: document.body.innerText + labels.flat().join('\\n') + svg.join('\\n'), paths: paths.join(' '),
                 wide: document.documentElement.scrollWidth, title: document.title,
                 charts: document.querySelectorAll('[data-chart]').length,
                 drawn: document.querySelectorAll('[data-chart] > svg[role=img][aria-label]').length,
                 broken: [...document.images].filter((e) => !e.complete || !e.naturalWidth || !e.alt).length,
                 twice: [...document.querySelectorAll('[id]')].map((e) => e.id)
                     .filter((id, k, all) => all.indexOf(id) !== k) };""",
    )
    assert not UNSAID.search(seen["text"]), UNSAID.search(seen["text"])
    assert not UNSAID.search(seen["paths"])
    assert seen["wide"] <= width
    assert seen["title"].startswith("How runs/")
    assert seen["charts"] == seen["drawn"]
    assert seen["broken"] == 0
    assert seen["twice"] == []
    assert driver.get_log("browser") == []
    requests = re.findall(
        r'"method":"Network.requestWillBeSent".*?"url":"(\w+):',
        str([entry["message"] for entry in driver.get_log("performance")]),
    )
    assert set(requests) <= {"file", "data"}


@pytest.mark.parametrize("level", [0, 1, 77, 128, 215, 254, 255])
def test_slider_recomputes_what_numpy_computes(show: Callable[..., WebDriver], level: int) -> None:
    """At any threshold the page's accuracy, cost and exit shares are those of the rule on the series."""
    driver = show(full())
    run(
        driver,
        "const s = document.getElementById('slider'); s.value = arguments[0]; s.dispatchEvent(new Event('input'))",
        level,
    )
    confidence, right = series(FOUND).confidence, FOUND.answers == FOUND.labels
    passes = confidence >= level
    passes[-1] = True
    chosen = passes.argmax(axis=0)  # (N,)
    accuracy = right[chosen, np.arange(len(chosen))].mean()
    assert live(driver, "accuracy") == pytest.approx(accuracy)
    assert live(driver, "difference") == pytest.approx(accuracy - right[-1].mean(), abs=1e-12)
    assert live(driver, "cost") == pytest.approx(FOUND.costs[chosen].mean())
    assert live(driver, "early") == pytest.approx((chosen < 6).mean(), abs=1e-12)
    shares = run(
        driver,
        """return [...document.querySelectorAll('#shares tbody td:last-child')].map((e) =>
            [Number(e.dataset.value), e.innerText]);""",
    )
    expected = np.bincount(chosen, minlength=7) / len(chosen)
    assert [share for share, _ in shares] == pytest.approx(expected.tolist())
    assert [float(text[:-2]) for _, text in shares] == pytest.approx((100 * expected).tolist(), abs=0.051)


def test_without_labels_the_slider_tells_cost_and_shares(show: Callable[..., WebDriver]) -> None:
    """Accuracy has no place there, cost and shares do."""
    driver = show(unlabelled())
    passes = series(FOUND).confidence >= 230
    passes[-1] = True
    assert live(driver, "cost") == pytest.approx(FOUND.costs[passes.argmax(axis=0)].mean())
    assert run(driver, "return document.querySelectorAll('[data-live=accuracy]').length") == 0


def test_slider_and_marks_work_by_keyboard_and_click(show: Callable[..., WebDriver]) -> None:
    """It starts at the first mark; arrows move a step; marks and the curve can be pressed; it is said aloud."""
    driver = show(full())
    keys = pytest.importorskip("selenium.webdriver.common.keys").Keys
    value = "return document.getElementById('slider').value"
    assert run(driver, value) == "215"
    press(driver, "#slider", keys.ARROW_LEFT)
    assert run(driver, value) == "214"
    assert run(driver, "return document.getElementById('slider').getAttribute('aria-valuetext')") == "0.839"
    press(driver, ".marks button:nth-child(2)", keys.ENTER)
    assert run(driver, value) == "153"
    run(driver, "document.querySelector('.ticks span').click()")
    assert run(driver, value) == "215"
    plane = driver.find_element("css selector", "[data-press]")
    plane.click()
    assert run(driver, value) != "215"
    driver.set_script_timeout(5)
    spoken = driver.execute_async_script(
        "setTimeout(() => arguments[0](document.querySelector('[aria-live=polite]').textContent), 700)"
    )
    assert re.match(r"Threshold 0\.\d{3}: accuracy \d+\.\d+\s%, mean cost \d+\.\d+\s% of the backbone\.", spoken)


def test_tables_sort_by_click_and_by_keyboard(show: Callable[..., WebDriver]) -> None:
    """A header sorts its column one way, then the other, says so, and empty cells stay last."""
    shown = analysis(FOUND)
    classes = shown.findings.per_class
    assert classes is not None
    emptied = (*classes[:4], replace(classes[4], destructive=None), *classes[5:])
    driver = show(page(replace(shown, findings=replace(shown.findings, per_class=emptied)), series=None))
    keys = pytest.importorskip("selenium.webdriver.common.keys").Keys
    column = (
        "return [...document.querySelectorAll('#class-table tbody tr')].map((e) => e.children[arguments[0]])"
        ".map((e) => e.dataset.value ?? e.innerText)"
    )
    order = (
        "return [...document.querySelectorAll('#class-table th[aria-sort]')].map((e) => e.getAttribute('aria-sort'))"
    )
    driver.find_element("css selector", "#class-table th:nth-child(3) button").click()
    accuracies = [float(value) for value in run(driver, column, 2)]
    assert accuracies == sorted(accuracies, reverse=True)
    assert run(driver, order)[2] == "descending"
    press(driver, "#class-table th:nth-child(3) button", keys.ENTER)
    assert [float(value) for value in run(driver, column, 2)] == sorted(accuracies)
    assert run(driver, order).count("none") == 6
    for _ in range(2):
        press(driver, "#class-table th:nth-child(5) button", keys.SPACE)
        assert run(driver, column, 4)[-1] == NONE
    press(driver, "#class-table th:nth-child(1) button", keys.ENTER)
    assert run(driver, column, 0) == sorted(shown.findings.classes)
    best = "return document.querySelector('#indicator-table tbody tr').innerText"
    assert "best here" in run(driver, best)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_in_both_schemes(show: Callable[..., WebDriver], scheme: str) -> None:
    """Dark is dark, light is light, and every colour of text keeps 4.5:1 against its grounds."""
    driver = show(full(), scheme=scheme)
    colours = run(
        driver,
        """const style = getComputedStyle(document.documentElement);
        return Object.fromEntries(['paper', 'raised', 'ink', 'soft', 'right-text', 'wrong-text'].map((name) =>
            [name, style.getPropertyValue('--' + name).trim()]));""",
    )
    light = {name: luminance(colour) for name, colour in colours.items()}
    assert (light["paper"] > 0.5) == (scheme == "light")
    for text in ("ink", "soft", "right-text", "wrong-text"):
        for ground in ("paper", "raised"):
            low, high = sorted((light[text], light[ground]))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ground)
    assert (
        run(driver, "return getComputedStyle(document.body).backgroundColor")
        == f"rgb({', '.join(map(str, bytes.fromhex(colours['paper'][1:])))})"
    )


def luminance(colour: str) -> float:
    """Return the relative luminance of ``#rrggbb`` (WCAG 2)."""
    parts = np.frombuffer(bytes.fromhex(colour[1:]), np.uint8) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))


def test_keyboard_reaches_the_content_first(show: Callable[..., WebDriver]) -> None:
    """The first stop of the Tab key is a link past the contents, and focus can be seen."""
    driver = show(full())
    keys = pytest.importorskip("selenium.webdriver.common.keys").Keys
    driver.find_element("css selector", "body").send_keys(keys.TAB)
    first = driver.switch_to.active_element
    assert first.get_attribute("href").endswith("#content")
    assert run(driver, "return getComputedStyle(arguments[0]).outlineStyle", first) == "solid"


def test_large_page_opens_quickly(show: Callable[..., WebDriver]) -> None:
    """10,000 samples with 60 thumbnails are there, drawn, in under 2 seconds."""
    found = drawn()
    driver = show(page(analysis(found), series=series(found), galleries=galleries(found, 30)))
    assert run(driver, "return performance.getEntriesByType('navigation')[0].loadEventEnd") < 2000
