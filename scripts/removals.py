#!/usr/bin/env python3
"""Takes defences out and looks whether their tests notice.

    scripts/removals.py [BATCH | TEST ...]

Without arguments all batches of tests/sandbox/removals.toml, one build each; with test names, such as
limits::host_calls_have_a_limit, only the removals that these tests must notice. Works on a copy of the tree beside the
target folder, whose build it shares, so the tree itself is never without its defences. Tests that must not notice
anything are run as well: a build in which nothing works would prove nothing.
"""

import concurrent.futures
import pathlib
import resource
import shutil
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
COPY = ROOT / "target" / "removals"
# Red for a test that hangs: what it waits for is the end that the defence would have brought.
SECONDS = 30
# Tests at a time. Some do nothing but wait for an end that does not come.
AT_ONCE = 4
# A test whose defence against gigabytes is out must not take the machine down.
BYTES = 8 * 1024**3
CONTROLS = ["descriptor::the_truth_is_admitted", "answers::what_an_earlier_attempt_closed_is_told_from_what_somebody_else_closed"]


def copy():
    shutil.rmtree(COPY, ignore_errors=True)
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True
    ).stdout
    for name in filter(None, files.decode().split("\0")):
        if (ROOT / name).is_file():
            (COPY / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, COPY / name)
    (COPY / "target").symlink_to(ROOT / "target")


def remove(removal):
    file = COPY / removal["file"]
    text = file.read_text()
    if text.count(removal["from"]) != 1:
        sys.exit(f"{removal['file']} does not have exactly one: {removal['from']}")
    file.write_text(text.replace(removal["from"], removal["to"]))


def build():
    command = ["cargo", "test", "--no-run", "--workspace", "--test", "sandbox", "--message-format", "short"]
    built = subprocess.run(command, cwd=COPY, capture_output=True, text=True)
    if built.returncode != 0:
        sys.exit(built.stderr[-4000:])
    line = next(line for line in built.stderr.splitlines() if "Executable" in line and "sandbox" in line)
    return COPY / line.rsplit("(", 1)[1].rstrip(")")


def is_red(program, test):
    limit = lambda: resource.setrlimit(resource.RLIMIT_DATA, (BYTES, BYTES))
    command = [program, "--exact", test, "--test-threads", "1"]
    try:
        ran = subprocess.run(command, cwd=COPY / "host", capture_output=True, text=True, timeout=SECONDS, preexec_fn=limit)
    except subprocess.TimeoutExpired:
        return "red (hangs)"
    if "running 1 test" not in ran.stdout:
        sys.exit(f"there is no test {test}")
    return "red" if ran.returncode != 0 else "GREEN"


def run(removals):
    copy()
    for removal in removals:
        remove(removal)
    program = build()
    good = True
    for test in CONTROLS:
        result = is_red(program, test)
        good &= result == "GREEN"
        print(f"control  {test}: {'green' if result == 'GREEN' else result}", flush=True)
    tried = [(test, removal["defence"]) for removal in removals for test in removal["tests"]]
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        results = pool.map(lambda one: is_red(program, one[0]), tried)
        for result, (test, defence) in zip(results, tried):
            good &= result != "GREEN"
            print(f"{result:<12} {test}   without: {defence}", flush=True)
    return good


def main():
    every = tomllib.loads((ROOT / "tests/sandbox/removals.toml").read_text())["removal"]
    wanted = sys.argv[1:]
    numbers = {int(word) for word in wanted if word.isdigit()}
    tests = {word for word in wanted if not word.isdigit()}
    chosen = [r for r in every if not wanted or r["batch"] in numbers or tests & set(r["tests"])]
    batches = sorted({removal["batch"] for removal in chosen})
    try:
        good = [run([removal for removal in chosen if removal["batch"] == batch]) for batch in batches]
    finally:
        # What was built lies where the tree's own build lies, without its defences. Without its sources the next build
        # does not take it for its own.
        shutil.rmtree(COPY)
    sys.exit(0 if all(good) else 1)


main()
