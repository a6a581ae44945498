"""The teacher's side of results: lateness, roster, marks by hand, one case again, two gradings."""
import csv
import errno
import json
import shutil
import zipfile
from pathlib import Path

import nbformat
import numpy as np
import pytest

import small_course
from tinyvision import cli
from tinyvision.exercises import lateness
from tinyvision.grading import (grade, inspecting, late, overrides, roster, selection,
                                submissions, totals)
from tinyvision.grading.store import Store

DUE = "2026-12-01 12:00 +01:00"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return small_course.graded(tmp_path_factory.mktemp("course"))


@pytest.fixture
def out(results, tmp_path):
    """A copy of the results, to be changed."""
    (tmp_path / "roster.csv").write_text(small_course.ROSTER, encoding="utf-8")
    return Path(shutil.copytree(results, tmp_path / "out"))


def run(*words):
    return cli.main([str(word) for word in words])


def gradebook(out):
    with open(out / "gradebook.csv", newline="", encoding="utf-8") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


# ---- lateness ------------------------------------------------------------------------------------

@pytest.mark.parametrize("rules, hours, taken", [
    ({}, 500, 0), ({"points_per_day": 2}, -1, None), ({"points_per_day": 2}, 0.5, 2),
    ({"points_per_day": 2}, 24, 2), ({"points_per_day": 2}, 24.01, 4),
    ({"points_per_day": 2, "free_hours": 24}, 24, 0),
    ({"points_per_day": 2, "free_hours": 24}, 25, 2),
    ({"points_per_day": 2, "most_points": 5}, 24 * 9, 5), ({"points_per_day": 9}, 24 * 9, 17),
    ({"percent_per_day": 10}, 30, 4), ({"percent_per_day": 10, "most_percent": 15}, 30, 3),
    ({"closed_after_hours": 48}, 47, 0), ({"closed_after_hours": 48}, 49, 17)])
def test_what_lateness_costs(rules, hours, taken):
    policy = lateness.Policy.of(DUE, rules)
    moment = policy.due + lateness.timedelta(hours=hours)
    found = policy.lateness(moment, 20, 17)
    assert (found.taken if found else None) == taken
    assert found is None or "late: " in found.why


def test_an_extension_moves_the_due_date():
    policy = lateness.Policy.of(DUE, {"points_per_day": 2})
    moment = policy.due + lateness.timedelta(hours=30)
    assert policy.lateness(moment, 20, 17, extra_hours=30) is None
    assert policy.lateness(moment, 20, 17, extra_hours=29).taken == 2
    assert policy.lateness(None, 20, 17) is None


@pytest.mark.parametrize("due, rules, words", [
    (DUE, {"points_a_day": 1}, "no rule 'points_a_day'"), (DUE, {"points_per_day": "2"}, "'2'"),
    (DUE, {"free_hours": -1}, "0 or more"), (None, {"free_hours": 1}, "no due date"),
    ("tomorrow", {}, "no time"), ("2026-12-01 12:00", {}, "no time zone"),
    ("2026-12-01 12:00 Mars/Base", {}, "no time zone"), ("2026-13-41 12:00 UTC", {}, "month")])
def test_a_policy_that_says_nothing_is_refused(due, rules, words):
    with pytest.raises(ValueError, match=words):
        lateness.Policy.of(due, rules)


@pytest.mark.parametrize("text", [
    "2026-12-01T11:00Z", "2026-12-01 12:00 +01:00", "2026-12-01 12:00:00.000000 Europe/Berlin",
    "2026-12-01T03:00:00.000000-08:00", "2026-12-01 11:00 UTC"])
def test_one_moment_in_many_words(text):
    assert lateness.time(text).isoformat() == "2026-12-01T11:00:00+00:00"


def test_times_come_from_gradescopes_files_too(tmp_path):
    for name in ("submission_7", "submission_8"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.py").write_text("x = 1")
    (tmp_path / "submission_metadata.yml").write_text(
        "submission_7:\n  :submitters:\n  - :name: Ada\n    :sid: '17'\n"
        "  :created_at: 2026-12-01 12:00:00.000000000 +01:00\n")
    (tmp_path / "submission_8" / "submission_metadata.json").write_text(
        json.dumps({"created_at": "2026-12-01T13:00:00.0+01:00"}))
    assert late.times(tmp_path, submissions.find(tmp_path)) == {
        "submission_7/a.py": "2026-12-01T11:00:00+00:00",
        "submission_8/a.py": "2026-12-01T12:00:00+00:00"}


@pytest.mark.parametrize("text", ["", "yesterday", "[" * 100000, '{"created_at": 3}', "\udcff"])
def test_a_stamp_that_is_none_is_no_stamp(tmp_path, text):
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada" / "a.py").write_text("x = 1")
    for name in ("timestamp.txt", "submission_metadata.json"):
        (tmp_path / "ada" / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    assert late.times(tmp_path, submissions.find(tmp_path)) == {}


def test_a_time_that_was_handed_in_does_not_count(tmp_path):
    """What the system wrote stands above what a student may have put into a folder of theirs."""
    deep = tmp_path / "ada" / "lab1" / "mine"
    deep.mkdir(parents=True)
    (deep / "nms.py").write_text("# tinyvision exercise: nms\n")
    (deep / "timestamp.txt").write_text("2026-01-01 00:00:00 UTC")
    (deep.parent / "timestamp.txt").write_text("2026-11-20 10:00:00 UTC")
    found = submissions.find(tmp_path)
    assert list(late.times(tmp_path, found).values()) == ["2026-11-20T10:00:00+00:00"]


def test_lateness_is_in_gradebook_and_page_and_not_in_the_record(results):
    rows = gradebook(results)
    assert [rows[name]["score"] for name in ("ada", "ben", "cleo", "'=dan")] == ["18", "18", "12",
                                                                                "12"]
    assert rows["ada"]["notes"] == "23.5 hours late: 2 points taken off for 1 day"
    assert rows["cleo"]["notes"] == ""
    assert [r["score"] for r in Store(results).records() if r["student"] == "ada"] == [20]
    assert "23.5 hours late" in (results / "students" / "ada.html").read_text()


def test_a_due_date_changed_later_counts_without_grading_again(results, tmp_path):
    shutil.copytree(results.parent, tmp_path, dirs_exist_ok=True)
    source = tmp_path / "lab1.py"
    source.write_text(source.read_text().replace("2026-12-01 12:00 +01:00", "2026-12-03 12:00Z"))
    summary = grade(tmp_path / "submitted", tmp_path / "out", str(source), progress=False)
    assert summary.reused == summary.submitted == 4
    assert gradebook(tmp_path / "out")["ada"]["score"] == "20"


def test_report_takes_a_changed_policy_over(results, tmp_path, capsys):
    shutil.copytree(results.parent, tmp_path, dirs_exist_ok=True)
    source = tmp_path / "lab1.py"
    source.write_text(source.read_text().replace("2026-12-01 12:00 +01:00", "2026-12-03 12:00Z"))
    assert run("report", tmp_path / "out") == 0
    assert gradebook(tmp_path / "out")["ada"]["score"] == "18"
    assert run("report", tmp_path / "out", source) == 0
    assert gradebook(tmp_path / "out")["ada"]["score"] == "20"
    assert run("report", tmp_path / "out", "conv2d") == 2
    assert "holds nothing of 'conv2d'; there is lab1" in capsys.readouterr().err


def test_a_time_that_cannot_be_read_is_said(tmp_path, capsys):
    source, handed_in = small_course.write_course(tmp_path)
    (handed_in / "ada" / "lab1" / "timestamp.txt").write_text("gestern")
    assert run("grade", source, handed_in, "-o", tmp_path / "out") == 0
    assert capsys.readouterr().err == ("grade: no time that can be read, taken as handed in on "
                                       "time: ada/lab1/timestamp.txt\n")
    row = gradebook(tmp_path / "out")["ada"]
    assert row["score"] == "20" and row["notes"].startswith("ada/lab1/timestamp.txt tells no time")


@pytest.mark.parametrize("name, text", [("timestamp.txt", "2026-12-02T10:00:00\n"), (
    "submission_metadata.json", '{"created_at": "2026-12-02 10:00:00.5"}')])
def test_a_time_without_a_zone_is_said_to_be_that(tmp_path, capsys, name, text):
    source, handed_in = small_course.write_course(tmp_path)
    (handed_in / "ada" / "lab1" / "timestamp.txt").unlink()
    (handed_in / "ada" / "lab1" / name).write_text(text)
    assert run("grade", source, handed_in, "-o", tmp_path / "out") == 0
    what = f"ada/lab1/{name} (no time zone; write one behind it, such as +01:00)"
    assert capsys.readouterr().err == ("grade: no time that can be read, taken as handed in on "
                                       f"time: {what}\n")
    assert gradebook(tmp_path / "out")["ada"]["notes"] == (
        f"{what} tells no time that can be read: taken as handed in on time")


def test_results_of_others_and_a_lost_secret_are_warned_of(out, tmp_path, capsys):
    source, handed_in = small_course.write_course(tmp_path)
    shutil.rmtree(handed_in / "cleo")
    (out / "secret").unlink()
    assert run("grade", source, handed_in, "-o", out) == 0
    first, second = capsys.readouterr().err.splitlines()
    assert "held results of 1 student" in first and "secret is gone" in second


# ---- the roster ----------------------------------------------------------------------------------

def test_roster_lists_the_missing_and_the_unknown(out, capsys):
    assert run("roster", out, out.parent / "roster.csv") == 0
    said = capsys.readouterr().out
    assert "4 on the roster, 1 without a submission: Zoe Zhou" in said
    assert "1 submission of nobody on the roster: =dan" in said
    rows = gradebook(out)
    assert (rows["zoe"]["verdict"], rows["zoe"]["score"]) == ("MISSING", "0")
    assert rows["ben"]["score"] == "20" and rows["ada"]["score"] == "18"     # ben's extension


def test_an_extension_leaves_its_trace(out, capsys):
    roster, text = out.parent / "roster.csv", (out.parent / "roster.csv").read_text()
    within = "24.5 hours late, within an extension of 30 hours"
    assert run("roster", out, roster) == 0 and gradebook(out)["ben"]["notes"] == within
    assert within in (out / "students" / "ben.html").read_text()
    capsys.readouterr()
    assert run("show", out, "ben") == 0
    said = capsys.readouterr().out
    assert within in said and "counts: 20" in said
    shorter = roster.with_name("shorter.csv")
    shorter.write_text(text.replace("ben@uni.example,30", "ben@uni.example,20"))
    assert run("roster", out, shorter) == 0
    row = gradebook(out)["ben"]
    assert row["score"] == "18" and row["notes"] == (
        "4.5 hours late: 2 points taken off for 1 day, after an extension of 20 hours")
    assert gradebook(out)["cleo"]["notes"] == ""            # in time, with or without one


@pytest.mark.parametrize("word", ["17", "ADA@x.org", "ada", "Ada Lovelace", "Lovelace, Ada",
                                  "ada  lovelace", "Ada Lovelace_123_assignsubmission_file_"])
def test_a_student_goes_by_many_names(word):
    people = roster.Roster(roster.parse("Student ID\tName\tE-Mail\n17\tAda Lovelace\tada@x.org\n"))
    assert people.find(word).id == "17"
    assert people.find("ada lovelacE", "nobody").id == "17" and people.find("eve") is None


def test_a_name_that_two_share_is_nobodys():
    people = roster.Roster(roster.parse("id;name\n1;Kim Lee\n2;Kim Lee\n"))
    assert people.find("Kim Lee") is None and people.find("2").id == "2"


@pytest.mark.parametrize("text, words", [
    ("id,name,email\n", "names nobody"), ("", "neither a column"),
    ("Vorname,Nachname\nA,B\n", "neither a column 'id' nor 'email' .it has: Vorname, Nachname"),
    ("id,name\n1,A\n1,B\n", "row 3: the id '1' stands in row 2"), ("id,name\n,A\n", "row 2: no id"),
    ("id,extra_hours\n1,two\n", "extra_hours is 'two'"),
    ("id,extra_hours\n1,inf\n", "extra_hours is 'inf'; give a number from 0 to 100000"),
    ("id,extra_hours\n1,-3\n", "extra_hours is '-3'"),
    ("id,extra_hours\n1,nan\n", "extra_hours is 'nan'"),
    ('id,name\n1,A\n2,"B\n3,C\n4,"D"\n', "line 3: a cell begins with a quote"),
    ('id,name\n1,"A\n2,B\n3,C\n', "line 2: a cell begins with a quote"),
    ('id,name,email\n1,"A\n2,B",b@x.org\n', "line 2: .* not closed where the cell ends")])
def test_a_roster_that_is_none_is_named_and_nothing_changes(out, capsys, text, words):
    before = (out / "gradebook.csv").read_bytes()
    bad = out.parent / "bad.csv"
    bad.write_text(text)
    assert run("roster", out, bad) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    with pytest.raises(ValueError, match=words):
        roster.read(bad)
    assert (out / "gradebook.csv").read_bytes() == before and roster.of(out) is None


def test_quotes_of_a_roster_that_are_right():
    """Names with commas and quotes, and remarks of several lines, which nobody reads."""
    text = ('id,name,remark\r\n1,"Lovelace, Ada","a\r\nb"\r\n\r\n2,"Kim ""K"" Lee",\r\n'
            '3,D"Arcy,x')
    assert [(one.id, one.name) for one in roster.parse(text)] == [
        ("1", "Lovelace, Ada"), ("2", 'Kim "K" Lee'), ("3", 'D"Arcy')]


def test_roster_with_a_mark_and_old_umlauts(tmp_path):
    path = tmp_path / "r.csv"
    path.write_bytes("\ufeffid;name\r\n7;Ünal Öz\r\n".encode())
    assert roster.read(path).find("öz, ünal").id == "7"
    path.write_bytes("id;name\n7;Ünal\n".encode("cp1252"))
    with pytest.raises(ValueError, match="not UTF-8 .byte 10."):
        roster.read(path)


# ---- marks by hand -------------------------------------------------------------------------------

def test_override_of_case_function_and_whole(out):
    assert run("override", out, "cleo", "1.2", "6", "--why", "the sheet had the images swapped") == 0
    assert gradebook(out)["cleo"]["score"] == "18"
    assert run("override", out, "cleo", "mix", "10", "--why", "agreed") == 0
    assert gradebook(out)["cleo"]["score"] == "18"          # the whole function, not 10 + 6
    assert run("override", out, "ada", "19.5", "--why", "ill: a certificate") == 0
    row = gradebook(out)["ada"]
    assert row["score"] == "19.5" and "late" not in row["notes"]
    assert "set to 19.5 by hand on 20" in row["notes"] and "a certificate" in row["notes"]
    assert "a certificate" in (out / "students" / "ada.html").read_text()


def test_students_go_by_the_rosters_names_in_commands(out, capsys):
    run("roster", out, out.parent / "roster.csv")
    assert run("override", out, "ada@uni.example", "19", "--why", "an appeal") == 0
    assert gradebook(out)["ada"]["score"] == "19"
    capsys.readouterr()
    assert run("show", out, "Lovelace, Ada") == 0 and "19" in capsys.readouterr().out
    assert run("override", out, "Zoe Zhou", "13", "--why", "an oral exam") == 0
    row = gradebook(out)["zoe"]
    assert row["score"] == "13" and "oral exam" in row["notes"] and row["verdict"] == "MISSING"
    assert {row.student: row.score for row in totals.rows(out)}["zoe"] == 13
    assert run("override", out, "Zoe Zhou", "mix", "3", "--why", "x") == 2


def test_what_canvas_marks_as_late_is_said(tmp_path):
    source, handed_in = small_course.write_course(tmp_path)
    folder = tmp_path / "canvas"
    folder.mkdir()
    (folder / "lovelaceada_LATE_101_555_lab1.py").write_text(small_course.RIGHT)
    grade(folder, tmp_path / "out", str(source), seed="1", progress=False)
    row, = gradebook(tmp_path / "out").values()
    assert row["score"] == "20" and "does not say how late" in row["notes"]


def test_overrides_outlive_regrading_and_can_be_taken_back(out):
    course_folder = out.parent / "again"
    shutil.copytree(out, course_folder)
    run("override", course_folder, "cleo", "mix: a quarter", "8", "--why", "an appeal")
    small_course.write_course(out.parent)
    summary = grade(out.parent / "submitted", course_folder, str(out.parent / "lab1.py"),
                    rerun=("WRONG_VALUE",), progress=False)
    assert summary.reused == 3 and gradebook(course_folder)["cleo"]["score"] == "20"
    run("override", course_folder, "cleo", "mix: a quarter", "-", "--why", "withdrawn")
    assert gradebook(course_folder)["cleo"]["score"] == "12"
    assert [one.why for one in overrides.history(course_folder)] == ["an appeal", "withdrawn"]


@pytest.mark.parametrize("words, said", [
    (("eva", "3"), "no submission of 'eva'"), (("adda", "3"), "did you mean ada"),
    (("ada", "7.7", "3"), "names no cases"), (("ada", "three"), "no number"),
    (("ada", "-3"), "from 0 to 20"), (("ada", "nan"), "from 0 to 20"),
    (("ada", "99"), "from 0 to 20, or say --exceed"), (("ada", "1.2", "9"), "from 0 to 8, or say"),
    (("ada", "1.2", "-"), "no mark by hand for mix, a quarter to take back"),
    (("ada", "1.9", "3"), "did you mean 1.2 (mix: a quarter)?"),
    (("ada", "a quater", "3"), "did you mean 1.2 (mix: a quarter)?")])
def test_an_override_that_makes_no_sense_is_refused(out, capsys, words, said):
    assert run("override", out, "--why", "x", "--", *words) == 2
    assert said in capsys.readouterr().err
    assert not (out / "course" / "overrides.json").exists()


def test_more_than_it_is_worth_is_said_so(out):
    assert run("override", out, "ada", "25", "--why", "a bonus", "--exceed") == 0
    assert gradebook(out)["ada"]["score"] == "25"
    assert run("override", out, "ada", "inf", "--why", "a bonus", "--exceed") == 2


def test_a_mark_below_a_final_one_has_no_effect_and_says_so(out, capsys):
    run("override", out, "ada", "19", "--why", "agreed")
    assert "no effect" not in capsys.readouterr().out
    assert run("override", out, "ada", "1.2", "1", "--why", "an appeal") == 0
    assert "no effect while the mark is set to 19 by hand" in capsys.readouterr().out
    row = gradebook(out)["ada"]
    assert row["score"] == "19" and "appeal" not in row["notes"]
    run("override", out, "ada", "-", "--why", "withdrawn")
    assert "appeal" in gradebook(out)["ada"]["notes"]


def test_a_reason_is_needed(out):
    assert run("override", out, "ada", "3", "--why", " ") == 2


def test_a_damaged_list_of_overrides_stops_and_is_not_written_over(out, capsys):
    run("override", out, "ada", "19", "--why", "first")
    path = out / "course" / "overrides.json"
    path.write_text(path.read_text()[:-20])
    damaged = path.read_bytes()
    assert run("override", out, "ada", "18", "--why", "second") == 2
    assert "overrides.json is damaged" in capsys.readouterr().err
    assert path.read_bytes() == damaged


# ---- one case again, two gradings ----------------------------------------------------------------

def test_show_names_the_mistake_and_the_failing_cases(results, capsys):
    assert run("show", results, "cleo") == 0
    said = capsys.readouterr().out
    assert "It looks like: swapped" in said and "replay" in said and "1.2" in said
    assert run("show", results, "cloe") == 2
    assert "did you mean cleo" in capsys.readouterr().err


@pytest.mark.parametrize("where", ["1.2", "a quarter", "mix: a quarter"])
def test_replay_has_the_bytes_of_the_grading(results, where):
    again = inspecting.replay(results, "cleo", where)
    assert (again.verdict, again.before, again.number) == ("WRONG_VALUE", "WRONG_VALUE", "1.2")
    x1, x2, a = again.case.args
    assert np.array_equal(again.answer.parts[0], a * x2 + (1 - a) * x1)
    record = overrides.find(Store(results).records(), "cleo")
    assert again.message == overrides.numbered(record)["1.2"]["message"]


def test_replay_shows_prints_and_exceptions(results):
    text = inspecting.replay(results, "=dan", "bright").text()
    assert "NameError" in text and "hello" in text and "  x: float64 (12,)" in text


def test_replay_writes_a_notebook_that_runs(results, tmp_path):
    path = tmp_path / "again.ipynb"
    assert run("replay", results, "cleo", "1.2", "--notebook", path) == 0
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    space = {}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            exec(cell.source, space)
    again = inspecting.replay(results, "cleo", "1.2")
    assert np.array_equal(space["answer"], again.answer.parts[0])
    assert np.array_equal(space["expected"][0], again.expected[0])


def test_replay_takes_the_option_before_its_words(results, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("replay", "--notebook", results, "cleo", "1.2") == 0
    assert "the_x1 = np.array([" in (tmp_path / "replay_cleo_1.2.ipynb").read_text()


@pytest.mark.parametrize("value", [
    np.array([[0.1, -0.0], [1e-300, 1 / 3]]), np.float32([0.1, 1 / 3]), np.array([[2, 3]], "i8"),
    np.array([True, False]), np.array(0.1), np.zeros((0, 3)), np.array([np.nan, np.inf]),
    np.linspace(0, 1, 999)])
def test_the_arguments_in_a_replayed_notebook_are_the_same_to_the_byte(value):
    space = {}
    exec(f"{inspecting.DECODER}\nvalue = {inspecting._code(value)}", space)
    again = space["value"]
    assert (again.dtype, again.shape, again.tobytes()) == (value.dtype, value.shape,
                                                           value.tobytes())


def test_replay_of_a_file_that_could_not_be_read(tmp_path, capsys):
    (tmp_path / "class" / "dora").mkdir(parents=True)
    (tmp_path / "class" / "dora" / "conv2d.ipynb").write_text("{")
    grade(tmp_path / "class", tmp_path / "out", "conv2d", seed="1", progress=False)
    assert run("replay", tmp_path / "out", "dora", "1.2") == 2
    said = capsys.readouterr().err
    assert "no case of dora to run again: dora/conv2d.ipynb is UNREADABLE" in said


def test_replay_says_what_it_lacks(out, capsys):
    assert run("replay", out, "cleo", "9.9") == 2
    shutil.rmtree(out / "sources")
    assert run("replay", out, "cleo", "1.2") == 2
    assert "does not hold the file of cleo" in capsys.readouterr().err


def test_diff_says_which_marks_changed_and_why(out, results, capsys):
    assert run("diff", results, out) == 0 and "no mark changed" in capsys.readouterr().out
    run("override", out, "ada", "19", "--why", "an appeal")
    (out.parent / "new").mkdir()
    source, handed_in = small_course.write_course(out.parent / "new")
    (handed_in / "cleo" / "lab1" / "lab1.py").write_text(small_course.RIGHT)
    shutil.rmtree(handed_in / "ben")
    capsys.readouterr()
    assert run("grade", source, handed_in, "-o", out, "--seed", "1") == 0
    capsys.readouterr()
    assert run("diff", results, out) == 1
    said = capsys.readouterr().out.splitlines()
    lines = dict(line.split(": ", 1) for line in said if not line.startswith(" "))
    assert lines["ada"].startswith("18 -> 19: now: the mark set to 19 by hand")
    assert lines["cleo"].startswith("12 -> 20: another file was handed in")
    below = said[next(i for i, line in enumerate(said) if line.startswith("cleo")) + 1]
    assert below == "    mix, a quarter: WRONG_VALUE 0 -> OK 8"
    assert lines["ben"].startswith("only in") and set(lines) == {"ada", "ben", "cleo"}


def test_diff_says_once_that_the_points_changed(out, results, capsys):
    for record in (out / "results").rglob("*.json"):
        if not record.name.endswith(".time.json"):
            text = json.loads(record.read_text())
            for case in text["cases"]:
                case.update(points=case["points"] / 2, earned=case["earned"] / 2)
            text.update(score=text["score"] / 2, points=text["points"] / 2)
            record.write_text(json.dumps(text))
    assert run("diff", results, out) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and all("points changed: 3 of 3 cases, 20 -> 10 in all" in line
                                   for line in lines)


def test_two_files_of_one_student_the_better_counts(tmp_path):
    source, handed_in = small_course.write_course(tmp_path)
    (handed_in / "cleo" / "lab1" / "second.py").write_text(small_course.RIGHT)
    out = tmp_path / "out"
    grade(handed_in, out, str(source), seed="1", progress=False)
    rows = {row.student: row for row in totals.rows(out)}
    assert rows["cleo"].score == 20 and len(rows["cleo"].records) == 1
    assert rows["ada"].points == 20


def test_of_nbgraders_course_only_the_assignment_is_graded(tmp_path):
    folder = tmp_path / "course"
    folder.mkdir()
    source, handed_in = small_course.write_course(folder)
    other = handed_in / "ada" / "lab2"
    other.mkdir()
    (other / "lab2.py").write_text("x = 1")
    (handed_in / "eve" / "lab2").mkdir(parents=True)
    (handed_in / "eve" / "lab2" / "lab2.py").write_text("x = 1")
    grade(folder, tmp_path / "out", str(source), seed="1", progress=False)
    rows = gradebook(tmp_path / "out")
    assert set(rows) == {"ada", "ben", "cleo", "'=dan"} and rows["ada"]["score"] == "18"


def test_of_two_versions_one_counts_everywhere(tmp_path, capsys):
    source, _ = small_course.write_course(tmp_path)
    folder = hand_in(tmp_path / "in", {"tina/lab1.py": small_course.RIGHT, "tina/a/v0.py": "x = 1",
                                       "tina/b/lab1.py": small_course.RIGHT})
    assert run("grade", source, folder, "-o", tmp_path / "out") == 0
    run("override", tmp_path / "out", "tina", "17", "--why", "an oral exam")
    with open(tmp_path / "out" / "gradebook.csv", encoding="utf-8") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    assert {name: (row["score"], row["points"]) for name, row in rows.items()} == {
        "tina/lab1.py": ("17", "20"), "tina/a/v0.py": ("", ""), "tina/b/lab1.py": ("", "")}
    assert rows["tina/a/v0.py"]["notes"] == "not counted: tina/lab1.py counts"
    capsys.readouterr()
    assert run("show", tmp_path / "out", "tina") == 0
    shown = capsys.readouterr().out
    assert shown.count("not counted: tina/lab1.py counts") == 2 and "counts: 17" in shown
    assert "not graded" not in shown
    page = (tmp_path / "out" / "students" / "tina.html").read_text()
    assert "17 <small>of 20 points" in page and page.count("not counted: tina/lab1.py") == 2
    assert "not graded" not in page
    assert [row.score for row in totals.rows(tmp_path / "out")] == [17]


def test_a_damaged_record_is_neither_a_zero_nor_nothing_handed_in(out, capsys):
    run("roster", out, out.parent / "roster.csv")
    record, = (path for path in (out / "results" / "ada").glob("*.json")
               if "time" not in path.name)
    record.write_text('{"student": "ada"')
    capsys.readouterr()
    assert run("report", out) == 1
    said = capsys.readouterr()
    assert "ada: the record" in said.err and "Ada" not in said.out.split("without a")[1]
    row = gradebook(out)["ada"]
    assert (row["verdict"], row["score"], row["points"]) == ("NOT_GRADED", "", "20")
    ada, = (row for row in totals.rows(out) if row.student == "ada")
    assert ada.score is None and ada.records
    exported = out.parent / "canvas.csv"
    exported.write_text("Student,ID,SIS Login ID,Section,Lab 1 (77)\nx,1,ada,A,\ny,2,cleo,A,\n")
    assert run("export", out, "--canvas", exported, "--zeros") == 0
    lines = (out.parent / "canvas-filled.csv").read_text().splitlines()
    assert lines[1] == "x,1,ada,A," and lines[2] != "y,2,cleo,A,"
    assert "1 not graded, left as they were" in "".join(capsys.readouterr())


def test_pages_of_another_class_go_and_other_files_stay(out, tmp_path):
    (tmp_path / "new").mkdir()
    source, _ = small_course.write_course(tmp_path / "new")
    (out / "students" / "own.html").write_text("<title>my own</title>")
    folder = hand_in(tmp_path / "in", {"zoe/lab1.py": small_course.RIGHT})
    assert run("grade", source, folder, "-o", out) == 0
    assert {path.name for path in (out / "students").iterdir()} == {"zoe.html", "own.html"}
    assert set(gradebook(out)) == {"zoe"}


def hand_in(folder, files):
    """Write a folder of submissions: path -> text."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_one_students_folder_of_the_assignments_name_is_no_course(tmp_path, capsys):
    source, _ = small_course.write_course(tmp_path)
    folder = hand_in(tmp_path / "in", dict.fromkeys(
        ["ada.py", "ben.py", "cat/lab1/lab1.py", "dora.PY"], small_course.RIGHT))
    with zipfile.ZipFile(folder / "kim.ZIP", "w") as archive:
        archive.writestr("lab1/lab1.py", small_course.RIGHT)
    (folder / "eli.txt").write_text("x = 1")
    (folder / "hal.tar.gz").write_bytes(b"x")
    assert run("grade", source, folder, "-o", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "not understood   eli.txt · hal.tar.gz\n" in said and "left out" not in said
    scores = {name: row["score"] for name, row in gradebook(tmp_path / "out").items()}
    assert scores == dict.fromkeys(["ada", "ben", "cat", "dora", "kim"], "20")


def test_in_a_course_only_other_assignments_are_left_out_and_that_is_said(tmp_path):
    def found(*files, folder="in"):
        home = hand_in(tmp_path / folder, dict.fromkeys(files, "x = 1"))
        return selection.of_assignment(submissions.find(home), "lab1", home)

    many = [f"s{i}/lab1/a.py" for i in range(12)]
    kept, others = found(*many, "s1/lab2/b.py", "eve/lab2/b.py", "late.py")
    assert [one.file for one in kept] == sorted(["late.py", *many])
    assert selection.left_out(kept, others) == [
        "2 of other assignments (lab2); nothing else is there of eve"]
    kept, others = found("ada/lab1/a.py", "ben/src/a.py", "cleo/code/a.py", folder="own")
    assert len(kept) == 3 and not others and selection.left_out(kept, others) == []
    kept, others = found("submitted/ada/lab1/a.py", "submitted/ben/lab2/a.py", folder="nbgrader")
    assert [one.student for one in kept] == ["ada"] and len(others) == 1


def test_what_the_grader_may_not_read_is_no_zero(tmp_path, monkeypatch):
    source, handed_in = small_course.write_course(tmp_path)
    opened = submissions.os.open

    def closed(path, *more):
        if str(path).startswith(str(handed_in / "cleo")):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *more)

    monkeypatch.setattr(submissions.os, "open", closed)
    assert run("grade", source, handed_in, "-o", tmp_path / "out") == 1
    row = gradebook(tmp_path / "out")["cleo"]
    assert (row["verdict"], row["score"]) == ("GRADER_ERROR", "")
    monkeypatch.undo()
    assert run("grade", source, handed_in, "-o", tmp_path / "out") == 0
    assert gradebook(tmp_path / "out")["cleo"]["score"] != ""


def test_commands_name_a_folder_that_is_none(tmp_path, capsys):
    for words in (("show", tmp_path, "ada"), ("replay", tmp_path, "ada", "1.1"),
                  ("diff", tmp_path, tmp_path), ("roster", tmp_path), ("export", tmp_path, "--csv"),
                  ("override", tmp_path, "ada", "3", "--why", "x")):
        assert run(*words) == 2
        assert "holds no results" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["new", "build", "show", "replay", "diff", "roster", "override",
                                  "export"])
def test_every_command_has_help(name, capsys):
    with pytest.raises(SystemExit) as ended:
        run(name, "--help")
    assert ended.value.code == 0 and f"tinyvision {name}" in capsys.readouterr().out
