#!/usr/bin/env python3
"""Writes FOLDER/sbom.cdx.json (CycloneDX 1.5: every crate linked into the library) and FOLDER/licences (their texts).

usage: sbom.py FOLDER
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import uuid

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIBRARY = "biomistral-nlu-ffi"
LICENCE = re.compile(r"(licen[cs]e|copying|notice|unlicense)", re.IGNORECASE)


def metadata():
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", "x86_64-unknown-linux-gnu"]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)


def checksums():
    found = {}
    for block in (ROOT / "Cargo.lock").read_text().split("[[package]]"):
        fields = dict(re.findall(r'^(name|version|checksum) = "(.*)"$', block, re.MULTILINE))
        if "checksum" in fields:
            found[fields["name"], fields["version"]] = fields["checksum"]
    return found


def linked(meta):
    """Packages that the library links, with what each of them links; macros run in the compiler and are not among them."""
    packages = {p["id"]: p for p in meta["packages"]}

    def macro(package):
        return any("proc-macro" in target["kind"] for target in packages[package]["targets"])

    edges = {
        n["id"]: sorted(d["pkg"] for d in n["deps"] if any(k["kind"] is None for k in d["dep_kinds"]) and not macro(d["pkg"]))
        for n in meta["resolve"]["nodes"]
    }
    start = next(p["id"] for p in meta["packages"] if p["name"] == LIBRARY)
    seen, todo = set(), [start]
    while todo:
        package = todo.pop()
        if package not in seen:
            seen.add(package)
            todo.extend(edges[package])
    order = sorted(seen, key=lambda p: (packages[p]["name"], packages[p]["version"]))
    return start, [(packages[p], [packages[d] for d in edges[p]]) for p in order]


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, sums):
    entry = {"type": "library", "bom-ref": purl(package), "name": package["name"], "version": package["version"]}
    entry["purl"] = purl(package)
    entry["licenses"] = [{"expression": package["license"].replace("/", " OR ")}] if package["license"] else []
    digest = sums.get((package["name"], package["version"]))
    if digest:
        entry["hashes"] = [{"alg": "SHA-256", "content": digest}]
    return entry


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1])
    start, packages = linked(metadata())
    sums = checksums()
    library = next(p for p, _ in packages if p["id"] == start)
    body = {
        "components": [component(p, sums) for p, _ in packages if p["id"] != start],
        "dependencies": [{"ref": purl(p), "dependsOn": [purl(d) for d in on]} for p, on in packages],
    }
    # A name made from the content: the same library has the same serial number.
    serial = uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(body, sort_keys=True))
    top = dict(component(library, sums), name="libbiomistral_nlu")
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {"component": top},
    } | body
    (folder / "sbom.cdx.json").write_text(json.dumps(bom, indent=1) + "\n")

    licences = folder / "licences"
    for package, _ in packages:
        source = pathlib.Path(package["manifest_path"]).parent
        if ROOT in source.parents:
            continue  # this project's own licence stands one folder up
        for file in sorted(f for f in source.iterdir() if f.is_file() and LICENCE.search(f.name)):
            to = licences / f"{package['name']}-{package['version']}"
            to.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, to / file.name)
    print(f"{len(body['components'])} components in {os.path.relpath(folder / 'sbom.cdx.json')}")


if __name__ == "__main__":
    main()
