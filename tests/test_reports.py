"""What becomes of graded work: the same bytes on every way, pages of records, nothing lost."""
from __future__ import annotations

import errno
import html
import html.parser
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import unquote

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from tinyvision.grading.classroom import CLASS, write_class  # noqa: E402

from tinyvision import cli, exercises, grading  # noqa: E402
from tinyvision.grading import (course, engines, grader, overrides, sandbox,  # noqa: E402
                                selection, store)
from tinyvision.grading.live import Live  # noqa: E402
from tinyvision.grading.marks import Mark, mark  # noqa: E402
from tinyvision.grading.pages import data, overview, parts, pictures  # noqa: E402
from tinyvision.grading.pages.student import student_page  # noqa: E402
from tinyvision.grading.report import figures, write_report  # noqa: E402
from tinyvision.grading.summary import Summary, summary_text  # noqa: E402

FORK = pytest.mark.skipif(not sandbox.worker.CAN_FORK, reason="no fork here")
FEW = ("Amira Haddad", "Chidi Okafor", "Emre Yilmaz", "Ines Carvalho", "Kavya Rao")
FILES = sum(len(CLASS[student]) for student in FEW)


def graded(folder, out, **options):
    return grading.grade(folder, out, seed="reports", progress=False, **options)


def kept(out):
    """Everything in OUT that is to be the same, by its place: all but times."""
    return {str(path.relative_to(out)): path.read_bytes() for path in Path(out).rglob("*")
            if path.is_file() and not path.name.endswith(".time.json")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_class(tmp_path_factory.mktemp("in"), FEW)


@pytest.fixture(scope="module")
def out(folder, tmp_path_factory):
    """A few students of the class, graded by one worker."""
    path = tmp_path_factory.mktemp("out")
    graded(folder, path, jobs=1)
    return path


@pytest.fixture
def copy(out, tmp_path):
    """The same folder, to be changed."""
    return Path(shutil.copytree(out, tmp_path / "copy"))


def command(*arguments):
    return cli.main([str(argument) for argument in arguments])


# ---- the same bytes on every way -----------------------------------------------------------------

@FORK
@pytest.mark.parametrize("jobs", [2, 8])
def test_any_number_of_workers_gives_the_same_bytes(folder, out, tmp_path, jobs):
    graded(folder, tmp_path, jobs=jobs)
    assert kept(tmp_path) == kept(out)


@FORK
def test_any_order_and_any_sharding_give_the_same_bytes(folder, out, tmp_path, monkeypatch):
    choose = selection.choose
    monkeypatch.setattr(selection, "choose", lambda *arguments: random.Random(3).sample(
        chosen := choose(*arguments), len(chosen)))
    whole = tmp_path / "whole"
    for part in (3, 1, 2):
        summary = graded(folder, tmp_path / f"{part}", shard=f"{part}/3", jobs=2)
        assert 0 < len(summary.records) == summary.submitted < FILES
        shutil.copytree(tmp_path / f"{part}", whole, dirs_exist_ok=True)
    report = write_report(whole)
    assert report.records == FILES and not report.missing
    assert kept(whole) == kept(out)


@FORK
def test_a_run_that_is_killed_twice_ends_with_the_same_bytes(folder, out, tmp_path):
    code = "import sys; from tinyvision.grading import grade; grade(*sys.argv[1:], seed='reports')"
    root = Path(grading.__file__).parents[2]
    for records in (2, 5):
        run = subprocess.Popen([sys.executable, "-c", code, folder, tmp_path], cwd=root)
        while len(list(tmp_path.glob("results/*/*.time.json"))) < records and run.poll() is None:
            time.sleep(0.02)
        run.send_signal(signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL
    summary = graded(folder, tmp_path)
    assert 1 < summary.reused < FILES
    left = [path for path in tmp_path.rglob("*.part")]
    for path in left:                   # of what was being written
        path.unlink()
    assert len(left) <= 4 and kept(tmp_path) == kept(out)


def test_pages_are_made_again_from_records_alone(out, copy, monkeypatch):
    for path in [*copy.rglob("*.html"), copy / "gradebook.csv"]:
        path.unlink()
    monkeypatch.setattr(grader, "examine", None)
    monkeypatch.setattr(exercises, "load", None)
    monkeypatch.setattr(sandbox, "Session", None)
    assert command("report", copy) == 0
    assert kept(copy) == kept(out)


# ---- which submissions, and what is said meanwhile -----------------------------------------------

def tasks(names):
    class Task:
        def __init__(self, name):
            self.submission = store_submission(name)
    return [Task(name) for name in names]


def store_submission(name):
    from tinyvision.grading.submissions import Submission
    return Submission(name, f"{name}.py")


@pytest.mark.parametrize("of", [1, 2, 3, 7, 40])
def test_shards_are_parts_of_the_whole(of):
    names = [f"s{i:02}" for i in range(23) for _ in range(1 + i % 2)]
    found = [task.submission.student for i in range(1, of + 1)
             for task in selection.choose(tasks(names), f"{i}/{of}", ())]
    assert sorted(found) == names


def test_students_and_shards_are_checked():
    some = tasks(["alice", "bob", "carol"])
    assert [t.submission.student for t in selection.choose(some, None, ("bob", "alice"))] == [
        "alice", "bob"]
    with pytest.raises(ValueError, match="nobody called 'bop' .* did you mean 'bob'"):
        selection.choose(some, None, ("bop",))
    for text in ("0/3", "4/3", "1", "1/0", "-1/2", "a/b"):
        with pytest.raises(ValueError, match="no shard"):
            selection.shard(text)
    assert selection.verdicts("timeout, GRADER_ERROR,") == ("TIMEOUT", "GRADER_ERROR")
    with pytest.raises(ValueError, match="no verdict 'LATE'; there are OK"):
        selection.verdicts("LATE")


def test_only_named_students_are_graded_and_verdicts_again(folder, copy, tmp_path, monkeypatch):
    ran, real = [], grader.examine

    def watched(submission, *arguments, **options):
        ran.append(submission.file)
        return real(submission, *arguments, **options)
    monkeypatch.setattr(grader, "examine", watched)
    before = kept(copy)
    graded(folder, copy, rerun=("SYNTAX",))
    assert ran == ["Ines Carvalho/box_iou.py"] and kept(copy) == before
    summary = graded(folder, tmp_path / "new", only=["Ines Carvalho"])
    assert summary.submitted == 2 and sorted(ran[1:]) == ["Ines Carvalho/box_iou.py",
                                                          "Ines Carvalho/nms.py"]
    assert len(list((tmp_path / "new/students").iterdir())) == 1
    missing = write_report(tmp_path / "new").missing
    assert len(missing) == FILES - 2 and "Amira Haddad: not graded yet" in missing


def test_shards_must_share_their_numbers(folder, tmp_path):
    with pytest.raises(ValueError, match="every shard must use the same: give --seed"):
        grading.grade(folder, tmp_path / "out", shard="1/2", progress=False)
    assert not (tmp_path / "out").exists()


def test_another_seed_for_the_same_folder_is_refused(folder, copy):
    with pytest.raises(ValueError, match="another seed"):
        grading.grade(folder, copy, seed="other", progress=False)
    assert grading.grade(folder, copy, progress=False).reused == FILES
    assert (copy / "secret").stat().st_mode & 0o077 == 0 or os.name != "posix"


def test_an_empty_folder_is_no_success(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    assert command("grade", tmp_path / "in", "-o", tmp_path / "out") == 2
    assert "holds no submissions; give" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_results_among_the_submissions_are_refused(tmp_path, capsys):
    (tmp_path / "ada.py").write_text("x = 1\n")
    for out in (tmp_path / "out", tmp_path):
        assert command("grade", tmp_path, "-o", out) == 2
        assert "would be taken for a student's" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["ada.py"]


def test_records_name_the_layers_of_isolation(out):
    records = [record for record in store.Store(out).records() if record["cases"]]
    assert records and all(set(record["layers"]) <= {"namespaces", "landlock", "seccomp", "rlimits"}
                           and record["isolation"] == sandbox.probe()[0] for record in records)
    assert ("namespaces" in records[0]["layers"]) == (records[0]["isolation"] == "strong")
    text = text_of((out / "report.html").read_text())
    assert f"isolation {records[0]['isolation']} ({', '.join(records[0]['layers'])})" in text


def test_as_many_workers_as_there_are_processors():
    assert 1 <= engines.processors() <= (os.cpu_count() or 1)


def record(verdict="OK", score=10.0, **more):
    return {"student": "ada", "file": "ada.py", "exercise": "nms", "submission": "0" * 64,
            "isolation": "strong", "verdict": verdict, "message": "", "score": score,
            "points": 10.0, "cases": [], "diagnoses": [], "remarks": []} | more


def test_the_live_line_counts_and_is_plain_where_there_is_no_terminal(monkeypatch):
    ended = [record(), record("WRONG_VALUE", 3.0), record("WRONG_VALUE", 0.0, remarks=["x"]),
             record("TIMEOUT", 0.0), record("EXITED", 0.0), record("GRADER_ERROR", None)]
    log, line = io.StringIO(), io.StringIO()
    line.isatty = lambda: True
    monkeypatch.setattr("tinyvision.grading.live.EVERY", 0.0)
    for stream in (log, line):
        with Live("hw{3}", len(ended), stream=stream) as live:
            live.bar.mininterval = live.bar.miniters = 0    # every record is drawn
            for one in ended:
                live.add(one)
            text = live.text()
    assert text == ("ok 1  partial 1  zero 1  timeout 1  crashed 1  flagged 1  grader-error 1")
    assert log.getvalue().splitlines()[-1] == f"hw{{3}}  6/6   {text}"
    assert "hw{3}" in line.getvalue() and "6/6" in line.getvalue() and "\r" in line.getvalue()


# ---- nothing is lost -----------------------------------------------------------------------------

def test_a_damaged_record_is_named_and_made_again(folder, out, copy, capsys):
    paths = sorted(path for path in copy.glob("results/*/*.json") if "time" not in path.name)
    for path, text in zip(paths, ['{"student": "A', "null", "[1]", '{"verdict": "OK"}', ""]):
        path.write_text(text)
    assert command("report", copy) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 5 and all("is damaged; 'tinyvision grade'" in line for line in said)
    book = (copy / "gradebook.csv").read_text()
    assert len(book.splitlines()) == 1 + FILES and book.count(",NOT_GRADED,,") == 5
    assert graded(folder, copy).reused == FILES - 5
    assert kept(copy) == kept(out)


def test_results_that_are_none_are_said_so(tmp_path, copy, capsys):
    assert command("report", tmp_path / "nothing") == 2
    assert "holds no results" in capsys.readouterr().err
    (copy / "submissions.json").write_text("[[1")
    assert command("similar", copy) == 2
    assert "submissions.json is damaged" in capsys.readouterr().err


BAD = {"missing": None, "empty": b"", "binary": bytes(range(256)), "folder": ...}


def bad(path, kind):
    """A path at which there is nothing that anybody can use."""
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    if BAD[kind] is ...:
        path.mkdir()
    elif BAD[kind] is not None:
        path.write_bytes(BAD[kind])
    return path


def refused(capsys, *arguments):
    """The one sentence that a command says, and nothing else, before it ends with 2."""
    assert command(*arguments) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1, said
    return said.err


@pytest.mark.parametrize("kind", BAD)
def test_an_exercise_that_is_no_file_is_refused_before_anything_is_done(folder, tmp_path, capsys,
                                                                        kind):
    name = str(bad(tmp_path / "hw9.py", kind))
    said = {"missing": "No such file", "empty": "defines no EXERCISE", "binary": "not UTF-8",
            "folder": "Is a directory"}[kind]
    out = tmp_path / "out"
    mine = next(folder.rglob("*.py"))
    for words in (("grade", name, folder, "-o", out), ("check", mine, "--exercise", name),
                  ("build", name), ("start", name, "-o", out)):
        found = refused(capsys, *words)
        assert name in found and said in found
    assert not out.exists()
    assert "did you mean 'conv2d'" in refused(capsys, "grade", "conv_2d", folder, "-o", out)
    assert not out.exists()


@pytest.mark.parametrize("kind", BAD)
def test_commands_on_results_that_are_none_say_so(out, tmp_path, capsys, kind):
    nothing = bad(tmp_path / "nothing", kind)
    for words in ("show {} Ada", "replay {} Ada 1.1", "diff {} {out}", "diff {out} {}",
                  "export {} --csv", "export {} --nbgrader", "report {}", "similar {}",
                  "override {} Ada 3 --why because", "roster {}"):
        found = refused(capsys, *words.format(nothing, out=out).split())
        assert "holds no results" in found or f"{nothing} is a file; give the folder" in found


@pytest.mark.parametrize("kind", BAD)
def test_files_that_a_teacher_gives_are_named_where_they_are_none(copy, tmp_path, capsys, kind):
    name = str(bad(tmp_path / "given.csv", kind))
    for words in (("roster", copy, name), ("export", copy, "--moodle", name),
                  ("export", copy, "--canvas", name, "--column", "hw"),
                  ("check", name), ("check", name, "--exercise", "nms")):
        assert name in refused(capsys, *words)
    script = str(bad(tmp_path / "given.py", kind))
    assert script in refused(capsys, "report", copy, script)


@pytest.mark.parametrize("text", ["", "null", "[1]", "{}", '"x"', "\0"])
@pytest.mark.parametrize("place", ["exercises/nms.json", "pages.json"])
def test_a_damaged_file_of_ours_is_named(folder, copy, capsys, place, text):
    (copy / place).write_text(text)
    assert f"{copy / place} is damaged" in refused(capsys, "report", copy)
    if place == "pages.json":           # what may be hidden is not shown because a file is broken
        assert command("report", copy, "--no-numbers") == command("report", copy) == 0
    else:
        assert graded(folder, copy).reused == FILES and command("report", copy) == 0


def test_one_whose_record_is_damaged_is_not_said_to_have_handed_in_nothing(copy, capsys):
    student = FEW[0]
    for entry in store.Store(copy).entries():
        if entry.student == student:
            entry.path.write_text("{")
    for words in (("show", copy, student), ("replay", copy, student, "1.1"),
                  ("override", copy, student, "3", "--why", "because")):
        assert f"{student} has no results yet: the record is damaged" in refused(capsys, *words)


def test_a_full_disk_costs_one_sentence_and_no_record_of_others(folder, out, tmp_path, monkeypatch,
                                                                capsys):
    replace = os.replace

    def full(source, target):
        if "Chidi" in str(target) and str(target).endswith(".json"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        replace(source, target)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        assert command("grade", folder, "-o", tmp_path, "--seed", "reports") == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.count("No space left on device") == 3 and "make room" in printed
    assert f"{FILES - 3} of {FILES} graded" in printed
    assert not list(tmp_path.rglob("*.part"))
    assert graded(folder, tmp_path).reused == FILES - 3
    assert kept(tmp_path) == kept(out)


@FORK
def test_a_disk_that_is_truly_full_keeps_what_fits(folder, out, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk],
                      capture_output=True).returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        summary = graded(folder, disk / "out")
        assert summary.lost and summary.report is None and len(summary.records) < FILES
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        again = graded(folder, disk / "out")
        assert again.reused == len(summary.records) and not again.lost
        assert kept(disk / "out") == kept(out)
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_sandbox_that_does_not_start_gets_a_second_chance(folder, tmp_path, monkeypatch):
    tried, real = [], grader.examine

    def stubborn(submission, *arguments, **options):
        tried.append(submission.file)
        if tried.count(submission.file) < need:
            raise sandbox.SandboxError("too busy")
        return real(submission, *arguments, **options)
    monkeypatch.setattr(grader, "examine", stubborn)
    for need, verdict in ((2, "OK"), (9, "GRADER_ERROR")):
        tried.clear()
        summary = graded(folder, tmp_path / verdict, only=["Amira Haddad"])
        assert summary.count() == {verdict: 3} and len(tried) == 6


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "file"
    store.write(path, "old")

    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device", str(source))
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*/file'$"):
        store.write(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


# ---- pages ---------------------------------------------------------------------------------------

def text_of(page):
    """What is read on a page."""
    body = re.sub(r"<style>.*?</style>|<[^>]*>", " ", page, flags=re.S)
    return re.sub(r"\s+", " ", html.unescape(body))


def test_a_students_page_shows_what_went_wrong(out):
    page = (out / "students/Emre Yilmaz.html").read_text()
    text = text_of(page)
    assert re.search(r"Emre Yilmaz 1\d(\.\d+)? of 30 points", text)
    assert "It looks like: stride in size only The stride changes the size" in text
    assert re.search(r"try conv2d\(x=\[\[\[\[.*stride=2.* yours \[\[\[\[.* expected \[\[\[\[", text)
    assert "conv2d.py:26 in conv2d_backward raise NotImplementedError" in text
    assert text.count("yours − expected") == page.count("data:image/svg") // 3 >= 2
    assert 'class="line">raise NotImplementedError' in page


def test_a_students_page_holds_nothing_for_the_teacher_only(out):
    for path in (out / "students").iterdir():
        page = path.read_text()
        others = [name for name in FEW if f"{name}.html" != path.name]
        assert not any(name in page for name in others)
        assert "imports socket" not in page and "shipped solution" not in page
    assert "imports socket" in (out / "report.html").read_text()


def test_hidden_tests_show_what_they_are_about_and_none_of_their_numbers(copy):
    assert command("report", copy, "--no-numbers") == 0
    page = (copy / "students/Emre Yilmaz.html").read_text()
    assert "A hidden test about: stride 2." in page and "data:image" not in page
    records = [json.loads(p.read_text()) for p in copy.glob("results/Emre*/*.json")
               if "time" not in p.name]
    said = [case["message"] for one in records for case in one["cases"] if case["message"]]
    assert said and not any(html.escape(message) in page for message in said)
    assert command("report", copy) == 0                 # kept for the next time
    assert "data:image" not in (copy / "students/Emre Yilmaz.html").read_text()
    assert command("report", copy, "--numbers") == 0
    assert "data:image" in (copy / "students/Emre Yilmaz.html").read_text()


def test_one_hidden_case_hides_its_own_numbers_only():
    picture = {"title": "[:]", "expected": [[1.0]], "received": [[2.0]], "wrong": [[1]]}
    case = {"function": "f", "points": 1.0, "earned": 0.0, "verdict": "WRONG_VALUE",
            "picture": picture}
    cases = [case | {"name": "open", "message": "yours 2"},
             case | {"name": "secret", "message": "yours 4711", "hidden": True, "printed": "4712"}]
    page = student_page("ada", [data.Item(record(cases=cases), Mark(0.0, 2.0), "ada")])
    assert "yours 2" in page and page.count("data:image") == 3
    assert "4711" not in page and "4712" not in page and "A hidden test about: secret" in page


def test_the_class_page_names_mistakes_lectures_and_neighbours(out):
    page = (out / "report.html").read_text()
    text = text_of(page)
    assert f"{FILES} submissions of {len(FEW)} students" in text
    assert re.search(r"conv2d 1 33 % kernel flipped .*? conv2d\(x=.{20,120} gives \[.*?, not \[", text)
    assert "to teach again: UW, Convolution as Matrix" in text
    assert "Emre Yilmaz + the shipped solution" in text
    assert "imports socket" in text and "Kavya Rao/nms.py" in text
    links = {unquote(link) for link in re.findall(r'href="([^"#]+)"', page)}
    assert len(links) == len(FEW) + 1 and all((out / link).is_file() for link in links)


def test_every_page_is_alone_and_runs_nothing(out):
    pages = list(out.rglob("*.html"))
    assert len(pages) == len(FEW) + 2
    for path in pages:
        page = path.read_text()
        assert "default-src 'none'; style-src 'sha256-" in page and "unsafe" not in page
        assert not re.search(r"<script|\son\w+=|javascript:|<link|<iframe|@import|\sstyle=", page)
        outside = re.findall(r'(?:src|href|url\()["\']?([^"\')>]*)', re.sub(
            r"<pre>.*?</pre>", "", page, flags=re.S))
        assert not [link for link in outside if link.startswith(("http", "//", "file"))]


class Tags(html.parser.HTMLParser):
    """The tags of a page with the names of their attributes."""

    def handle_starttag(self, tag, attributes):
        self.found.update((tag, name) for name, _ in attributes or [("", "")])


def tags_of(page):
    parser = Tags()
    parser.found = set()
    parser.feed(page)
    return {tag for tag, _ in parser.found} | {name for _, name in parser.found}


ALLOWED = set("""html head meta title style body main section article footer h1 h2 h3 p div span b
    small ul li dl dt dd table tr th td a code pre br figure figcaption svg rect text
    lang charset http-equiv content name class id href title viewbox preserveaspectratio role
    aria-label width height x y rx colspan""".split()) | {""}
HOSTILE = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "=cmd|'/c calc'!A1",
           "a\nb", "\u202egnp.exe", "&lt;b&gt;", "../../etc/passwd", "-rf"]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_and_words_of_students_are_only_text(tmp_path, name):
    kept_in = store.Store(tmp_path)
    clean = store.plain(name)
    evil = record("EXCEPTION", 0.0, student=clean, file=f"{clean}.py", message=clean,
                  remarks=[clean], diagnoses=[{"function": "f", "name": clean, "hint": clean,
                                               "counterexample": {"call": clean, "yours": clean,
                                                                  "expected": clean}}],
                  cases=[{"function": "f", "name": clean, "points": 1.0, "earned": 0.0,
                          "verdict": "EXCEPTION", "message": clean, "printed": clean,
                          "frames": [f"{clean}:1 in f: {clean}"]}])
    kept_in.save(name, "0" * 64, evil, {})
    kept_in.list_submissions([(name, "0" * 64)])
    report = write_report(tmp_path)
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) == 3 and report.students.is_dir()
    for path in pages:
        page = path.read_text()
        assert "<script" not in page and "<img src=x" not in page and "\u202e" not in page
        assert set(tags_of(page)) <= ALLOWED
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "gradebook.csv", "report.html", "results", "similar.html", "students", "submissions.json"]
    links = re.findall(r'href="(students/[^"]+)"', (tmp_path / "report.html").read_text())
    assert links and all((tmp_path / unquote(link)).is_file() for link in links)


def laid(out, *records):
    """A folder of results with these records, and its class page."""
    kept_in = store.Store(out)
    for i, one in enumerate(records):
        kept_in.save(one["student"], f"{i:064x}", one, {})
    kept_in.list_submissions([(one["student"], f"{i:064x}") for i, one in enumerate(records)])
    write_report(out)
    return (out / "report.html").read_text()


def test_the_class_page_of_nobody_one_and_two(tmp_path):
    page = laid(tmp_path / "0")
    assert "Nothing graded yet" in page and "0 submissions of 0 students" in page
    assert "<h2>" not in page and "nan" not in text_of(page)        # no empty frame stands about
    page = laid(tmp_path / "none", record("MISSING", 0.0, exercise=None, points=None))
    assert "Nothing that could be graded" in page and "<h2>Exercises" not in page
    page = laid(tmp_path / "1", record())
    assert "1 submission of 1 student " in page and "<h2>Exercises" in page
    page = text_of(laid(tmp_path / "2", record("WRONG_VALUE", 4.0), record(
        "GRADER_ERROR", None, student="ben", file="ben.py")))
    assert "2 submissions of 2 students" in page and "40 % mean" in page
    assert "1 not graded" in page


def test_mistakes_are_listed_by_function_and_names_may_hold_commas(tmp_path):
    def wrong(student, **slips):
        found = [{"function": function, "name": name.replace("_", "-"), "hint": "Look."}
                 for name, function in slips.items()]
        cases = [{"function": function, "name": "c", "points": 5.0, "earned": 0.0,
                  "verdict": "WRONG_VALUE", "message": ""} for function in ("op", "op_backward")]
        return record("WRONG_VALUE", 0.0, student=student, file=f"{student}.py", cases=cases,
                      diagnoses=found, exercise="op")
    page = laid(tmp_path, wrong("Haddad, Amira", transposed="op_backward", sign="op"),
                wrong("Okafor, Chidi", transposed="op_backward", flipped="op_backward"))
    mistakes = text_of(page.partition('id="mistakes"')[2].partition("</section>")[0])
    assert re.findall(r"\b(op_backward|op|transposed|sign|flipped)\b", mistakes) == [
        "op", "op", "sign", "op_backward", "transposed", "flipped"]     # the title, then two lists
    assert "Haddad, Amira · Okafor, Chidi" in mistakes


def test_no_function_of_a_homework_hides_the_mistakes_of_another(tmp_path):
    cases = [{"function": function, "name": "c", "points": 5.0, "earned": 0.0,
              "verdict": "WRONG_VALUE", "message": ""} for function in ("conv2d", "nms")]
    made = [("conv2d", f"slip-{i}") for i in range(9) for _ in range(2)] + [("nms", "endless")]
    records = [record("WRONG_VALUE", 0.0, student=f"s{i}", file=f"s{i}.py", exercise="hw5",
                      cases=cases,
                      diagnoses=[{"function": function, "name": name, "hint": "Look."}])
               for i, (function, name) in enumerate(made)]
    page = laid(tmp_path, *records)
    mistakes = text_of(page.partition('id="mistakes"')[2].partition("</section>")[0])
    assert "and 3 more: slip 6 2, slip 7 2, slip 8 2 nms 1" in mistakes and "endless" in mistakes
    assert mistakes.count("Look.") == 7             # six of one function, the only one of the other
    told = summary_text(Summary(records, [Mark(0.0, 10.0)] * len(records), len(records), 0, False,
                                "full", 1.0, 1, None, None))
    assert "conv2d: slip 0 2 · slip 1 2 · slip 2 2 · and 6 more" in told
    assert "nms: endless 1" in told


def test_only_what_counts_is_in_the_mean_and_in_the_mistakes(tmp_path, capsys):
    folder = tmp_path / "in"
    right = next(write_class(tmp_path / "class", ("Amira Haddad",)).rglob("nms.py")).read_text()
    wrong = right.replace("<= iou", "< iou")
    assert wrong != right
    for place, text in (("ada/nms.py", right), ("ada/old/nms.py", wrong), ("ben/nms.py", wrong)):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text("# tinyvision exercise: nms\n" + text)
    summary = graded(folder, tmp_path / "out")
    assert [mark.counts for mark in summary.marks] == [True, False, True]
    own = [mark.score / mark.points for mark in summary.marks if mark.counts]
    assert summary.shares() == sorted(own) and summary.mean() == sum(own) / 2 and own[0] == 1.0
    assert list(summary.mistakes().values()) == [1] and sum(summary.count().values()) == 3
    assert summary.verdicts() == {"OK": 1, "WRONG_SHAPE": 1}
    assert re.search(r"^verdicts +OK 1 · WRONG_SHAPE 1 · not counted 1$", summary_text(summary),
                     re.M)
    page = text_of((tmp_path / "out" / "report.html").read_text())
    assert f"{summary.mean():.0%}".replace("%", " % mean") in page


def test_names_of_students_cannot_draw_on_the_terminal(tmp_path, capsys):
    kept_in = store.Store(tmp_path)
    names = ["a\x1b[2J\r\n30 of 30 graded", "b\udc80\u202e", "c\x9b31m"]
    kept_in.list_submissions([(name, "2" * 64) for name in names])
    assert command("report", tmp_path) == 1
    said = capsys.readouterr().err
    assert said.splitlines() == ["a\ufffd 30 of 30 graded: not graded yet",
                                 "b\ufffd\ufffd: not graded yet", "c\ufffd31m: not graded yet"]


def test_two_students_whose_names_look_alike_have_a_page_each(tmp_path):
    kept_in = store.Store(tmp_path)
    names = ["a\u202eb", "a\u200fb"]
    for name in names:
        kept_in.save(name, "1" * 64, record(student=store.plain(name)), {})
    kept_in.list_submissions([(name, "1" * 64) for name in names])
    write_report(tmp_path)
    assert len(list((tmp_path / "students").iterdir())) == 2


def test_a_picture_of_anything_can_be_drawn():
    for plane in ([], [[]], [["nan", "inf", "-inf", 1e300]], [[0.0] * 16] * 16, [[True, 3]]):
        wrong = [[1] * len(row) for row in plane]
        shown = pictures.figure({"title": "t", "expected": plane, "received": plane,
                                 "wrong": wrong}, "<caption>")
        assert shown.count("data:image/svg+xml;base64,") == (3 if wrong else 2)
        assert "&lt;caption&gt;" in shown
    other = pictures.panels({"expected": [[1.0, 2.0]], "received": [[1.0]]})
    assert [title for title, *_ in other] == ["expected", "yours"]


def test_a_frame_joins_the_first_wrong_number_to_what_it_comes_from(out):
    path = next(path for path in (out / "results/Chidi Okafor").glob("*.json")
                if json.loads(path.read_text()).get("exercise") == "conv2d")
    case = next(case for case in json.loads(path.read_text())["cases"] if case["name"]
                == "2x3 kernel")
    picture = case["picture"]
    assert picture["first"] == [[1, 0], [0, 0]] and picture["argument"] == "x[0, 0, :, :]"
    assert picture["used"] == [[1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0]]
    expected, yours, difference, comes = pictures.panels(picture)
    assert comes[0] == "the framed one comes from x[0, 0, :, :]" and len(comes[1]) == 3
    assert [kind for kind, _ in expected[-1] + yours[-1] + difference[-1] + comes[-1]] == [
        "u", "w", "w", "u"]
    assert "the framed one comes from x[0, 0, :, :]: 3 by 4 numbers" in (
        out / "students/Chidi Okafor.html").read_text()


@pytest.mark.parametrize("title, place", [
    ("[:, :]", ""), ("[:]", ""), ("[]", ""), ("answer 2 [:, :]", "answer 2"), ("", ""),
    ("[0, 1, :, :]", "[0, 1, :, :]"), ("answer 1 [3, :, :]", "answer 1 [3, :, :]")])
def test_an_index_is_told_where_it_leaves_something_out(title, place):
    picture = {"title": title, "expected": [[1.0]], "received": [[2.0]], "wrong": [[1]]}
    assert pictures.place(picture) == place
    case = {"function": "f", "name": "c", "verdict": "WRONG_VALUE", "points": 1.0, "earned": 0.0,
            "message": "", "picture": picture}
    page = student_page("ada", [data.Item(record(cases=[case]), Mark(0.0, 1.0), "ada")])
    said = f"the numbers {'at' if ']' in place else 'of'} {place}" if place else "the numbers"
    assert f"<figcaption>{said}</figcaption>" in page
    assert f"<figcaption>f, c{': ' * bool(place)}{place}</figcaption>" in figures({"cases": [case]})


def test_outlines_surround_wrong_cells_together():
    one = pictures._outlined([[0, 1], [0, 0]], 10, 10)
    both = pictures._outlined([[1, 1], [0, 0]], 10, 10)
    assert one.count("M") == 4 and both.count("M") == 6


@pytest.mark.parametrize("value, text", [
    (0.0, "0"), (3.0, "3"), (-12.0, "-12"), (1.234567, "1.23"), (-0.0123456, "-0.012"),
    (123.456, "123"), (1234.5, "1234"), (1.6e-7, "2e-7"), (6.02e23, "6e23"),
    (float("nan"), "nan"), (float("-inf"), "-inf"), (99999.5, "1e5")])
def test_numbers_are_short(value, text):
    assert pictures.short(value) == text and len(text) <= 6


def test_statistics_of_a_class():
    def item(score, *mistakes, exercise="nms"):
        found = [{"function": "nms", "name": name, "hint": "h"} for name in mistakes]
        cases = [{"function": "nms", "name": "easy", "points": 4.0, "earned": min(score, 4.0)},
                 {"function": "nms", "name": "hard", "points": 6.0, "earned": max(0.0, score - 4)}]
        return data.Item(record("WRONG_VALUE", score, diagnoses=found, cases=cases,
                                exercise=exercise), Mark(score, 10.0), f"s{score}")
    failed = data.Item(record("GRADER_ERROR", None), Mark(None, 10.0), "x")
    syntax = data.Item(record("SYNTAX", 0.0), Mark(0.0, 10.0), "y")
    items = [item(4.0, "a", "b"), item(4.0, "a"), item(10.0), item(9.9, "", "a"), failed, syntax]
    (whole,) = data.parts("nms", items)
    assert whole.shares == data.shares(items)
    assert data.histogram(data.shares(items)) == [1, 0, 0, 0, 2, 0, 0, 0, 0, 1, 1]
    assert data.median(data.shares(items)) == 0.4
    assert data.mean(data.shares(items)) == pytest.approx(27.9 / 50)
    assert [(one.name, len(one.items)) for one in data.mistakes(whole)] == [
        ("a", 3), ("b", 1), ("", 1)]
    easy, hard = data.difficulty(whole)
    assert easy == ("nms", "easy", 16 / 20) and hard[2] == pytest.approx(11.9 / 30)
    assert data.to_look_at(items) == [(failed, "")]


def test_the_class_page_tells_the_parts_of_an_assignment_apart():
    about = {"title": "Homework 3", "lecture": "L 1; L 2", "parts": [
        {"name": "iou", "title": "Overlap", "lecture": "L 1", "functions": ["iou"]},
        {"name": "conv", "title": "Windows", "lecture": "L 2", "functions": ["conv", "back"]}]}

    def item(student, mark, found=(), **earned):
        cases = [{"function": name, "name": f"{name} 1", "points": 4.0, "earned": value,
                  "verdict": "OK"} for name, value in earned.items()]
        return data.Item(record("WRONG_VALUE", mark.score, student=student, cases=cases,
                                diagnoses=found, exercise="hw3"), mark, student, about)
    flipped = {"function": "conv", "name": "kernel-flipped", "hint": "Turned."}
    items = [item("ada", Mark(12.0, 12.0), iou=4.0, conv=4.0, back=4.0),
             item("bob", Mark(5.0, 12.0), [flipped], iou=4.0, conv=1.0, back=0.0),
             item("cleo", Mark(7.0, 12.0, by_hand={"back": 3.0}), iou=4.0, conv=0.0, back=0.0),
             item("dan", Mark(0.0, 12.0)), item("eve", Mark(6.0, 12.0))]
    first, second = data.parts("hw3", items)
    assert first.shares == [0, 1, 1, 1]                 # nobody knows where eve's are, by hand
    assert second.shares == [0, 1 / 8, 3 / 8, 1]
    assert not data.mistakes(first) and [m.name for m in data.mistakes(second)] == [
        "kernel-flipped"]
    assert [case for _, case, _ in data.difficulty(second)] == ["conv 1", "back 1"]
    text = text_of(overview.class_page(items, [], [], []))
    assert "Homework 3 hw3 5 50 % 50 %" in text and "Overlap iou · L 1 5 75 % 100 %" in text
    assert "Windows to teach again: L 2 conv 1 20 % kernel flipped" in text
    assert "L 1; L 2" not in text and "Overlap to teach again" not in text


def test_a_mark_is_what_counts_and_its_reason_is_told(out):
    page = student_page("ada", [data.Item(record(), Mark(7.5, 10.0, ("one day <late>",)), "ada")])
    assert "7.5 <small>/ 10" in page and "one day &lt;late&gt;" in page
    blank = student_page("ada", [data.Item(record("GRADER_ERROR", None), Mark(None, 10.0), "a")])
    assert "not graded" in blank and "our fault" in text_of(blank)
    assert parts.percent(None) == "–" and parts.number(None) == "–"


def test_points_by_hand_for_a_file_of_no_exercise(tmp_path):
    def broken(points):
        return data.Item(record("UNREADABLE", 0.0, exercise=None, points=None),
                         Mark(4.0, points), "ada")
    alone, of_ten, right = broken(None), broken(10.0), data.Item(record(), Mark(10.0, 10.0), "ada")
    assert alone.share is None and of_ten.share == 0.4 and Mark(0.0, None).share == 0.0
    assert "4 points" in text_of(student_page("ada", [alone]))
    assert "4 of 10 points" in text_of(student_page("ada", [of_ten]))
    assert "14 of 10 points" in text_of(student_page("ada", [of_ten, right]))   # one exercise
    records = [record(), record("UNREADABLE", 0.0, exercise=None, points=None, student="ben",
                                file="ben.zip"), record("OK", 5.0, student="cy", exercise="other")]
    assert course.worth(records) == {"nms": 10.0, "other": 10.0}
    for known, points, shares in ((records[:2], 10.0, [0.4, 1.0]), (records, None, [0.5, 1.0])):
        out = tmp_path / str(len(known))
        laid(out, *known)
        if points:
            with pytest.raises(ValueError, match="11 points, of 10; give a number from 0 to 10"):
                overrides.add(out, known, "ben", "", 11.0, "too much", "2026-12-01")
        overrides.add(out, known, "ben", "", 4.0, "the zip held it", "2026-12-01")
        page, rules = laid(out, *known), course.read(out)
        found = [mark(one, rules) for one in known]
        assert found[1].points == points
        told = Summary(known, found, len(known), 0, False, "full", 1.0, 1, None, None)
        assert told.shares() == shares
        assert f"{told.mean():.0%} mean".replace("%", " %") in text_of(page)
        assert "0 not graded" in text_of(page) and "cannot be read 4" in text_of(page)
        theirs = text_of((out / "students" / "ben.html").read_text())
        assert ("4 of 10 points" if points else "4 points") in theirs
        assert "of 0" not in theirs


def test_a_functions_points_are_those_that_were_given_by_hand(tmp_path):
    cases = [{"function": function, "name": name, "points": 5.0, "earned": earned,
              "verdict": "OK" if earned else "WRONG_VALUE", "message": ""}
             for function, name, earned in (("nms", "a", 5.0), ("nms", "b", 0.0),
                                            ("iou", "c", 0.0))]
    one = record("WRONG_VALUE", 5.0, cases=cases, points=15.0)

    def shown():
        laid(tmp_path, one)
        page = text_of((tmp_path / "students" / "ada.html").read_text())
        return re.findall(r"(nms|iou) ((?:by hand )?[\d.]+ / \d+)", page)
    assert shown() == [("nms", "5 / 10"), ("iou", "0 / 5")]
    overrides.add(tmp_path, [one], "ada", "nms: b", 2.5, "hardly wrong", "2026-12-01")
    assert shown() == [("nms", "by hand 7.5 / 10"), ("iou", "0 / 5")]
    overrides.add(tmp_path, [one], "ada", "iou", 4.0, "read again", "2026-12-01")
    assert shown() == [("nms", "by hand 7.5 / 10"), ("iou", "by hand 4 / 5")]
    assert mark(one, course.read(tmp_path)).score == 11.5
    overrides.add(tmp_path, [one], "ada", "", 3.0, "the whole", "2026-12-01")
    assert shown() == [("nms", "5 / 10"), ("iou", "0 / 5")]      # a whole mark is no function's


@pytest.mark.parametrize("several", [False, True])
def test_everybody_is_on_the_class_page_with_the_gradebooks_points(tmp_path, several):
    laid(tmp_path, record())
    (tmp_path / "roster.csv").write_text("id,name,email\nada,A,\nzoe,<Z>,\n")
    assert command("roster", tmp_path, tmp_path / "roster.csv") == 0
    page = laid(tmp_path, record(), *[record(exercise="other", file="o.py")] * several, record(
        "UNREADABLE", 0.0, exercise=None, points=None, student="ben", file="ben.zip"))
    everybody = page.partition('id="everybody"')[2].partition("</section>")[0]
    head, *rows = [" ".join(text_of(row).split()) for row in everybody.split("<tr>")[1:]]
    assert head == f"student nms {'other ' * several}of no exercise"
    assert rows == ["ada 10" + " 10" * several, "ben cannot be read 0",
                    "zoe nothing to grade 0" if several else "zoe 0 nothing to grade"]
    assert "students/zoe.html" not in page
    book = (tmp_path / "gradebook.csv").read_text()
    assert "\nzoe," in book and ",MISSING,0," in book and ",UNREADABLE,0," in book


def test_a_roster_is_told_and_is_no_failure(copy, capsys):
    roster = copy.parent / "roster.csv"
    roster.write_text("id,name,email\n1,Amira Haddad,a@example.org\n2,Zoe Absent,z@example.org\n")
    assert command("roster", copy, roster) == 0
    capsys.readouterr()
    assert command("report", copy) == 0
    said = capsys.readouterr().out
    assert "Zoe Absent" in said and "of nobody on the roster" in said
    page = text_of((copy / "report.html").read_text())
    assert "1 without a submission: Zoe Absent" in page and "0 not graded" in page
    assert "\n2,,box_iou conv2d nms,MISSING,0,30," in (copy / "gradebook.csv").read_text()
