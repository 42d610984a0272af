"""The page of `sluis map watch` as an author uses it, in a real Chromium, by Playwright.

Needs SLUIS (the binary), SLUIS_CHROMIUM (a browser) and, as its argument, a folder it may write in. Runs from the root of the
repository. Every step is an assertion; the first that does not hold ends the run.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

WORK = Path(sys.argv[1])
ELEMENT = "Observation.component[1].valueQuantity.value"  # of case `settings`: the back-up rate, 18


def hold(what, truth):
    assert truth, what
    print(f"   {what}")


class Watched:
    """A copy of a shipped folder, and `sluis map watch` on it."""

    def __init__(self, name):
        self.folder = WORK / name
        shutil.copytree(Path("mappings") / name, self.folder)
        self.process = subprocess.Popen([os.environ["SLUIS"], "map", "watch", str(self.folder)], stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            found = re.search(r"http://\S+", line)
            if found:
                self.address = found.group()
                return
        raise AssertionError("sluis map watch ended")

    def edit(self, file, old, new):
        path = self.folder / file
        text = path.read_text()
        assert old in text, f"{file} holds no {old}"
        path.write_text(text.replace(old, new, 1))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def summary(page, text):
    page.wait_for_function("text => document.getElementById('summary').textContent.includes(text)", arg=text)


def texts(page, selector):
    return page.locator(selector).all_text_contents()


# Text against what is behind it (WCAG 2.2, 1.4.3: at least 4.5 to 1). Returns what falls short.
CONTRAST = """() => {
  const parts = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const found = parts(getComputedStyle(at).backgroundColor);
      if (found.length === 3 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const short = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.checkVisibility()) continue;
    const [a, b] = [light(parts(getComputedStyle(node).color)), light(ground(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) short.push(`${node.tagName}.${node.className} ${ratio.toFixed(2)} ${node.textContent.slice(0, 20)}`);
  }
  return short;
}"""

with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=os.environ["SLUIS_CHROMIUM"], args=["--no-sandbox"])
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    faults, asked = [], []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" and "404" not in message.text else None)
    page.on("request", lambda request: asked.append(request.url))

    with Watched("ctb-settings") as watched:
        page.goto(watched.address)
        summary(page, "2 passed, 0 failed")
        page.get_by_role("button", name="settings", exact=True).click()
        page.wait_for_selector(f"[title='{ELEMENT}']")
        document = (watched.folder / "cases/settings/in.json").read_text()
        hold("shows the document byte for byte beside its resources", page.locator("#source").text_content() == document)
        hold("tells the state in the title of the window", page.title() == "\u2713 ctb-settings")

        element = page.locator(f"[title='{ELEMENT}']").first
        element.hover()
        lit = texts(page, "#source .lit")
        hold("lights the source of an element", lit == ["18"])
        page.locator("#source .lit").hover()
        hold("lights the elements of a source field", ELEMENT in page.locator("#target .lit").evaluate_all("all => all.map(n => n.title)"))
        page.mouse.move(5, 5)
        hold("lights nothing when nothing is pointed at", page.locator(".lit").count() == 0)

        page.locator("#cases button").first.focus()
        for _ in range(6):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.closest('#source') !== null"):
                break
        first = page.evaluate("document.activeElement.dataset.key")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        hold("goes along the fields by the arrows", page.evaluate("document.activeElement.dataset.key") != first)
        page.keyboard.press("Tab")
        hold("goes to the other side by one Tab", page.evaluate("document.activeElement.closest('#target') !== null"))
        page.keyboard.press("End")
        hold("goes to the last element", page.evaluate("(() => { const p = document.getElementById('target'); return p.scrollTop > 0; })()"))

        element.click()
        place = page.evaluate("[...document.querySelectorAll('.pane')].map(pane => pane.scrollTop)")
        before = page.evaluate("Number(document.body.dataset.state)")
        watched.edit("codes/status.csv", ",final,", ",amended,")
        page.wait_for_function("before => Number(document.body.dataset.state) > before", arg=before)
        summary(page, "failed")
        hold("shows what a save changed, with the rule", "amended" in page.locator("#problems").text_content())
        hold("keeps the case", page.locator("#cases [aria-pressed=true]").get_attribute("data-name") == "settings")
        hold("keeps the place on both sides", page.evaluate("[...document.querySelectorAll('.pane')].map(pane => pane.scrollTop)") == place)
        kept = page.locator("#target .kept").evaluate_all("all => all.map(n => n.title)")
        hold("keeps the link that was clicked", kept == [ELEMENT] and texts(page, "#source .kept") == ["18"])
        hold("keeps the keyboard where it was", page.evaluate("document.activeElement.title") == ELEMENT)
        page.reload()
        page.wait_for_selector("#source .kept")
        hold("keeps case and link when the page is loaded anew", texts(page, "#source .kept") == ["18"])
        page.keyboard.press("Escape")
        hold("lets go by Escape", page.locator(".kept").count() == 0)

        watched.edit("codes/status.csv", ",amended,", ",final,")
        summary(page, "2 passed, 0 failed")
        watched.edit("map.fml", "settings.ipap", "settings.ipap.nothingg()")
        summary(page, "1 problem(s)")
        lines = page.locator("#problems pre").first.text_content().split("\n")
        caret = next(at for at, line in enumerate(lines) if "^" in line)
        under = lines[caret - 1][lines[caret].index("^"):]
        hold("shows an error with its caret under the name", under.startswith("nothingg"))
        hold("never breaks the lines of an error", page.locator("#problems pre").first.evaluate("n => getComputedStyle(n).whiteSpace").startswith(("pre", "nowrap"))
             and page.locator("#problems pre").first.evaluate("n => getComputedStyle(n).textWrapMode !== 'wrap'"))
        hold("leaves the document there meanwhile, faded", page.locator("body.stale #source").text_content() == document)
        watched.edit("map.fml", "settings.ipap.nothingg()", "settings.ipap")
        summary(page, "2 passed, 0 failed")
        hold("is itself again once the fault is mended", page.locator("body.stale").count() == 0 and not page.locator("#problems").is_visible())

    summary(page, "has ended")
    hold("says when the command has ended", page.locator("#summary.failed").count() == 1)

    with Watched("umc-lab") as watched:
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.goto(watched.address)
            page.wait_for_selector("#target .element")
            page.locator("#source .field").nth(20).hover()
            short = page.evaluate(CONTRAST)
            hold(f"can be read in {scheme} colours", short == [] or print(short))
        for width in (1280, 700, 360):
            page.set_viewport_size({"width": width, "height": 800})
            hold(f"fits a window of {width} pixels", page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))

    hold("asked nothing of another place", all(url.startswith("http://127.0.0.1:") for url in asked))
    faults = [fault for fault in faults if "ERR_CONNECTION" not in fault and "ERR_EMPTY" not in fault and "ERR_INCOMPLETE" not in fault]
    hold("has no fault in its script", faults == [] or print(faults))
    browser.close()
