"""The gallery in use: opened from the disk in a real browser."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips_on_disk import write_clip
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from slash_infer.gallery.find import Recording, find_sections
from slash_infer.gallery.page import make_gallery

pytestmark = pytest.mark.browser

CHROMIUM, CHROMEDRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
HOSTILE = "\"'><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
SECONDS = [0.5, 0.5, 0.5, 0.5, 0.7, 5.0]  # of the clips on the page


@pytest.fixture(scope="module", name="page")
def _page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery of a training run (two clips at two steps) and of a folder with a hostile name and two more clips."""
    place = tmp_path_factory.mktemp("gallery")
    (place / "run").mkdir()
    (place / "run" / "run.json").write_text("{}")
    for step in (100, 200):
        for clip in (0, 1):
            write_clip(place / "run" / "previews" / f"step-{step:08d}" / f"clip-{clip}.wav", clip=clip, step=step)
    hostile = place / HOSTILE.replace("/", "\u2215")
    write_clip(hostile / "a.flac", clip=2, seconds=SECONDS[4], again=HOSTILE, temperature=HOSTILE)
    write_clip(hostile / "b.ogg", clip=3, seconds=SECONDS[5])
    make_gallery(find_sections([place / "run", hostile]), place / "page", HOSTILE, advance=lambda: None)
    return place / "page" / "index.html"


@pytest.fixture(scope="module", name="browser")
def _browser() -> Iterator[webdriver.Chrome]:
    """Chromium, with autoplay allowed and its console logged."""
    for program in (CHROMIUM, CHROMEDRIVER):
        if not program.exists():
            pytest.skip(f"browser: no {program}; on Debian: apt install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    switches = "headless=new no-sandbox mute-audio force-prefers-reduced-motion window-size=1280,900"
    for switch in (*switches.split(), "autoplay-policy=no-user-gesture-required"):
        options.add_argument(f"--{switch}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(executable_path=str(CHROMEDRIVER)))
    yield browser
    browser.quit()


@pytest.fixture(name="opened")
def _opened(browser: webdriver.Chrome, page: Path) -> Iterator[webdriver.Chrome]:
    """The browser with the page just opened. No test may leave anything in the console."""
    browser.get("about:blank")
    browser.get(page.as_uri())
    yield browser
    assert _console(browser) == []


def _console(browser: webdriver.Chrome) -> list[dict[str, Any]]:
    """Return what was logged to the console since the last call."""
    entries: list[dict[str, Any]] = browser.get_log("browser")  # type: ignore[no-untyped-call]
    return entries


def _run(browser: webdriver.Chrome, script: str, *arguments: object) -> Any:
    return browser.execute_script(script, *arguments)


def _wait(browser: webdriver.Chrome, script: str, *arguments: object) -> Any:
    """Wait until an expression is true, and return it."""
    return WebDriverWait(browser, 10, 0.02).until(lambda _: _run(browser, f"return {script}", *arguments), script)


def _on_stage(browser: webdriver.Chrome) -> int:
    """Return the number of the clip on stage, after checking that player, picture and facts are those of the clip."""
    shown = browser.find_element(By.CSS_SELECTOR, ".clip.staged")
    stage = browser.find_element(By.ID, "stage")
    for name, attribute in (("audio", "src"), ("img", "src"), (".facts", "innerHTML")):
        own, staged = (place.find_element(By.CSS_SELECTOR, name).get_attribute(attribute) for place in (shown, stage))
        assert own == staged
    assert [block.get_attribute("innerHTML") for block in stage.find_elements(By.CSS_SELECTOR, ".again")] == [
        block.get_attribute("innerHTML") for block in shown.find_elements(By.CSS_SELECTOR, ".again")
    ]
    assert browser.find_element(By.ID, "now").text == shown.get_attribute("data-title")
    return int(str(shown.get_attribute("id")).removeprefix("clip-"))


def _wait_until_it_plays(browser: webdriver.Chrome) -> None:
    audio = "document.getElementById('stage-audio')"
    _wait(browser, f"{audio}.currentTime > 0 && !{audio}.error && ({audio}.ended || !{audio}.paused)")


def _press(browser: webdriver.Chrome, key: str, on: WebElement | None = None) -> None:
    (on or browser.find_element(By.TAG_NAME, "body")).send_keys(key)


def test_every_clip_loads_and_plays(opened: webdriver.Chrome) -> None:
    players = opened.find_elements(By.CSS_SELECTOR, ".clip audio")
    assert len(players) == len(SECONDS)
    _wait(opened, "[...document.querySelectorAll('audio')].every(audio => audio.readyState >= 1)")
    for player, seconds in zip(players, SECONDS, strict=True):
        duration, fault = _run(opened, "return [arguments[0].duration, arguments[0].error]", player)
        assert fault is None and abs(duration - seconds) < 0.02  # OGG ends on a whole packet
        _run(opened, "arguments[0].play()", player)
        _wait(opened, "arguments[0].currentTime > 0", player)
    assert _run(opened, "return [...document.images].every(image => image.loading === 'lazy' || image.naturalWidth)")


def test_one_player_plays_at_a_time(opened: webdriver.Chrome) -> None:
    long = opened.find_element(By.CSS_SELECTOR, "#clip-6 audio")
    _run(opened, "arguments[0].play()", long)
    _wait(opened, "document.querySelector('#clip-6 audio').currentTime > 0")
    opened.find_element(By.ID, "randomize").click()
    _wait_until_it_plays(opened)
    assert _run(opened, "return arguments[0].paused", long)


def test_randomize_plays_another_clip_every_time(opened: webdriver.Chrome) -> None:
    seen = [_on_stage(opened)]
    assert seen == [1]
    for turn in range(12):
        if turn % 2:
            _press(opened, "r")
        else:
            opened.find_element(By.ID, "randomize").click()
        _wait_until_it_plays(opened)
        seen.append(_on_stage(opened))
        assert seen[-1] != seen[-2]
    assert len(set(seen)) > 2


def test_keys_walk_and_pause(opened: webdriver.Chrome) -> None:
    for key, then in ((Keys.ARROW_LEFT, 6), (Keys.ARROW_RIGHT, 1), (Keys.ARROW_RIGHT, 2), (Keys.ARROW_LEFT, 1)):
        _press(opened, key)
        assert _on_stage(opened) == then
    _press(opened, Keys.ARROW_LEFT)  # the long clip
    _wait_until_it_plays(opened)
    scrolled = _run(opened, "return scrollY")
    for paused in (True, False, True):
        _press(opened, Keys.SPACE)
        _wait(opened, f"document.getElementById('stage-audio').paused === {str(paused).lower()}")
    assert _on_stage(opened) == 6
    assert _run(opened, "return scrollY") == scrolled  # the space bar did not scroll as well


def test_keys_that_mean_something_to_what_has_the_focus_stay_its_own(opened: webdriver.Chrome) -> None:
    opened.find_element(By.CSS_SELECTOR, "#clip-6 .stage-it").click()
    _press(opened, Keys.SPACE, opened.find_element(By.CSS_SELECTOR, "#clip-2 summary"))
    assert _run(opened, "return document.querySelector('#clip-2 details').open")
    _press(opened, Keys.SPACE, opened.find_element(By.CSS_SELECTOR, "#clip-3 .stage-it"))
    assert _on_stage(opened) == 3
    player = opened.find_element(By.ID, "stage-audio")
    for key in (Keys.ARROW_RIGHT, Keys.CONTROL + "r"):
        if key == Keys.ARROW_RIGHT:
            _press(opened, key, player)
        else:
            _run(opened, "document.dispatchEvent(new KeyboardEvent('keydown', {key: 'r', ctrlKey: true}))")
        assert _on_stage(opened) == 3
    _run(opened, "document.body.append(document.createElement('input'))")
    field = opened.find_element(By.TAG_NAME, "input")
    _press(opened, "r r", field)
    assert field.get_attribute("value") == "r r" and _on_stage(opened) == 3


def test_a_clip_is_put_on_stage_and_linked_to(opened: webdriver.Chrome, page: Path) -> None:
    opened.find_element(By.CSS_SELECTOR, "#clip-4 .stage-it").click()
    _wait_until_it_plays(opened)
    assert _on_stage(opened) == 4
    opened.get("about:blank")
    opened.get(f"{page.as_uri()}#clip-5")
    assert _on_stage(opened) == 5
    link = opened.find_element(By.CSS_SELECTOR, "#clip-5 header a")
    assert link.get_attribute("href") == f"{page.as_uri()}#clip-5"


def test_a_training_plays_in_order(opened: webdriver.Chrome) -> None:
    """Clip 0 at both steps, and then no further."""
    _run(opened, "window.heard = []; document.addEventListener('ended', event => heard.push(event.target.src), true)")
    opened.find_element(By.CSS_SELECTOR, ".in-order").click()
    heard = _wait(opened, "heard.length === 2 && heard")
    assert [Path(source).name for source in heard] == ["0001.wav", "0002.wav"]
    assert _on_stage(opened) == 2


def test_hostile_text_is_shown_and_nothing_more(opened: webdriver.Chrome) -> None:
    assert opened.find_element(By.TAG_NAME, "h1").text == HOSTILE
    assert opened.title == HOSTILE
    opened.find_element(By.CSS_SELECTOR, "#clip-5 summary").click()
    assert opened.find_element(By.CSS_SELECTOR, "#clip-5 code").text == HOSTILE
    opened.find_element(By.CSS_SELECTOR, "#clip-5 .stage-it").click()
    assert HOSTILE in opened.find_element(By.ID, "stage-facts").text
    assert len(opened.find_elements(By.TAG_NAME, "script")) == 1
    assert opened.title == HOSTILE


def test_scripts_that_slip_in_are_refused(browser: webdriver.Chrome, page: Path) -> None:
    """If a text were ever left unescaped, the page's Content-Security-Policy would still stop it."""
    browser.get(page.as_uri())
    _run(browser, "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"document.title=1\">')")
    _run(browser, "const s = document.createElement('script'); s.text = 'document.title=1'; document.body.append(s)")
    logged = WebDriverWait(browser, 10).until(_console)
    assert any("Content Security Policy" in entry["message"] for entry in logged)
    assert browser.title == HOSTILE


def test_the_command_is_copied_or_selected(opened: webdriver.Chrome) -> None:
    opened.find_element(By.CSS_SELECTOR, "#clip-1 summary").click()
    opened.find_element(By.CSS_SELECTOR, "#clip-1 .copy").click()
    said = _wait(opened, "document.getElementById('said').textContent")
    assert said in ("Copied", "Selected: now copy it")
    _select_where_nothing_can_be_copied(opened, "#clip-1")


def test_the_command_is_copied_from_the_stage_too(opened: webdriver.Chrome) -> None:
    opened.find_element(By.CSS_SELECTOR, "#clip-2 .stage-it").click()
    _select_where_nothing_can_be_copied(opened, "#stage-again")


def _select_where_nothing_can_be_copied(browser: webdriver.Chrome, place: str) -> None:
    """Click the button that copies the command of a place, without a clipboard, and check that it is selected."""
    _run(browser, "Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    browser.find_element(By.CSS_SELECTOR, f"{place} .copy").click()
    _wait(browser, "document.getElementById('said').textContent.startsWith('Selected')")
    command = browser.find_element(By.CSS_SELECTOR, f"{place} code").text
    assert _run(browser, "return getSelection().toString()") == command
    assert command.startswith("slash generate")


def test_randomize_leaves_recordings_out(browser: webdriver.Chrome, tmp_path: Path) -> None:
    (tmp_path / "run" / "previews").mkdir(parents=True)
    (tmp_path / "run" / "run.json").write_text("{}")
    for clip in (0, 1):
        write_clip(tmp_path / "run" / "previews" / f"{clip}.wav", clip=clip)
    recording = Recording("solo.wav", np.zeros(16_000, np.int16), 16_000)
    make_gallery(find_sections([tmp_path / "run"], lambda _: recording), tmp_path / "page", "Clips", lambda: None)
    browser.get((tmp_path / "page" / "index.html").as_uri())
    assert _on_stage(browser) == 2  # the first of what was generated
    for expected in (3, 2, 3):
        _press(browser, "r")
        assert _on_stage(browser) == expected
    browser.find_element(By.CSS_SELECTOR, "#clip-1 .stage-it").click()
    assert _on_stage(browser) == 1
    _wait(browser, "document.getElementById('stage-audio').duration === 1")
    assert _console(browser) == []


def test_it_fits_a_phone(opened: webdriver.Chrome) -> None:
    phone = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        _run(opened, "for (const one of document.querySelectorAll('details')) one.open = true")
        assert _run(opened, "return [innerWidth, document.documentElement.scrollWidth]") == [360, 360]
        wide = "return [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > 360)"
        assert _run(opened, wide) == []
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_it_is_dark_where_dark_is_preferred(opened: webdriver.Chrome) -> None:
    try:
        for scheme, dark in (("dark", True), ("light", False)):
            feature = {"name": "prefers-color-scheme", "value": scheme}
            opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
            for colour, expected in (("backgroundColor", dark), ("color", not dark)):
                rgb = _run(opened, f"return getComputedStyle(document.body).{colour}")
                channels = [int(part) for part in rgb[rgb.index("(") + 1 : -1].split(",")]
                assert (max(channels) < 64) is expected
    finally:
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_the_list_needs_no_script(browser: webdriver.Chrome, page: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(page.parent, tmp_path / "page"))
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get((folder / "index.html").as_uri())
        assert len(browser.find_elements(By.CSS_SELECTOR, ".clip audio[controls]")) == len(SECONDS)
        hidden = [*browser.find_elements(By.TAG_NAME, "button"), browser.find_element(By.ID, "stage")]
        assert not any(element.is_displayed() for element in hidden)
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
