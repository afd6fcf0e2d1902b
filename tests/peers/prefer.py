"""Chooses between clips in a real browser: `rapport prefer` behind headless Chromium.

    prefer.py RAPPORT PLAY MOVING DEMOS WORK [PICTURES]

PLAY: a dataset of short clips with the simulator's `truth.progress`; MOVING: one of long ones; DEMOS: demonstrations; WORK: a folder to write
to. Answers by key, by click and by touch; takes back; answers while the program is dead and goes on; two tabs; then orders 40 triplets of
PLAY after the hidden truth into WORK/answers.jsonl. PICTURES: a folder for screenshots, where somebody wants to look at them.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import pyarrow.parquet
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.chrome.service import Service

RAPPORT, PLAY, MOVING, DEMOS, WORK = sys.argv[1:6]
PICTURES = sys.argv[6] if len(sys.argv) > 6 else None
PATIENCE = 30.0


class Program:
    """`rapport prefer` as a process."""

    def __init__(self, dataset, out, port, *words):
        self.process = subprocess.Popen(
            [RAPPORT, "prefer", "--json", "--dataset", dataset, "--out", out, "--port", str(port), *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.url = self.process.stderr.readline().strip()
        assert self.url.startswith("http://127.0.0.1:"), self.url
        self.port = int(self.url.split(":")[2].split("/")[0])

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == 0, err
        return json.loads(out)


class Page:
    """One tab."""

    def __init__(self, browser, url, handle=None):
        self.browser = browser
        self.handle = handle or browser.current_window_handle
        self.look()
        if url:
            browser.get("about:blank")
            browser.get(url)

    def look(self):
        self.browser.switch_to.window(self.handle)
        # A tab behind another one draws nothing.
        self.browser.execute_cdp_cmd("Page.bringToFront", {})

    def shown(self):
        """The question on show, once it can be answered: its clips, from left to right."""
        name = self.until(lambda: self.browser.execute_script("return document.body.dataset.ready"))
        return [int(clip) for clip in name.split("-")] if name[0].isdigit() else name

    def next(self, before):
        self.until(lambda: self.browser.execute_script("return document.body.dataset.ready") not in (None, before))
        return self.shown()

    def key(self, key):
        """Presses a key on the page and waits for what comes next."""
        before = self.browser.execute_script("return document.body.dataset.ready")
        self.press(key)
        return self.next(before)

    def press(self, key):
        self.browser.find_element(By.TAG_NAME, "body").send_keys(key)

    def click(self, selector, number=0):
        before = self.browser.execute_script("return document.body.dataset.ready")
        self.browser.find_elements(By.CSS_SELECTOR, selector)[number].click()
        return self.next(before)

    def script(self, text, *arguments):
        return self.browser.execute_script("return " + text, *arguments)

    def note(self):
        return self.script("document.getElementById('note').hidden ? '' : document.getElementById('note').textContent")

    def count(self):
        return self.script("document.getElementById('count').textContent")

    def until(self, holds):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            found = holds()
            if found:
                return found
            time.sleep(0.02)
        raise AssertionError("waited in vain; the page says: " + self.script("document.body.innerText"))

    def picture(self, name):
        if PICTURES:
            self.browser.save_screenshot(os.path.join(PICTURES, name + ".png"))


def open_browser(profile):
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                 "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--user-data-dir=" + profile]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)


def size(browser, width, height, touch=False, dark=False):
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                            {"width": width, "height": height, "deviceScaleFactor": 2 if touch else 1, "mobile": touch})
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": touch})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia",
                            {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]})


def lines(path):
    return [json.loads(line) for line in pathlib.Path(path).read_text().splitlines()]


def truth_of_frames(dataset):
    """The hidden truth of every frame, in the order in which the program numbers clips of one frame."""
    table = pyarrow.parquet.read_table(pathlib.Path(dataset) / "data", columns=["episode_index", "frame_index", "truth.progress"])
    rows = zip(*(table[name].to_pylist() for name in ("episode_index", "frame_index", "truth.progress")))
    return [v[0] if isinstance(v, list) else v for _, _, v in sorted(rows, key=lambda row: row[:2])]


def fits(page, width, height):
    """Nothing is cut off, the clips are large, and fingers hit what they mean."""
    assert page.script("document.documentElement.scrollWidth") <= width
    assert page.script("document.documentElement.scrollHeight") <= height
    boxes = page.script("[...document.querySelectorAll('.clip, .actions button')].filter(b => !b.hidden).map(b => "
                        "{ const r = b.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; })")
    for left, top, right, bottom in boxes:
        assert left >= 0 and top >= 0 and right <= width and bottom <= height, (boxes, width, height)
        assert right - left >= 44 and bottom - top >= 44, boxes
    canvas = page.script("document.querySelector('.clip .well').getBoundingClientRect().toJSON()")
    assert canvas["width"] * canvas["height"] * page.script("document.querySelectorAll('.clip').length") > 0.4 * width * height, canvas


def in_step(page):
    """Both clips move, and always show the same moment."""
    moments = set()
    for _ in range(30):
        a, b = page.script("films.map(f => f.shown)")
        assert a == b, (a, b)
        moments.add(a)
        time.sleep(0.03)
    assert len(moments) > 3, moments
    colours = page.script("[...document.querySelectorAll('canvas')].map(c => new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size)")
    assert all(n > 20 for n in colours), ("the canvas is empty", colours)


def labels(browser):
    out = os.path.join(WORK, "labels.jsonl")
    program = Program(MOVING, out, 0, "--count", "60", "--user", "ana")
    size(browser, 1440, 900)
    page = Page(browser, program.url)
    page.shown()
    fits(page, 1440, 900)
    in_step(page)
    page.picture("desktop-light")
    said = []

    def liked(question, place):
        said.append(("pair", question[place], question[1 - place]))

    question = page.shown()
    liked(question, 1)
    question = page.key(Keys.ARROW_RIGHT)
    liked(question, 0)
    question = page.key(Keys.ARROW_LEFT)
    # By click; the pointer leaves no focus behind that the space bar would press again.
    liked(question, 0)
    question = page.click(".clip", 0)
    said.append(("equal", *question))
    question = page.key(" ")
    said.append(("equal", *question))
    question = page.key(Keys.ARROW_DOWN)
    # By focus: the space bar presses what has it.
    liked(question, 1)
    page.script("document.querySelectorAll('.clip')[1].focus()")
    browser.switch_to.active_element.send_keys(" ")
    question = page.next("-".join(map(str, question)))
    skipped = question
    question = page.key("s")
    assert "1 skipped" in page.count(), page.count()
    # Taking back: the skipped question comes again, then the one before.
    assert page.key("u") == skipped
    question = page.click("#undo")
    kind, *taken = said.pop()
    assert question == [taken[1], taken[0]], (question, taken)
    liked(question, 0)
    question = page.key(Keys.ARROW_LEFT)

    # By touch, on a phone.
    size(browser, 390, 844, touch=True, dark=True)
    time.sleep(0.3)
    fits(page, 390, 844)
    page.picture("phone-dark")
    liked(question, 1)
    spot = page.script("(r => [r.left + r.width / 2, r.top + r.height / 2])(document.querySelectorAll('.clip')[1].getBoundingClientRect())")
    before = page.script("document.body.dataset.ready")
    browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": spot[0], "y": spot[1]}]})
    browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    question = page.next(before)
    size(browser, 1440, 900, dark=True)

    # A reload shows the same question.
    browser.refresh()
    assert page.shown() == question

    # The program is killed; what is said meanwhile is not lost, in the open page and over a reload.
    program.kill()
    liked(question, 0)
    page.press(Keys.ARROW_LEFT)
    page.until(lambda: "Not saved yet" in page.note())
    page.picture("not-saved")
    before = "-".join(map(str, question))
    program = Program(MOVING, out, program.port, "--count", "60", "--user", "ana")
    question = page.next(before)
    assert page.note() == "" and page.count().startswith(f"{len(said)} of 60"), page.count()

    # Two tabs are never asked the same, and both are heard.
    browser.switch_to.new_window("tab")
    size(browser, 1440, 900, dark=True)
    other = Page(browser, program.url, browser.current_window_handle)
    asked = {tuple(sorted(question))}
    for turn in range(8):
        for tab in (page, other):
            tab.look()
            question = tab.shown()
            liked(question, turn % 2)
            tab.press([Keys.ARROW_LEFT, Keys.ARROW_RIGHT][turn % 2])
            following = tab.next("-".join(map(str, question)))
            assert tuple(sorted(following)) not in asked, "asked twice"
            asked.add(tuple(sorted(following)))
    # The model has seen enough by now; what it thought is said after the answer, and can be hidden.
    end = time.monotonic() + PATIENCE
    while not other.script("document.getElementById('belief').textContent") and time.monotonic() < end:
        question = other.shown()
        liked(question, 0)
        other.key(Keys.ARROW_LEFT)
        time.sleep(0.5)
    belief = other.script("document.getElementById('belief').textContent")
    assert "The model gave your last choice" in belief and "%" in belief, belief
    other.picture("desktop-dark")
    size(browser, 390, 844, touch=True)
    time.sleep(0.3)
    fits(other, 390, 844)
    other.picture("phone-light")
    other.press("m")
    assert other.script("document.getElementById('belief').hidden")
    other.press("m")
    # A page without the token may not even look.
    other.browser.get("about:blank")
    other.browser.get(program.url.split("#")[0])
    other.until(lambda: "Open the address that the terminal prints" in other.note())
    browser.close()
    page.look()

    summary = program.end()
    assert summary["answers"] == len(said), (summary, len(said))
    found = []
    for line in lines(out):
        if "retract" in line:
            found[-line["retract"]] = None
            line = None
        found.append(line)
    kinds = []
    for line in found:
        if line is None or "skip" in line:
            continue
        choice = line["choice"]
        assert line["user"] == "ana" and line["annotator"] == "page"
        if choice["kind"] == "pair":
            kinds.append(("pair", choice["better"]["episode"], choice["worse"]["episode"]))
        else:
            kinds.append(("equal", *(c["episode"] for c in choice["clips"])))
    assert sorted(kinds) == sorted(said), (kinds, said)
    assert len({tuple(sorted(k[1:])) for k in kinds}) == len(kinds), "a pair twice"
    return len(said)


def simulated(browser):
    """A person with a rule of their own orders forty triplets."""
    truth = truth_of_frames(PLAY)
    out = os.path.join(WORK, "answers.jsonl")
    program = Program(PLAY, out, 0, "--triplets", "--count", "40", "--frames", "1", "--demonstrations", DEMOS)
    page = Page(browser, program.url)
    size(browser, 1440, 900)
    question = page.shown()
    answered = 0
    while question != "done":
        order = sorted(range(3), key=lambda place: -truth[question[place]])
        if answered % 2:
            page.press(str(order[0] + 1))
            if answered == 21:
                time.sleep(0.3)
                page.picture("triplets")
            question = page.key(str(order[1] + 1))
        else:
            browser.find_elements(By.CSS_SELECTOR, ".clip")[order[0]].click()
            question = page.click(".clip", order[1])
        answered += 1
    assert answered == 40
    page.picture("done")
    browser.find_element(By.ID, "finish").click()
    summary = program.end()
    assert summary["answers"] == 40, summary
    return summary


with tempfile.TemporaryDirectory() as profile:
    browser = open_browser(profile)
    try:
        answers = labels(browser)
        summary = simulated(browser)
        # Wanted: the failures that the test itself provokes (a dead program, a page without token). Unwanted: anything that scripts throw.
        thrown = [e for e in browser.get_log("browser") if e["source"] not in ("network", "security") and e["level"] == "SEVERE"]
        assert not thrown, thrown
    finally:
        browser.quit()
print(json.dumps({"answers": answers, "simulated": summary}))
