#!/usr/bin/env python3
"""One-line mutants of the CUDA kernels, run against the kernel tests: a mutant that no test stops is a gap in the tests.

Usage: scripts/mutants.py [--minutes N] [--jobs N] [--only TEXT] [--list] [--again] [--record]
The operators below take away one barrier, wait, mask edge, swizzle term, bound or scale at a time. The tests are built once.
Each is first run alone on the unchanged kernels, which tells how long it takes and which .cu files it loads. A mutant is
compiled to PTX by NVRTC; one whose code is unchanged does not count. The tests that load its file read that PTX
(BMN_KERNELS_PTX), each in a process of its own, those that kill much in little time first; the first failure ends it.
Survivors are listed; those with a reason in kernels/mutants.txt (`file | mutated line | reason`) are accepted, any other makes
the exit status 1. Whatever came out is remembered in build/mutants.state by the mutant's PTX, survivors as long as the test
binaries that load their file are the same, so that a run can go on later and costs what changed; --again forgets it. With
--minutes, every file and kind of mistake gets its turn.
--record writes what was tried, and what came out, to kernels/mutants.tsv.
"""

import argparse, collections, concurrent.futures, ctypes, hashlib, json, os, pathlib, re, shutil, subprocess, sys, tempfile
import threading, time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CU = ROOT / "kernels/cu"

OPERATORS = [  # kind, pattern, replacement
    ("barrier", r"__syncthreads\(\);", ";"),
    ("barrier", r"__syncwarp\(\);", ";"),
    ("barrier", r"barrier<64>\([^;]*\);", ";"),
    ("term", r"part\[0\] > safe \|\| ", ""),
    ("term", r" \|\| odd\b", ""),
    ("bound", r"safe = kAny;", "safe = kSafe;"),
    ("scale", r"grows\[r\] \? ex2\(.*\) : 1\.0f", "1.0f"),
    ("term", r"grows\[0\] \|\| grows\[1\]", "grows[0]"),
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
                    if mutated.strip() == ";":  # one of many: named by what follows
                        rest = (line.split("//")[0].strip() for line in lines[number + 1 :])
                        mutated = mutated.rstrip() + " // before " + next(line for line in rest if line not in ("", "}") and line[0] != "#")
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


def includes(name, seen, folder):
    """The files that a source includes, itself too."""
    if name in seen:
        return seen
    seen.add(name)
    for header in re.findall(r'#include "([^"]+)"', (folder / name).read_text()):
        if (folder / header).is_file():
            includes(header, seen, folder)
    return seen


class State:
    """What came out so far: digest to text, in a file with a line for each."""

    def __init__(self, path, again):
        path.parent.mkdir(exist_ok=True)
        if again or not path.is_file():
            path.write_text("")
        self.path, self.lock = path, threading.Lock()
        self.known = dict(line.split(" ", 1) for line in path.read_text().splitlines())

    def put(self, key, value):
        with self.lock, self.path.open("a") as file:
            self.known[key] = value
            file.write(f"{key} {value}\n")


def digest(*parts):
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


class Tests:
    """The tests that load kernels, each known by its binary and name."""

    def __init__(self, folder, state, pool):
        # As `make test` builds them, not again with other features.
        names = [f"--test={name}" for name in ("attention", "gemm", "product", "rows", "training")]
        command = ["cargo", "test", "--locked", "--workspace", *names, "--no-run", "--message-format=json"]
        made = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
        artefacts = [json.loads(line) for line in made.splitlines() if line.startswith("{")]
        binaries = [a["executable"] for a in artefacts if a.get("executable") and a["manifest_path"] == str(ROOT / "kernels/Cargo.toml")]
        self.seconds, self.loads, self.kills, self.names = {}, {}, collections.Counter(), {}
        self.lock = threading.Lock()
        (folder / "bin").mkdir()
        gpu = shutil.copy(pathlib.Path(binaries[0]).parent / "libvgpu.so", folder / "bin")
        gpu = hashlib.sha256(pathlib.Path(gpu).read_bytes()).hexdigest()
        self.hashes, found = {}, []
        for binary in [shutil.copy(binary, folder / "bin") for binary in sorted(binaries)]:
            self.hashes[binary] = digest(gpu, hashlib.sha256(pathlib.Path(binary).read_bytes()).hexdigest())
            listed = subprocess.run([binary, "--list", "--format", "terse"], stdout=subprocess.PIPE, text=True, check=True).stdout
            found += [(binary, name) for name in re.findall(r"(\S+): test", listed)]

        def measure(test):
            key = digest(self.hashes[test[0]], test[1])
            if key not in state.known:
                started = time.time()
                failed, said = self.run(test, folder, 3600)
                if failed:
                    raise SystemExit(f"{test[1]} fails without a mutant: {said}")
                files = sorted(set(re.findall(r"loaded (\w+)\.ptx", said)))
                state.put(key, " ".join([f"{time.time() - started:.1f}", *files]))
            seconds, *files = state.known[key].split()
            return test, float(seconds), set(files)

        past = collections.Counter(known.removeprefix("killed by ") for known in state.known.values())
        for test, seconds, files in pool.map(measure, found):
            if files:
                self.seconds[test], self.loads[test] = seconds, files
                self.kills.update({(unit, test[1]): past[test[1]] for unit in files})

    def digest(self, unit):
        """Of the binaries whose tests load `unit`."""
        return digest(*sorted({self.hashes[test[0]] for test, files in self.loads.items() if unit in files}))

    @staticmethod
    def run(test, folder, limit):
        """Whether the test fails with the images of `folder`, and what it says."""
        environment = dict(os.environ, BMN_KERNELS_PTX=str(folder), RUST_BACKTRACE="0", VGPU='{"quiet": true, "watchdog": 50000000}')
        try:
            run = subprocess.run([test[0], "--exact", test[1], "--nocapture"], env=environment, cwd=ROOT / "kernels", text=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=limit, errors="replace")
        except subprocess.TimeoutExpired:
            return True, "does not end"
        return run.returncode != 0, run.stdout

    def killer(self, unit, folder):
        """The name of the first test that fails, or None. A test that takes ten times as long as it should has failed."""
        with self.lock:
            tests = [test for test in self.seconds if unit in self.loads[test]]
            tests.sort(key=lambda test: (self.seconds[test] + 0.1) / (1 + self.kills[unit, test[1]]))
        for test in tests:
            if self.run(test, folder, 60 + 10 * self.seconds[test])[0]:
                with self.lock:
                    self.kills[unit, test[1]] += 1
                return test[1]
        return None


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--minutes", type=float, default=1e9)
    arguments.add_argument("--jobs", type=int, default=2)
    arguments.add_argument("--only", default="")
    arguments.add_argument("--list", action="store_true")
    arguments.add_argument("--again", action="store_true")
    arguments.add_argument("--record", action="store_true")
    options = arguments.parse_args()

    work = list(mutants(options.only))
    if options.list:
        for kind, name, number, code, mutated in work:
            print(f"{kind:8} {name}:{number + 1}: {code}  =>  {mutated.strip()}")
        print(len(work), "mutants")
        return 0
    # A time-boxed run samples all files and kinds: the first of each, the second of each...
    turn = collections.Counter()
    work = [(turn.update([m[:2]]) or turn[m[:2]], hash_of(m), m) for m in sorted(work, key=hash_of)]
    work = [m for *_, m in sorted(work)]
    nvrtc = Nvrtc()
    reasons = {}
    table = ROOT / "kernels/mutants.txt"
    for line in table.read_text().splitlines() if table.is_file() else []:
        if line and not line.startswith("#"):
            name, mutated, reason = (part.strip() for part in line.split(" | ", 2))
            reasons[name, mutated] = reason
    units = sorted(p.stem for p in CU.glob("*.cu"))
    uses = {unit: includes(f"{unit}.cu", set(), CU) for unit in units}
    deadline = time.time() + options.minutes * 60
    state = State(ROOT / "build/mutants.state", options.again)

    with tempfile.TemporaryDirectory() as scratch, concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        scratch = pathlib.Path(scratch)
        sources = scratch / "cu"  # as they are now, whatever is edited meanwhile
        shutil.copytree(CU, sources)
        base = dict(zip(units, pool.map(lambda unit: nvrtc.compile(sources, unit), units)))
        for unit in units:
            (scratch / f"{unit}.ptx").write_text(base[unit])
        tests = Tests(scratch, state, pool)
        print(f"{len(tests.seconds)} tests, {sum(tests.seconds.values()):.0f} s", flush=True)

        def outcome_in(unit, folder):
            """What comes of the mutant in `folder` where `unit` has it."""
            source = digest(unit, *(f"{name}\n{(folder / name).read_text()}" for name in sorted(uses[unit])))
            ptx = None
            if source not in state.known:
                ptx = nvrtc.compile(folder, unit)
                state.put(source, "none" if ptx is None else digest(unit, ptx))
            code = state.known[source]
            if code in ("none", digest(unit, base[unit])):
                return "does not compile" if code == "none" else "same code"
            with_these_tests = digest(code, tests.digest(unit))
            if known := state.known.get(code) or state.known.get(with_these_tests):
                return known
            ptx = ptx or nvrtc.compile(folder, unit)
            for other in units:
                (folder / f"{other}.ptx").write_text(ptx if other == unit else base[other])
            by = tests.killer(unit, folder)
            outcome = f"killed by {by}" if by else "SURVIVED"
            state.put(code if by else with_these_tests, outcome)
            return outcome

        def try_one(item):
            index, (kind, name, number, code, mutated) = item
            if time.time() > deadline:
                return None
            folder = scratch / str(index)
            shutil.copytree(sources, folder)
            text = (folder / name).read_text().splitlines()
            text[number] = mutated
            (folder / name).write_text("\n".join(text) + "\n")
            outcome = "same code"
            for unit in (u for u in units if name in uses[u]):  # one by one: most mutants die in the first
                here = outcome_in(unit, folder)
                outcome = outcome if here == "same code" else here
                if here not in ("same code", "SURVIVED"):
                    break
            shutil.rmtree(folder)
            print(f"{outcome:60} {kind:8} {name}:{number + 1}: {mutated.strip()}", flush=True)
            return outcome, kind, name, mutated.strip()

        results = [r for r in pool.map(try_one, enumerate(work)) if r]

    if options.record:
        rows = sorted(f"{name}\t{kind}\t{mutated}\t{outcome}\n" for outcome, kind, name, mutated in results)
        (ROOT / "kernels/mutants.tsv").write_text("file\tkind\tmutated line\toutcome\n" + "".join(rows))
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
