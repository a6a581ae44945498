"""A CUDA kernel written by a student: compiled in a jail, run on the host, graded."""
import json
import os
import re
import subprocess

import numpy as np
import pytest
from programs import cases_of, failed, fork, graded, host

from tinyvision import cuda
from tinyvision.exercises import load
from tinyvision.exercises.drivers import cuda_nms as launches
from tinyvision.exercises.start import notebook_text
from tinyvision.grading import compile, sandbox, submissions
from tinyvision.grading.assignment import prepare_public
from tinyvision.grading.counterexample import of_mistake
from tinyvision.grading.examine import examine

KERNEL = load("cuda_nms").texts["KERNEL"]
SOLUTION = "\n".join(line for line in KERNEL.solution.splitlines() if "###" not in line)
AREAS = "real both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]);"
WIDER = AREAS.replace("])", "] + 1)")
FIRST, SECOND = AREAS[12:-1].split(" + ")
EVERY_BLOCK = "if (blockIdx.x < blockIdx.y) return;", ""
NO_ORDER = "first + k <= n || ", ""
OR_EQUAL = "> threshold", ">= threshold"
OVERLAP = "w <= 0 || h <= 0"
SMALLER = "/ (both - w * h)", f"/ min({FIRST}, {SECOND})"
PLUS_ONE = AREAS, "w += 1; h += 1; " + WIDER, OVERLAP, "w <= -1 || h <= -1"
SHARED = "w * h / (both - w * h)"


def over(divisor):
    return SHARED, f"w * h / ({divisor})"


TWINS = {                               # of each mistake, its versions in the bank's order
    "at-the-threshold": [
        OR_EQUAL,
        (*OR_EQUAL, f" || {OVERLAP}", "", AREAS, f"w = max(w, 0.0); h = max(h, 0.0); {AREAS}"),
        (*OR_EQUAL, *NO_ORDER), (*OR_EQUAL, *NO_ORDER, *EVERY_BLOCK),
        (*OR_EQUAL, *SMALLER), (*OR_EQUAL, "first + k <= n", "first + k < n")],
    "plus-one": [PLUS_ONE, (AREAS, "w += 1; h += 1; " + WIDER),
                 (AREAS, "w += 1; h += 1; " + AREAS, OVERLAP, "w <= -1 || h <= -1"),
                 (AREAS, WIDER), (AREAS, "w += 1; h += 1; " + AREAS)],
    "smaller-area": [SMALLER],
    "not-clipped": [(f" || {OVERLAP}", "")],
    "read-as-sizes": [(
        "    const real *b = tile[k];", "    const real *q = boxes + 4 * (first + k);"
        " const real a[4] = {p[0], p[1], p[0] + p[2], p[1] + p[3]};"
        " const real b[4] = {q[0], q[1], q[0] + q[2], q[1] + q[3]};",
        "const real *a =", "const real *p =")],
    "both-ways": [("first + k <= n", "first + k == n", *EVERY_BLOCK), (*NO_ORDER, *EVERY_BLOCK),
                  NO_ORDER, ("first + k <= n", "first + k == n"),
                  ("first + k <= n", "first + k >= n", *EVERY_BLOCK)],
    "itself": [("first + k <= n", "first + k < n")],
    "shift-of-an-int": [("word(1) << k", "1 << k")],
    "first-tile-only": [("(blockIdx.x < blockIdx.y)", "(blockIdx.x || blockIdx.y)")],
    "word-of-the-row": [("gridDim.x + blockIdx.x", "gridDim.x + blockIdx.y")],
    "later-in-every-tile": [("first + k <= n", "k <= t")],
    "union-counts-twice": [over("both")],
    "dice": [over("both / 2")],
    "of-one-box": [over(FIRST), over(SECOND)],
    "larger-area": [over(f"max({FIRST}, {SECOND})")],
    "not-divided": [over("1")],
    "nothing-written": [("= bits;", "|= bits * 0;")]}
BANK = [(mistake, twin) for name, twins in TWINS.items() for mistake, twin in zip(
    (one for one in load("cuda_nms").mistakes if one.name == name), twins, strict=True)]


def kernel(*changes):
    text = SOLUTION
    for old, new in zip(changes[::2], changes[1::2]):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def program(text):
    return f'KERNEL = r"""{text}"""\n'


def test_every_mistake_has_a_kernel():
    assert {mistake.name for mistake in load("cuda_nms").mistakes} == set(TWINS)


@host
@pytest.mark.parametrize("mistake, twin", BANK, ids=lambda one: getattr(one, "name", ""))
def test_mistakes_in_numpy_answer_as_their_kernels_do(mistake, twin):
    library, raced = KERNEL.library(kernel(*twin)), 0
    for case in cases_of("cuda_nms", 3):
        want = load("cuda_nms").answer(case, mistake.implementation)
        try:
            assert np.array_equal(load("cuda_nms").answer(case, library), want), case.name
        except launches.KernelError as error:
            assert mistake.name == "word-of-the-row" and "a race" in str(error)
            raced += 1
    assert raced < 11


@fork
@host
@pytest.mark.parametrize("mistake, twin", BANK, ids=lambda one: getattr(one, "name", ""))
def test_kernels_are_named(monkeypatch, mistake, twin):
    """With the libraries of the test before: the compiler's jail has tests of its own."""
    monkeypatch.setattr(compile, "library", lambda kind, text, level, name: kind.library(text))
    record = graded("cuda_nms", program(kernel(*twin)))
    assert record["score"] < 10
    assert [one["name"] for one in record["diagnoses"]] in ([mistake.name], [])
    assert record["diagnoses"] or mistake.name == "word-of-the-row"


def by_definition(boxes, scores, threshold):
    """Non-maximum suppression on numbers, in plain Python."""
    def iou(p, q):
        w, h = min(p[2], q[2]) - max(p[0], q[0]), min(p[3], q[3]) - max(p[1], q[1])
        both = max(w, 0) * max(h, 0)
        return both / ((p[2] - p[0]) * (p[3] - p[1]) + (q[2] - q[0]) * (q[3] - q[1]) - both)
    keep = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        if all(iou(boxes[i], boxes[j]) <= threshold for j in keep):
            keep.append(i)
    return keep


@host
def test_the_kernel_equals_the_definition_and_the_librarys_nms():
    from tinyvision.ops import nms
    library = KERNEL.library(KERNEL.solution)
    for case in cases_of("cuda_nms", 5):
        if case.driver == "survivors":
            boxes, scores, threshold, threads = case.args
            keep = launches.survivors(library, *case.args).tolist()
            assert keep == by_definition(boxes, scores, threshold)
            assert keep == np.asarray(nms(boxes, scores, threshold)).tolist()


PAIR = """
  const real *a = boxes + 4 * n, *b = boxes + 4 * m;
  real w = min(a[2], b[2]) - max(a[0], b[0]), h = min(a[3], b[3]) - max(a[1], b[1]);
  real both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]);
  return m > n && w > 0 && h > 0 && w * h / (both - w * h) > threshold;
}
extern "C" __global__ void kernel(const real *boxes, int N, real threshold, word *mask) {
  int T = blockDim.x, t = threadIdx.x;
  int first = blockIdx.y * T, n = first + t, m = blockIdx.x * T + t;
"""
HITS = "__device__ bool hits(const real *boxes, int n, int m, real threshold) {" + PAIR
OTHERS = {                              # right kernels of another kind: thread t has box m
    "atomics on the mask": HITS + """
      if (m < N)
        for (int k = first; k < min(first + T, N); ++k)
          if (hits(boxes, k, m, threshold)) atomicOr(mask + k * gridDim.x + blockIdx.x, 1ull << t);
    }""",
    "atomics on shared words": "#include <cuda_runtime.h>\n" + HITS + """
      __shared__ unsigned long long rows[64];
      atomicAnd(&rows[t], 0ull);
      __syncthreads();
      for (int k = 0; m < N && k < min(unsigned(T), unsigned(N - first)); ++k)
        if (hits(boxes, first + k, m, threshold)) atomicAdd(&rows[k], word(1) << t);
      __syncthreads();
      if (n < N) mask[n * gridDim.x + blockIdx.x] = rows[t];
    }""",
    "ballots of warps": HITS + """
      __shared__ unsigned half[64][2];
      half[t][1] = 0;
      __syncthreads();
      for (int k = 0; k < T; ++k) {
        bool hit = first + k < N && m < N && hits(boxes, first + k, m, threshold);
        unsigned votes = __ballot_sync(0xffffffff, hit);
        if (t % warpSize == 0) half[k][t / warpSize] = votes;
      }
      __syncthreads();
      if (n < N) mask[n * gridDim.x + blockIdx.x] = half[t][0] | word(half[t][1]) << 32;
    }""",
    "a vote of the block, and a shared loop": HITS + """
      for (int k = first; k < first + T; ++k) {
        bool hit = k < N && m < N && hits(boxes, k, m, threshold);
        if (!__syncthreads_or(hit)) continue;
        if (hit) atomicXor(&mask[k * gridDim.x + blockIdx.x], 1ull << t);
      }
    }""",
    "compare and swap": HITS + """
      for (int k = first; m < N && k < min(first + T, N); ++k) {
        word *at = mask + k * gridDim.x + blockIdx.x, seen = *at, old;
        if (hits(boxes, k, m, threshold))
          do old = seen; while ((seen = atomicCAS(at, old, old | 1ull << t)) != old);
      }
    }"""}


@fork
@host
@pytest.mark.parametrize("text", OTHERS.values(), ids=OTHERS)
def test_right_kernels_of_another_kind_are_right(text, tmp_path):
    record = graded("cuda_nms", program(text))
    assert failed(record) == {} and record["score"] == 10


@host
@pytest.mark.parametrize("seed", range(4))
def test_threads_that_share_a_word_meet_in_every_case_whatever_the_numbers_are(seed):
    racing = KERNEL.library(re.sub(r"atomicOr\((.+), 1ull << t\);", r"*(\1) |= 1ull << t;",
                                   OTHERS["atomics on the mask"]))
    met = 0
    for case in load("cuda_nms").cases(np.random.default_rng(seed)):
        if case.args[-1] > 1:           # threads in a block
            with pytest.raises(launches.KernelError, match="a race"):
                getattr(launches, case.driver)(racing, *case.args)
            met += 1
    assert met == 10


def test_nvcc_compiles_them_too(nvcc, tmp_path):
    (tmp_path / "kernels.cu").write_text(f"{KERNEL.types}\n" + "\n".join(
        f"namespace kernel_{k} {{\n{text.replace('#include <cuda_runtime.h>', '')}\n}}".replace(
            'extern "C"', "") for k, text in enumerate(OTHERS.values())))
    subprocess.run([nvcc, "-std=c++17", "-ptx", "-o", tmp_path / "kernel.ptx",
                    tmp_path / "kernels.cu"], check=True)
    written = (tmp_path / "kernel.ptx").read_text()
    for word in ("atom.global.or.b64", "atom.global.cas.b64", "vote.sync.ballot", "bar.red.or",
                 "atom.shared.and.b64"):
        assert word in written or word.replace("bar.", "barrier.cta.") in written, word


NEVER_WRITTEN = {                       # in one block, whose answer is right if all is 0, or NaN
    "boxes that are not there": (" && first + k < N", ""),
    "words that were not 0": ("word bits = 0;", "word bits;"),
    "a tile that half of the threads fill": ("if (first + t < N)", "if (first + t < N - 1)"),
}


@host
@pytest.mark.parametrize("changes", NEVER_WRITTEN.values(), ids=NEVER_WRITTEN)
def test_what_nobody_has_written_shows_in_a_single_block(changes):
    boxes = np.array([[0, 0, 4, 4], [0, 0, 4, 3], [1, 0, 4, 4], [6, 6, 8, 9], [6, 6, 8, 8]], float)
    right, wrong = (KERNEL.library(kernel(*which)) for which in ((), changes))
    assert launches.pairs(right, boxes, 0.5, 8).sum() == 4
    with pytest.raises(launches.KernelError, match="what was left in shared memory, or in a vari"):
        launches.pairs(wrong, boxes, 0.5, 8)


@host
def test_every_known_mistake_is_shown_by_a_call_that_can_be_typed():
    """Few boxes of small whole numbers; typed, it says what it is said to say."""
    made, right = prepare_public(load("cuda_nms")), KERNEL.library(SOLUTION)
    for mistake in load("cuda_nms").mistakes:
        _, shown = of_mistake(made, mistake)
        assert len(shown["call"]) < 130 and not re.search(r"\d\d\d|\d\.\d\d", shown["call"])
        space = {"np": np, "pairs": launches.pairs}
        for library, said in ((mistake.implementation, shown["yours"]), (right, shown["expected"])):
            exec(shown["call"].replace("; ", "\nfound = "), space | {"library": library}, space)
            number, at, where = said.partition(" at ")
            assert str(space["found"].tolist()) == said if not at else (
                space["found"][tuple(json.loads(where))] == int(number))


@fork
@host
@pytest.mark.parametrize("changes, words", [
    (("k < T &&", "k < T - 1 &&"), r"boxes = .*; pairs\(library, boxes, 0.5, 2\)"),
    ((" && first + k < N", ""), r"boxes = .*; pairs\(library, boxes, 0.5, 4\)"),
    (("bits;\n", "N == 12 ? 0 : bits;\n"), r"boxes = .*; survivors\(library, boxes, scores, ")])
def test_a_kernel_that_nobody_knows_is_shown_by_a_small_call(changes, words):
    text = program(kernel(*changes))
    record = examine(submissions.Submission("ada", "ada.py", text.encode(), "cuda_nms"),
                     prepare_public(load("cuda_nms")), "medium", deep=True)[0]
    shown, = [one["counterexample"] for one in [*record["diagnoses"], *record["cases"]]
              if "counterexample" in one]
    assert re.match(words, shown["call"]) and len(shown["call"]) < 400, shown
    assert "." not in shown["call"].partition(";")[0].removeprefix("boxes = np.array")


WRONG = {
    "no barrier": (("__syncthreads();", ""), "a race"),
    "no atomic": (("word bits = 0", "__shared__ word all[64]; all[t] = 0; word bits = 0",
                   "bits |= word(1) << k;", "all[n % 2] |= word(1) << k, bits |= word(1) << k;"),
                  "threads .* shared memory.*a race"),
    "a barrier for some": (("__syncthreads();", "if (t < 2) __syncthreads();"), "line .*barrier"),
    "returns before the barrier": (("  __shared__", "  if (blockIdx.y * blockDim.x + threadIdx.x"
                                    " >= N) return;\n  __shared__"), "barrier"),
    "writes rows that are not there": (("if (n >= N) return;", ""),
                                       "behind the end|outside of its"),
    "reads boxes that are not there": (("if (first + t < N)", ""), "thread .*outside of its array"),
    "writes before the mask": (("mask[n *", "mask[-1] = 1; mask[n *"), "outside of its array"),
    "reads before the boxes": (("const real *a = boxes + 4 * n;", "const real *a = boxes + 4 * n; "
                               "if (n == 0 && boxes[-1] > 1e300) return;"), "outside of its array"),
    "reads far before the mask": (("word bits = 0;", "word bits = mask[-300]; bits = 0;"),
                                  "outside of its array"),
    "a tile too small": (("tile[64]", "tile[2]"), "line 7.*outside its array"),
    "an open loop": (("++k)", "k += 0)"), "did not finish"),
    "no stack": (("word bits", "volatile char big[1 << 24]; big[0] = big[1 << 23] = 1; word bits"),
                 ""),
    "rows and columns exchanged": (("blockIdx.y * T + t, first = blockIdx.x * T",
                                    "blockIdx.x * T + t, first = blockIdx.y * T"), "a race"),
    "transposed mask": (("mask[n * gridDim.x + blockIdx.x]", "mask[blockIdx.x * N + n]"), ""),
    "words of 64 always": (("n * gridDim.x", "n * ((N + 63) / 64)"), ""),
    "on beyond the tile": (("k < T && ", ""), "line 14.*outside its array"),
    "height from x": (("min(a[3], b[3])", "min(a[2], b[2])"), "wrong"),
    "union without the second": ((" + (b[2] - b[0]) * (b[3] - b[1])", ""), "wrong"),
    "one box short": (("k < T &&", "k < T - 1 &&"), "wrong"),
    "first coordinate only": (("e < 4", "e < 3"), "wrong"),
    "reads what the block before left": ((" && first + k < N", ""), "was left in shared memory"),
    "warps of 32 assumed": (("blockIdx.x * T;", "blockIdx.x * 32;"), ""),
}


@fork
@host
@pytest.mark.parametrize("changes, words", WRONG.values(), ids=WRONG)
def test_wrong_kernels_are_caught(changes, words):
    record = graded("cuda_nms", program(kernel(*changes)))
    found = failed(record)
    assert found and record["score"] < 10
    assert not words or any(re.search(words, said) for _, said in found.values()), \
        found


@fork
@host
@pytest.mark.parametrize("text, words", [
    (kernel("bits = 0;", "bits = none;"), "KERNEL line 12: 'none' was not declared.* word bits"),
    (kernel("int N, ", ""), "KERNEL line 6: 'N' was not declared"),
    (kernel("int N,", "int N, int M,"), "after the last line: .*void kernel"),
    (kernel("mask[n *", "{ mask[n *"), "after the last line: .*brace"),
    ("", "'kernel' was not declared"),
    (kernel("bits = 0;", "bits = __nanosleep(1);"), "KERNEL line 12: '__nanosleep' was .*the host"),
    ("#include <cooperative_groups.h>\n" + SOLUTION, "line 1: cooperative_groups.h.*the host"),
    (kernel("bits = 0;", "bits = __mine;"), "KERNEL line 12: '__mine' was not declared"),
    (kernel("word bits", "extern void g(); g(); word bits"), "g is used and not defined"),
    ('#include "/etc/passwd"\n' + SOLUTION, "KERNEL line 1: |after the last line"),
    ("#include </dev/zero>\n" + SOLUTION, "did not finish within|Permission denied"),
    ('asm(".incbin \\"/etc/passwd\\"");\n' + SOLUTION, "file not found"),
    ('#line 1 "/etc/passwd"\nint = 3;\n' + SOLUTION, "expected unqualified-id"),
    ("template <int n> struct F { F<n + 1> f; }; F<0> f;\n" + SOLUTION, "depth exceeds"),
    ("static char big[1 << 28] = {1};\n" + SOLUTION, "did not finish within")])
def test_what_does_not_compile_is_the_texts_fault(text, words):
    record = graded("cuda_nms", program(text))
    assert record["score"] == 0 and {v for v, _ in failed(record).values()} == {"SYNTAX"}
    assert re.search(words, record["message"]), record["message"]
    assert "root:" not in record["message"]


@fork
@host
@pytest.mark.parametrize("text, words", [
    ("KERNEL = 3", "TypeError: the text is of type int, expected a string"),
    ("kernel = 'x'", "no text KERNEL"),
    ("KERNEL = 'x' * (3 << 20)", "longer than"), ("KERNEL = input()", "EOFError"),
    ("KERNEL = ''", "'kernel' was not declared")])
def test_what_is_no_text(text, words):
    record = graded("cuda_nms", text)
    assert record["score"] == 0 and re.search(words, record["message"])


@fork
@host
def test_code_that_runs_when_it_is_loaded_runs_in_the_worker(tmp_path):
    trace = tmp_path / "trace"
    begins = (f'#include <fcntl.h>\n__attribute__((constructor)) static void begins() '
              f'{{ creat("{trace}", 0666); ENDS }}\n')
    honest = graded("cuda_nms", program(begins.replace("ENDS", "") + SOLUTION))
    assert honest["score"] == 10 and not trace.exists()
    ends = graded("cuda_nms", program(begins.replace("ENDS", "__builtin_trap();") + SOLUTION))
    assert ends["score"] == 0 and {v for v, _ in failed(ends).values()} == {"CRASHED"}
    assert not trace.exists()


@fork
@host
def test_a_text_is_compiled_once_and_in_a_notebook_too(monkeypatch):
    asked = []
    compiled = compile.compiled
    monkeypatch.setattr(compile, "compiled", lambda *a: asked.append(a) or compiled(*a))
    book = json.loads(notebook_text(load("cuda_nms")))
    for cell in book["cells"]:
        if "write me" in "".join(cell["source"]):
            cell["source"] = program(SOLUTION)
    record = graded("cuda_nms", json.dumps(book), suffix="ipynb")
    assert record["score"] == 10 and len(asked) == 1


@fork
@host
def test_levels_agree():
    for text in (SOLUTION, kernel(*TWINS["shift-of-an-int"][0]), kernel("__syncthreads();", "")):
        records = [graded("cuda_nms", program(text), level) for level in
                   sandbox.LEVELS[sandbox.LEVELS.index(sandbox.probe()[0]):-1]]
        assert len({json.dumps(failed(record)) for record in records}) == 1


def test_no_compiler_is_the_machines_fault(monkeypatch):
    monkeypatch.setattr(cuda, "compiler", lambda: None)
    with pytest.raises(compile.CompilerFault, match="needs|neither .* was found here; install one"):
        compile.library(KERNEL, KERNEL.solution, "medium")


@host
def test_a_compiler_that_does_not_work_is_the_machines_fault(monkeypatch, tmp_path):
    broken = tmp_path / "c++"
    broken.write_text("#!/bin/sh\necho cannot execute cc1plus >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(cuda, "compiler", lambda: str(broken))
    compile.works.cache_clear()
    with pytest.raises(compile.CompilerFault, match="does not work here: .*cc1plus|does not work"):
        compile.library(KERNEL, "wrong", "medium")
    compile.works.cache_clear()


@fork
def test_a_machine_without_a_compiler_gives_no_zero(monkeypatch, tmp_path):
    from tinyvision import grading
    monkeypatch.setattr(cuda, "compiler", lambda: None)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "ada.py").write_text(
        "# tinyvision exercise: cuda_nms\n" + program(SOLUTION))
    summary = grading.grade(tmp_path / "in", tmp_path / "out", seed="x", progress=False)
    record, = summary.records
    assert record["verdict"] == "GRADER_ERROR" and record["score"] is None
    assert "install one" in record["message"]


def test_nvcc_compiles_the_solution(nvcc, tmp_path):
    (tmp_path / "kernel.cu").write_text(f"{KERNEL.types}\n{SOLUTION}")
    subprocess.run([nvcc, "-std=c++17", "-ptx", "-o", tmp_path / "kernel.ptx",
                    tmp_path / "kernel.cu"], check=True)
    assert "bar.sync" in (tmp_path / "kernel.ptx").read_text()


@fork
@host
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="not root")
def test_root_compiles_as_a_lesser_user(monkeypatch):
    reads = '#include "/root/.profile"\n' + SOLUTION
    monkeypatch.setenv("TINYVISION_USER", "nobody")
    monkeypatch.setattr(compile.jail, "guards", lambda: ())
    assert isinstance(compile.library(KERNEL, SOLUTION, "medium"), bytes)
    said = compile.library(KERNEL, reads, "medium")["error"]
    assert re.search("Permission denied|No such file", said["message"]) and said["line"] == 1
