"""The report in a real browser: its filter, its policy, its widths."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from chromium import CHROMIUM, Chromium, Page, running
from PIL import Image
from report_world import HATS, HOSTILE, RUN_DATE, SCENES, SHOES, published_run, report

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium or google-chrome is installed to open it in"
)

SHOWN = (
    "[...document.querySelectorAll('[data-entry]')].filter(e => e.checkVisibility())"
)
LAYERS = "[...document.querySelectorAll('.layer')].filter(e => e.checkVisibility())"
STATUS = "document.getElementById('filter-status').textContent"
LISTS = 2 * len(SCENES)
EXAMPLES = 3
SCENE_ORDER = (
    "[...document.getElementById('filter-scene').options].slice(1)"
    f".map(o => o.value).slice(0, {len(SCENES)})"
)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of the report of a run whose ids and categories are hostile."""
    root = published_run(tmp_path_factory.mktemp("root"))
    report(root)
    return Path(str(root.report(RUN_DATE) / "index.html")).as_uri()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with running(tmp_path_factory.mktemp("profile")) as found:
        yield found


def shown(page: Page) -> list[list[str]]:
    """Category and scene of each entry that is seen."""
    return page.evaluate(f"{SHOWN}.map(e => [e.dataset.category, e.dataset.scene])")


def view(**state: str) -> str:
    return f"#{urlencode(state)}"


def test_page_opens_with_all_its_pictures_and_no_complaint(
    browser: Chromium, address: str
) -> None:
    with browser.page(address) as page:
        assert page.evaluate(f"{SHOWN}.length") == LISTS + EXAMPLES
        widths = page.evaluate("[...document.images].map(i => i.naturalWidth)")
        # A list: its scene, a layer, four products and four before. An example: its
        # scene, its attention, its product, six or seven ranked; one picture is gone.
        assert len(widths) == LISTS * 10 + EXAMPLES * 9 + 1 - 1
        assert all(widths)
        border = "getComputedStyle(document.querySelector('.banner')).borderLeftWidth"
        assert page.evaluate(border) == "6px", "the policy refused the style sheet"


def test_filter_by_keyboard_is_kept_in_the_address(
    browser: Chromium, address: str
) -> None:
    with browser.page(address) as page:
        page.evaluate("document.getElementById('filter-category').focus()")
        page.press("ArrowDown")  # to the one of the examples, whose name sorts first
        page.press("ArrowDown")
        page.wait_for(f"location.hash === {view(category=HATS)!r}")
        assert shown(page) == [[HATS, scene] for scene in page.evaluate(SCENE_ORDER)]
        page.press("Tab")
        assert page.evaluate("document.activeElement.id") == "filter-scene"
        page.press("ArrowDown")
        page.wait_for(f"{SHOWN}.length === 1")
        page.press("Tab")
        page.press("Enter")  # on "Show all"
        page.wait_for(f"{SHOWN}.length === {LISTS + EXAMPLES}")
        assert page.evaluate("document.activeElement.id") == "filter-category"


def test_attention_is_laid_over_by_mouse_and_by_keyboard(
    browser: Chromium, address: str
) -> None:
    with browser.page(address) as page:
        assert page.evaluate(f"{LAYERS}.length") == 0
        page.click("filter-attention")
        page.wait_for(f"{LAYERS}.length === {LISTS}")
        assert page.evaluate("location.hash") == view(attention="on")
        over = (
            "(e => [e.getBoundingClientRect(), e.previousElementSibling"
            ".getBoundingClientRect()].map(r => [r.x, r.y, r.width, r.height]))"
            "(document.querySelector('.layer'))"
        )
        layer, scene = page.evaluate(over)
        assert layer == pytest.approx(scene, abs=1)
        page.press(" ")
        page.wait_for(f"{LAYERS}.length === 0")


def test_filter_is_cleared_by_mouse(browser: Chromium, address: str) -> None:
    with browser.page(address + view(category=HATS)) as page:
        page.wait_for(f"{SHOWN}.length === {len(SCENES)}")
        page.click("filter-reset")
        page.wait_for(f"{SHOWN}.length === {LISTS + EXAMPLES}")


@pytest.mark.parametrize("scene", SCENES)
def test_address_restores_a_view_of_a_hostile_scene(
    browser: Chromium, address: str, scene: str
) -> None:
    state = view(category=SHOES, scene=scene, attention="on")
    with browser.page(address + state) as page:
        page.wait_for(f"{STATUS} !== ''")
        assert shown(page) == [[SHOES, scene]]
        assert page.evaluate(f"{LAYERS}.length") == 1
        assert page.evaluate("document.getElementById('filter-scene').value") == scene
        assert page.evaluate("document.scripts.length") == 1


def test_links_to_views_and_sections_work_on_the_open_page(
    browser: Chromium, address: str
) -> None:
    with browser.page(address) as page:
        page.evaluate(f"void (location.hash = {view(scene=SCENES[0])!r})")
        page.wait_for(f"{SHOWN}.length === 2")
        page.evaluate("void (location.hash = '#metrics')")
        page.wait_for("location.hash === '#metrics'")
        assert page.evaluate(f"{SHOWN}.length") == 2, "a section's link keeps the view"


def test_address_of_something_absent_says_so_and_shows_all(
    browser: Chromium, address: str
) -> None:
    with browser.page(address + view(category=HOSTILE, scene="s1")) as page:
        page.wait_for(f"{STATUS}.includes('not in this report')")
        assert page.evaluate(STATUS) == (
            f"2 of {LISTS + EXAMPLES} entries are shown. The category of this link is "
            "not in this report."
        )
        assert page.evaluate(f"{SHOWN}.length") == 2


def test_section_without_an_entry_of_the_choice_says_so(
    browser: Chromium, address: str
) -> None:
    with browser.page(address + view(category=HATS)) as page:
        page.wait_for(f"{STATUS} !== ''")
        none = "[...document.querySelectorAll('[data-none]')].map(e => !e.hidden)"
        assert page.evaluate(none) == [False, True], "gallery, examples"


def test_page_is_whole_without_scripts(browser: Chromium, address: str) -> None:
    with browser.page(address, scripts=False) as page:
        assert page.evaluate(f"{SHOWN}.length") == LISTS + EXAMPLES
        hidden = "document.getElementById('filter').checkVisibility()"
        assert page.evaluate(hidden) is False, "a filter that does nothing"
        page.click("filter-attention")
        assert page.evaluate(f"{LAYERS}.length") == LISTS


def test_script_of_another_is_refused_by_the_policy(
    browser: Chromium, address: str
) -> None:
    """The policy is in force, so that its silence above means something."""
    with browser.page(address) as page:
        page.evaluate(
            "(s => { s.textContent = 'window.ran = true'; document.body.append(s); })"
            "(document.createElement('script'))"
        )
        assert page.evaluate("window.ran === undefined")
        (complaint,) = page.complaints()
        assert "Content Security Policy" in complaint["params"]["entry"]["text"]
        page.forgive()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [320, 400, 760, 1000, 1600])
def test_page_never_scrolls_sideways(
    browser: Chromium, address: str, width: int, dark: bool, tmp_path: Path
) -> None:
    with browser.page(address, width=width, height=1200, dark=dark) as page:
        page.wait_for(f"{STATUS} !== ''")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        with Image.open(page.screenshot(tmp_path / "shot.png")) as image:
            picture = image.convert("RGB")
        colours = picture.getcolors(maxcolors=1 << 24) or []
        assert len(colours) > 50
        assert max(colours)[0] < 0.9 * width * 1200, "mostly blank"
        corner = picture.crop((0, 0, 1, 1)).tobytes()
        assert max(corner) < 64 if dark else min(corner) > 192


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_has_contrast_and_controls_have_names(
    browser: Chromium, address: str, dark: bool
) -> None:
    with browser.page(address + view(attention="on"), dark=dark) as page:
        page.wait_for(f"{STATUS} !== ''")
        assert page.evaluate(POOR_CONTRAST) == []
        assert page.evaluate("[...document.images].filter(i => !i.alt).length") == 0
        assert page.evaluate(
            "[...document.querySelectorAll('table')].every(t => t.caption.textContent)"
        )
        assert page.evaluate(
            "[...document.querySelectorAll('select, input')].every(e => "
            "e.labels.length === 1)"
        )


# Ratio of luminances as WCAG 2 defines it; 4.5 is what it asks of text of this size.
POOR_CONTRAST = """
(() => {
  const parts = colour => colour.match(/[\\d.]+/g).map(Number);
  const luminance = colour => parts(colour).slice(0, 3).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const isClear = colour => parts(colour)[3] === 0;
  const ground = e => {
    for (; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (!isClear(colour)) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const poor = new Set();
  for (const e of document.querySelectorAll('body *')) {
    const isText = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (!isText || !e.checkVisibility() || e.closest('svg')) continue;
    const pair = [getComputedStyle(e).color, ground(e)];
    const [low, high] = pair.map(luminance).sort((a, b) => a - b);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < 4.5) poor.add(`${e.className} ${pair.join(' on ')}`);
  }
  return [...poor];
})()
"""
