#!/usr/bin/env python3
"""One-line mutants of the CUDA kernels, run against the kernel tests: a mutant that no test stops is a gap in the tests.

Usage: scripts/mutants.py [--minutes N] [--jobs N] [--only TEXT] [--list]
The operators below take away one barrier, wait, mask edge, swizzle term, bound or scale at a time. A mutant is compiled to
PTX by NVRTC; one whose code is unchanged does not count. The test binary that exercises its file runs with that PTX
(BMN_KERNELS_PTX) and is stopped at its first failure. Survivors are listed; those with a reason in kernels/mutants.txt
(`file | mutated line | reason`) are accepted, any other makes the exit status 1.
"""

import argparse, concurrent.futures, ctypes, json, os, pathlib, re, shutil, subprocess, sys, tempfile, time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CU = ROOT / "kernels/cu"
# Which test binary exercises a .cu file.
PRODUCTS = {"gemm", "gemm_int8", "probe", "skinny", "skinny_int8"}
TRAINING = {"adamw", "embed_backward", "packed_attention", "packed_backward", "pointwise", "rms_norm_backward"}

OPERATORS = [  # kind, pattern, replacement
    ("barrier", r"__syncthreads\(\);", ";"),
    ("barrier", r"__syncwarp\(\);", ";"),
    ("wait", r"cp_async_wait<[^;]*>\(\);", ";"),
    ("wait", r"cp_async_wait<(.*) - 2>", r"cp_async_wait<\1 - 1>"),
    ("commit", r"cp_async_commit\(\);", ";"),
    ("swizzle", r"chunk \^ swizzle", "chunk"),
    ("swizzle", r"row & 7", "row & 3"),
    ("swizzle", r"\(row >> 1\) & 3", "row & 3"),
    ("swizzle", r"\(row >> 2\) & 1", "row & 1"),
    ("swizzle", r"\^ step \* (\d+)", r"+ step * \1"),
    ("edge", r" < ", " <= "),
    ("edge", r" <= ", " < "),
    ("edge", r" >= ", " > "),
    ("edge", r" > ", " >= "),
    ("bound", r"min\(([^,]+(?:\([^()]*\)[^,]*)?), ([^()]+)\)", r"(\1)"),
    ("bound", r" - 1\b", ""),
    ("bound", r" \+ 1\b", ""),
    ("scale", r" \* (p\.scale|scale|cos|sin)\b", ""),
    ("scale", r" \*= (scale|lo|hi|p\.scale)\b", " *= 1.0f"),
    ("sign", r"-(__fmul_rn|1\.44)", r"\1"),
    ("term", r" \+ (lane|warp|thread|row|token|pair|head|slot)\w* [*/%] \d+", ""),
    ("term", r" && ", " || "),
    ("swizzle", r"chunk \^ exchange\(row\)", "chunk"),
    ("swizzle", r"address \^ ", "address + "),
    ("scale", r", scale\)", ", 1.0f)"),
    ("scale", r", shrink\[[^]]*\]", ", 1.0f"),
    ("term", r", (shuffle|quad)_xor\((\w+(?:\[r\])?), \d\)", r", \2"),
    ("term", r"\? (.*) : 0;", r"? \1 : \1;"),
    ("term", r" == none\(\)", " != none()"),
    ("term", r"live >> i & 1 \? bytes : 0", "bytes"),
    ("term", r"live = (.*);", "live = true;"),
    ("term", r"\? ([^?:]*) : 0\.0f;", r"? \1 : \1;"),
    ("sign", r"-(log|sin|h\[c\])(?=[,;) ])", r"\1"),
    ("scale", r" \* kLog2E", ""),
    ("scale", r", (kLn2|by|p\.decay|p\.scale|p\.correction\[\d\])\)", ", 1.0f)"),
    ("term", r" >> 16\)", ")"),
]


def mutants(only):
    for path in sorted(CU.rglob("*.cu*")):
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines):
            code = line.split("//")[0]
            if not code.strip() or re.match(r"\s*(#|template|static_assert|using|for \(int (i|j|s|n|e|r|step) = 0)", code):
                continue
            for kind, pattern, replacement in OPERATORS:
                for found in re.finditer(pattern, code):
                    if kind == "edge" and ("template" in code or "static_cast<" in code[: found.start()][-12:]):
                        continue
                    mutated = code[: found.start()] + found.expand(replacement) + code[found.end() :]
                    name = str(path.relative_to(CU))
                    if mutated != code and (not only or only in name or only == kind):
                        yield kind, name, number, code.strip(), mutated


class Nvrtc:
    def __init__(self):
        homes = [os.environ.get("CUDA_HOME", ""), str(ROOT / "build/cuda")]
        paths = [pathlib.Path(h) / "lib64/libnvrtc.so.12" for h in homes if h]
        found = next((p for p in paths if p.is_file()), None) or sys.exit("no NVRTC: run `make cuda`")
        self.lib = ctypes.CDLL(str(found))

    def compile(self, folder, name):
        """PTX of folder/NAME.cu, or None where it does not compile."""
        lib, program, size = self.lib, ctypes.c_void_p(), ctypes.c_size_t()
        source = (folder / f"{name}.cu").read_bytes()
        lib.nvrtcCreateProgram(ctypes.byref(program), source, str(folder / f"{name}.cu").encode(), 0, None, None)
        options = [b"--gpu-architecture=compute_80", b"--std=c++17", f"--include-path={folder}".encode()]
        status = lib.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
        ptx = None
        if status == 0:
            lib.nvrtcGetPTXSize(program, ctypes.byref(size))
            text = ctypes.create_string_buffer(size.value)
            lib.nvrtcGetPTX(program, text)
            ptx = text.value.decode()
        lib.nvrtcDestroyProgram(ctypes.byref(program))
        return ptx


def includes(name, seen):
    """The files that a source includes, itself too."""
    if name in seen:
        return seen
    seen.add(name)
    for header in re.findall(r'#include "([^"]+)"', (CU / name).read_text()):
        if (CU / header).is_file():
            includes(header, seen)
    return seen


def binaries():
    command = ["cargo", "test", "--locked", "-p", "biomistral-nlu-kernels", "--no-run", "--message-format=json"]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    artefacts = [json.loads(line) for line in made.splitlines() if line.startswith("{")]
    return {a["target"]["name"]: a["executable"] for a in artefacts if a.get("executable") and a["target"]["kind"] == ["test"]}


def tests_of(unit):
    """Names of the test binaries that run a .cu file's kernels."""
    if unit in PRODUCTS:
        return ["gemm"]
    if unit in TRAINING:
        return ["training"]
    if unit in {"product", "cross_entropy", "dropout"}:
        return ["product"]
    return ["attention"] if unit.startswith("attention") else ["rows"]


def killer(tests, folder):
    """The first failing test, or None."""
    environment = dict(os.environ, BMN_KERNELS_PTX=str(folder), RUST_BACKTRACE="0", VGPU='{"quiet": true}')
    for binary in tests:
        run = subprocess.Popen([binary, "--test-threads", "1"], env=environment, cwd=ROOT / "kernels", text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        started, found = time.time(), None
        for line in run.stdout:
            failed = re.match(r"test (\S+) \.\.\. FAILED", line)
            if failed or time.time() - started > 600:
                found = failed.group(1) if failed else "the clock"
                break
        run.kill() if found else None
        run.stdout.close()
        if run.wait() != 0 or found:
            return found or f"exit {run.returncode}"
    return None


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--minutes", type=float, default=1e9)
    arguments.add_argument("--jobs", type=int, default=2)
    arguments.add_argument("--only", default="")
    arguments.add_argument("--list", action="store_true")
    options = arguments.parse_args()

    work = list(mutants(options.only))
    if options.list:
        for kind, name, number, code, mutated in work:
            print(f"{kind:8} {name}:{number + 1}: {code}  =>  {mutated.strip()}")
        print(len(work), "mutants")
        return 0
    work.sort(key=lambda m: hash_of(m))  # a time-boxed run samples all files and kinds
    nvrtc, tests = Nvrtc(), binaries()
    reasons = {}
    table = ROOT / "kernels/mutants.txt"
    for line in table.read_text().splitlines() if table.is_file() else []:
        if line and not line.startswith("#"):
            name, mutated, reason = (part.strip() for part in line.split(" | ", 2))
            reasons[name, mutated] = reason
    units = sorted(p.stem for p in CU.glob("*.cu"))
    uses = {unit: includes(f"{unit}.cu", set()) for unit in units}
    deadline = time.time() + options.minutes * 60

    with tempfile.TemporaryDirectory() as scratch, concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        scratch = pathlib.Path(scratch)
        base = dict(zip(units, pool.map(lambda unit: nvrtc.compile(CU, unit), units)))

        for unit in units:
            (scratch / f"{unit}.ptx").write_text(base[unit])
        if by := killer(list(tests.values()), scratch):
            sys.exit(f"the tests fail without a mutant: {by}")

        def try_one(item):
            index, (kind, name, number, code, mutated) = item
            if time.time() > deadline:
                return None
            folder = scratch / str(index)
            shutil.copytree(CU, folder)
            text = (folder / name).read_text().splitlines()
            text[number] = mutated
            (folder / name).write_text("\n".join(text) + "\n")
            for unit in units:
                (folder / f"{unit}.ptx").write_text(base[unit])
            outcome = "same code"
            for unit in (u for u in units if name in uses[u]):  # one by one: most mutants die in the first
                ptx = nvrtc.compile(folder, unit)
                if ptx is None:
                    outcome = "does not compile"
                    break
                if ptx == base[unit]:
                    continue
                (folder / f"{unit}.ptx").write_text(ptx)
                by = killer([tests[t] for t in tests_of(unit) if t in tests], folder)
                outcome = f"killed by {by}" if by else "SURVIVED"
                if by:
                    break
            shutil.rmtree(folder)
            print(f"{outcome:60} {kind:8} {name}:{number + 1}: {mutated.strip()}", flush=True)
            return outcome, kind, name, mutated.strip()

        results = [r for r in pool.map(try_one, enumerate(work)) if r]

    killed = sum(r[0].startswith("killed") for r in results)
    survivors = [r for r in results if r[0] == "SURVIVED"]
    accepted = [r for r in survivors if (r[2], r[3]) in reasons]
    print(f"\n{len(work)} mutants, {len(results)} tried, {killed} killed, {len(survivors)} survived, "
          f"{len(results) - killed - len(survivors)} without effect on the code or not compiling")
    for survivor in survivors:
        print(f"survivor {survivor[2]}: {survivor[3]}\n    {reasons.get((survivor[2], survivor[3]), 'NO REASON GIVEN')}")
    return 0 if len(accepted) == len(survivors) else 1


def hash_of(mutant):
    value = 0
    for byte in repr(mutant).encode():
        value = (value * 1000003 ^ byte) & 0xFFFFFFFF
    return value


if __name__ == "__main__":
    sys.exit(main())
