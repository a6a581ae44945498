"""Marks in other systems' formats: their own files come back with one column changed."""
import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import small_course
from tinyvision import cli
from tinyvision.grading import fingerprints, grade, similarity, totals
from tinyvision.grading.exports import canvas, moodle
from tinyvision.grading.exports.table import Table, number, parsed
from tinyvision.grading.store import Store


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    out = small_course.graded(tmp_path_factory.mktemp("course"))
    (out.parent / "roster.csv").write_text(small_course.ROSTER, encoding="utf-8")
    assert cli.main(["roster", str(out), str(out.parent / "roster.csv")]) == 0
    return out


def export(results, *words):
    return cli.main(["export", str(results), *map(str, words)])


def cells(data, delimiter=",", encoding="utf-8-sig"):
    return list(csv.reader(io.StringIO(data.decode(encoding), newline=""), delimiter=delimiter))


def changed(before, after, delimiter=",", encoding="utf-8-sig"):
    """(row, column) -> (old, new), after checking that nothing but those cells' bytes differ."""
    old, new = cells(before, delimiter, encoding), cells(after, delimiter, encoding)
    assert [len(row) for row in old] == [len(row) for row in new]
    found = {(i, j): (a, b) for i, (r, s) in enumerate(zip(old, new))
             for j, (a, b) in enumerate(zip(r, s)) if a != b}
    back = Table(after, "back")
    for (i, j), (was, _) in found.items():
        back.set(i, j, was)
    unquoted = [data.decode(encoding).replace('"', "") for data in (before, back.data())]
    assert unquoted[0] == unquoted[1]
    return found


# ---- one cell changes, every other byte stays ----------------------------------------------------

TEXT = st.text(st.sampled_from(list('abÄ0,;.\t"\n \'=')), max_size=6)


@settings(max_examples=200, deadline=None)
@given(rows=st.lists(st.lists(TEXT, min_size=3, max_size=3), min_size=1, max_size=5),
       delimiter=st.sampled_from(",;\t"), end=st.sampled_from(["\n", "\r\n"]),
       quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]), last=st.booleans(),
       value=st.sampled_from(["7", "7.5", "7,5", 'a"b', ""]), data=st.data(),
       mark=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
@example([["", "", ""]], ",", "\r\n", csv.QUOTE_ALL, False, "1", None, "utf-8")
def test_setting_a_cell_changes_that_cell_only(rows, delimiter, end, quoting, last, value, data,
                                               mark):
    rows = [["first", "second", "third"], *rows]
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=delimiter, lineterminator=end, quoting=quoting).writerows(rows)
    text = stream.getvalue() if last else stream.getvalue()[:-len(end)]
    before = text.encode(mark)
    table = Table(before, "some.csv")
    assert [[cell.value for cell in row] for row in table.rows] == rows
    assert table.data() == before
    row, column = (1, 2) if data is None else (data.draw(st.integers(0, len(rows) - 1)),
                                               data.draw(st.integers(0, 2)))
    cell = table.rows[row][column]
    head, tail = table.text[:cell.start], table.text[cell.stop:]
    table.set(row, column, value)
    after = Table(table.data(), "after")
    assert after.text.startswith(head) and after.text.endswith(tail)
    rows[row][column] = value
    assert [[cell.value for cell in row] for row in after.rows] == rows


def test_a_quote_that_never_closes_is_named_with_its_line():
    with pytest.raises(ValueError, match="x.csv line 2: a quote that is never closed"):
        Table(b'a,b\n1,"2\n3,4\n', "x.csv")
    with pytest.raises(ValueError, match="is empty"):
        Table(b"", "x.csv")


def test_windows_latin_survives():
    before = "Name;Note\nJörg;\n".encode("cp1252")
    table = Table(before, "x.csv")
    table.set(1, 1, "7")
    assert table.data() == "Name;Note\nJörg;7\n".encode("cp1252")


@pytest.mark.parametrize("value, comma, text", [(7, False, "7"), (7.5, False, "7.5"),
                                                (7.5, True, "7,5"), (1 / 3, False, "0.33"),
                                                (100, True, "100"), (0, False, "0")])
def test_numbers_as_the_file_writes_them(value, comma, text):
    assert number(value, comma) == text
    assert parsed(text) == pytest.approx(value, abs=0.005)


def test_numbers_with_thousands():
    assert parsed("1.234,5") == 1234.5 and parsed("EX") is None and parsed("") is None


# ---- Canvas --------------------------------------------------------------------------------------

CANVAS = ('Student,ID,SIS User ID,SIS Login ID,Section,HW2 (11),HW3 (98765),Final Score\r\n'
          ',,,,,Muted,,\r\n'
          '    Points Possible,,,,,10.00,20.00,(read only)\r\n'
          '"Lovelace, Ada",101,x1,ada,"Group ""A"", one",9.00,,88.1\r\n'
          '"Bär, Ben",102,x2,ben@uni.example,A,7.50,3.00,12\r\n'
          '"of Egypt, Cleo",103,cleo,c,A,EX,-,\r\n'
          '"Zhou, Zoe",104,zoe,z,A,,5.00,\r\n'
          '"Student, Test",105,,5d7,A,,,\r\n').encode()


@pytest.fixture
def exported(tmp_path):
    path = tmp_path / "canvas.csv"
    path.write_bytes(CANVAS)
    return path


def test_canvas_gets_its_own_file_back_with_one_column_changed(results, exported, capsys):
    assert export(results, "--canvas", exported, "--column", "HW3 (98765)") == 0
    after = exported.with_name("canvas-filled.csv").read_bytes()
    assert changed(CANVAS, after) == {(3, 6): ("", "18"), (4, 6): ("3.00", "20"),
                                      (5, 6): ("-", "12")}
    assert exported.read_bytes() == CANVAS
    said = capsys.readouterr().out
    assert "3 marks in column 'HW3 (98765)'" in said
    assert "without a submission here, left as they were: Student, Test" in said
    assert "nothing was handed in, left as they were: Zhou, Zoe" in said
    assert "submissions of nobody in the file: =dan" in said


def test_who_is_excused_in_canvas_stays_so(results, exported, capsys):
    excused = CANVAS.replace(b'one",9.00,,88.1', b'one",9.00,EX,88.1')
    exported.write_bytes(excused)
    assert export(results, "--canvas", exported, "--column", "98765") == 0
    after = exported.with_name("canvas-filled.csv").read_bytes()
    assert (3, 6) not in changed(excused, after) and (5, 6) in changed(excused, after)
    assert "1 excused, left as they were: Lovelace, Ada" in capsys.readouterr().out


def test_a_blank_row_before_canvas_students_is_no_matter(results, exported):
    lines = CANVAS.split(b"\r\n")
    blank = b"\r\n".join([lines[0], b"", *lines[3:]])
    exported.write_bytes(blank)
    assert export(results, "--canvas", exported, "--column", "98765") == 0
    assert (2, 6) in changed(blank, exported.with_name("canvas-filled.csv").read_bytes())


def test_zeros_of_what_could_not_be_read_are_listed(tmp_path, exported):
    source, handed_in = small_course.write_course(tmp_path)
    (handed_in / "ada" / "lab1" / "lab1.py").unlink()
    (handed_in / "ada" / "lab1" / "lab1.py").symlink_to(source)
    (handed_in / "cleo" / "lab1" / "lab1.py").unlink()
    (handed_in / "cleo" / "lab1" / "lab1.docx").write_bytes(b"PK")
    filled = canvas.fill(exported, small_course.graded(tmp_path), "98765")
    assert changed(CANVAS, filled.data)[3, 6] == ("", "0")
    assert "1 not readable, exported as 0: Lovelace, Ada" in filled.notes
    assert [note for note in filled.notes if "of Egypt" in note] == [
        "1 without a file of the exercise, exported as 0: of Egypt, Cleo"]


def test_canvas_zeros_only_when_asked_for(results, exported):
    assert export(results, "--canvas", exported, "--column", "98765", "--zeros", "-o",
                  exported.with_name("z.csv")) == 0
    assert changed(CANVAS, exported.with_name("z.csv").read_bytes())[6, 6] == ("5.00", "0")


@pytest.mark.parametrize("text, column, words", [
    (CANVAS.decode(), None, "say --column with one of 'HW2 .11.', 'HW3 .98765.'"),
    (CANVAS.decode(), "HW9", "no columns are for 'HW9', and one is to be filled"),
    (CANVAS.decode().replace("HW2 (11)", "HW3 (11)"), "HW3", "2 columns are for 'HW3', and one is to be filled"),
    (CANVAS.decode().replace("10.00,20.00", "10.00,(read only)"), "98765", "read only"),
    (CANVAS.decode().replace("HW3 (9", "Final Score HW3 (9"), "98765", "Canvas ignores"),
    (CANVAS.decode().replace('"Lovelace, Ada"', '"Lovelace, Ada'), "98765", "line 4: a quote"),
    (CANVAS.decode().replace("HW2 (11),HW3 (98765)", "HW2,HW3"), "HW3", "no gradebook that Canvas"),
    ("", "98765", "is empty")])
def test_a_canvas_file_that_does_not_fit_is_named(results, exported, text, column, words):
    exported.write_text(text, newline="")
    with pytest.raises(ValueError, match=words):
        canvas.fill(exported, results, column)
    assert cli.main(["export", str(results), "--canvas", str(exported), "--column",
                     column or ""]) == 2
    assert not exported.with_name("canvas-filled.csv").exists()


def test_canvas_in_another_language_and_with_commas(results, exported):
    text = ('Studierende/r;ID;SIS-Benutzer-ID;SIS-Login-ID;Abschnitt;Übung 3 (98765)\n'
            '    Mögliche Punkte;;;;;20,0\n"Lovelace, Ada";101;;ada;A;\n"Bär, Ben";102;;ben;A;7,5\n')
    exported.write_text("\ufeff" + text, encoding="utf-8", newline="")
    filled = canvas.fill(exported, results, None)
    assert filled.data.startswith(b"\xef\xbb\xbf")
    assert changed(exported.read_bytes(), filled.data, ";") == {(2, 5): ("", "18"),
                                                                (3, 5): ("7,5", "20")}


def test_canvas_says_when_the_points_differ(results, exported):
    exported.write_bytes(CANVAS.replace(b"10.00,20.00", b"10.00,40.00"))
    assert "Canvas has 40 points for it, the assignment 20" in "\n".join(
        canvas.fill(exported, results, "98765").notes)


def test_who_is_named_like_two_students_gets_nothing(results, exported):
    exported.write_bytes(CANVAS.replace(b'"Lovelace, Ada",101', b'"Cleo, of Egypt",101').replace(
        b'"Zhou, Zoe",104,zoe', b'"Zhou, Zoe",104,cleo'))
    filled = canvas.fill(exported, results, "98765")
    assert "two different students" in " ".join(filled.notes)
    assert set(changed(exported.read_bytes(), filled.data)) == {(4, 6), (5, 6)}


def test_numbers_of_canvas_and_moodle_in_file_names(tmp_path):
    source, handed_in = small_course.write_course(tmp_path)
    shutil.rmtree(handed_in)
    handed_in.mkdir()
    (handed_in / "lovelaceada_101_555_lab1.py").write_text(small_course.RIGHT)
    home = handed_in / "Ben Bär_777_assignsubmission_file_"
    home.mkdir()
    (home / "lab1.py").write_text(small_course.SWAPPED)
    out = tmp_path / "out"
    grade(handed_in, out, str(source), seed="1", progress=False)
    exported = tmp_path / "c.csv"
    exported.write_bytes(CANVAS)
    assert changed(CANVAS, canvas.fill(exported, out, "98765").data)[3, 6] == ("", "20")
    exported.write_bytes(MOODLE.replace("Teilnehmer/in124", "Teilnehmer/in777").replace(
        "Ben Bär", "B. B.").encode("utf-8-sig"))
    assert moodle.fill(exported, out).count == 1


# ---- Moodle --------------------------------------------------------------------------------------

MOODLE = ('ID;"Vollständiger Name";"E-Mail-Adresse";Status;Bewertung;"Beste Bewertung";'
          '"Bewertung kann geändert werden";"Zuletzt geändert (Bewertung)";Feedback\n'
          'Teilnehmer/in123;"Ada Lovelace";ada@uni.example;"Abgegeben";"";"100,00";Ja;-;""\n'
          'Teilnehmer/in124;"Ben Bär";ben@uni.example;x;;"100,00";Ja;-;"zwei\nZeilen; und ""mehr"""\n'
          'Teilnehmer/in125;"Cleo";CLEO@uni.example;x;"33,00";"100,00";Nein;-;\n'
          'Teilnehmer/in126;"Wer";wer@uni.example;x;"33,00";"100,00";Ja;-;\n')


def test_moodle_gets_its_own_file_back_in_its_own_language(results, tmp_path):
    exported = tmp_path / "w.csv"
    exported.write_bytes(MOODLE.encode("utf-8-sig"))
    filled = moodle.fill(exported, results)
    assert changed(exported.read_bytes(), filled.data, ";") == {(1, 4): ("", "90"),
                                                                (2, 4): ("", "100")}
    said = " ".join(filled.notes)
    assert "scaled to Moodle's 100" in said and "locked, left as they were: Cleo" in said
    assert "1 in the file, without a submission here, left as they were: Wer" in said


def test_moodles_locked_student_with_a_submission_is_listed_once(results, tmp_path):
    exported = tmp_path / "w.csv"
    exported.write_bytes(MOODLE.encode("utf-8-sig"))
    notes = moodle.fill(exported, results).notes
    assert [note for note in notes if "cleo" in note.casefold()] == [
        "1 that Moodle has locked, left as they were: Cleo"]
    assert "1 submissions of nobody in the file: =dan" in notes


def test_moodles_online_text_is_of_the_student_whose_files_are_there(tmp_path):
    source, handed_in = small_course.write_course(tmp_path)
    shutil.rmtree(handed_in)
    for name in ("Ben Bär_777_assignsubmission_file_", "Ben Bär_777_assignsubmission_onlinetext_",
                 "Cleo_778_assignsubmission_onlinetext_"):
        (handed_in / name).mkdir(parents=True)
        (handed_in / name / "onlinetext.html").write_text("<p>see my file</p>")
    (handed_in / "Ben Bär_777_assignsubmission_file_" / "lab1.py").write_text(small_course.RIGHT)
    out = tmp_path / "out"
    summary = grade(handed_in, out, str(source), seed="1", progress=False)
    found = {row.student: (row.verdict, row.score) for row in totals.rows(out)}
    assert found == {"Ben Bär": ("OK", 20), "Cleo": ("MISSING", 0)}
    assert len(summary.records) == 2
    exported = tmp_path / "w.csv"
    exported.write_bytes(MOODLE.encode("utf-8-sig"))
    notes = moodle.fill(exported, out).notes
    assert "1 that Moodle has locked, left as they were: Cleo" in notes


def test_moodle_in_english(results, tmp_path):
    exported = tmp_path / "w.csv"
    exported.write_text(
        "Identifier,Full name,Email address,Status,Grade,Maximum Grade,Grade can be changed,"
        "Last modified (grade),Feedback comments\r\n"
        "Participant 1,Cleo,cleo@uni.example,Submitted,,20.00,Yes,-,\r\n", newline="")
    assert b"Submitted,12,20.00," in moodle.fill(exported, results).data


@pytest.mark.parametrize("header, column, words", [
    ("Identifier,Marks\nParticipant 1,\n", None, "which column holds the grade"),
    ("Identifier,Marks\nParticipant 1,\n", "Points", "one of 'Identifier', 'Marks'"),
    ("Identifier,Grade,Grade\nParticipant 1,,\n", None, "which column"),
    ("Identifier,Email,Grade,Maximum Grade,x\nParticipant 1,ada@uni.example,,0.5\n", None, None)])
def test_a_worksheet_that_does_not_fit_is_named(results, tmp_path, header, column, words):
    exported = tmp_path / "w.csv"
    exported.write_text(header)
    if words is None:
        assert b",0.45,0.5" in moodle.fill(exported, results).data
        return
    with pytest.raises(ValueError, match=words):
        moodle.fill(exported, results, column)


def test_a_file_of_the_other_system_is_refused(results, exported, tmp_path):
    worksheet = tmp_path / "w.csv"
    worksheet.write_bytes(MOODLE.encode())
    for kind, file, column in (("--canvas", worksheet, "Bewertung"),
                               ("--moodle", exported, "HW3 (98765)")):
        assert export(results, kind, file, "--column", column) == 2
        assert not list(tmp_path.glob("*-filled.csv"))
    with pytest.raises(ValueError, match="give it with --canvas"):
        moodle.fill(exported, results, "HW3 (98765)")


def test_moodles_scales_are_refused_and_a_missing_maximum_is_said(results, tmp_path):
    exported = tmp_path / "w.csv"
    text = ("Identifier,Full name,Email address,Grade,Scale,Grade can be changed\n"
            'Participant 1,Cleo,cleo@uni.example,,"Not yet, Passed, Excellent",Yes\n')
    exported.write_text(text)
    with pytest.raises(ValueError, match="with the scale 'Not yet, Passed, Excellent'"):
        moodle.fill(exported, results)
    exported.write_text(text.replace(',Scale', '').replace(',"Not yet, Passed, Excellent"', ""))
    assert "no maximum grade stands" in moodle.fill(exported, results).notes[0]


def test_names_with_commas_are_told_apart(results, exported):
    exported.write_bytes(CANVAS + b'"O\'Neil, Pat",106,,pat,A,,,\r\n')
    notes = canvas.fill(exported, results, "98765").notes
    assert "2 in the file, without a submission here, left as they were: " \
           "Student, Test; O'Neil, Pat" in notes


def test_above_moodles_maximum_is_refused(results, tmp_path):
    out = Path(shutil.copytree(results, tmp_path / "out"))
    assert cli.main(["override", str(out), "ada", "25", "--why", "a bonus", "--exceed"]) == 0
    exported = tmp_path / "w.csv"
    exported.write_bytes(MOODLE.encode())
    with pytest.raises(ValueError, match="ada would get more than Moodle's maximum"):
        moodle.fill(exported, out)
    exported.write_bytes(MOODLE.replace('"";"100,00";Ja', '"";"100,00";Nein').encode())
    filled = moodle.fill(exported, out)                 # ada's row is not written any more
    assert changed(exported.read_bytes(), filled.data, ";") == {(2, 4): ("", "100")}
    assert "2 that Moodle has locked, left as they were: Ada Lovelace; Cleo" in filled.notes


# ---- Gradescope's groups -------------------------------------------------------------------------

def test_everybody_of_gradescopes_group_has_the_mark(tmp_path, exported):
    source, handed_in = small_course.write_course(tmp_path)
    shutil.rmtree(handed_in)
    for number, text in (("11", small_course.RIGHT), ("12", small_course.SWAPPED)):
        (handed_in / f"submission_{number}").mkdir(parents=True)
        (handed_in / f"submission_{number}" / "lab1.py").write_text(text)
    (handed_in / "submission_metadata.yml").write_text(
        "---\nsubmission_11:\n  :submitters:\n  - :name: Ada Lovelace\n    :sid: '101'\n"
        "    :email: ada@uni.example\n  - :name: Ben\n    :sid: \n    :email: ben@uni.example\n"
        "  :created_at: 2026-12-01 10:00:00 Z\n  :results:\n    :tests:\n    - :name: half and half"
        "\n  :history:\n  - :id: 3\n    :submitters:\n    - :name: Nobody\n"
        "submission_12:\n  :submitters:\n  - :name: Cleo\n  :created_at: 2026-12-01 10:00:00 Z\n")
    out = tmp_path / "out"
    grade(handed_in, out, str(source), seed="1", progress=False)
    assert {row.student: row.score for row in totals.rows(out)} == {
        "101": 20, "ben@uni.example": 20, "Cleo": 12}
    filled = canvas.fill(exported, out, "98765")
    assert changed(CANVAS, filled.data) == {(3, 6): ("", "20"), (4, 6): ("3.00", "20"),
                                              (5, 6): ("-", "12")}


def test_one_file_of_a_group_is_not_copied_from_itself():
    text = fingerprints.prepare(Path(fingerprints.__file__).read_text())

    def alike(*files):
        members = [similarity.Member(str(i), file, text, file) for i, file in enumerate(files)]
        return [[one.home for one in group.members]
                for group in similarity.in_class("lab1", members, {})]
    assert alike("submission_1/a.py", "submission_1/a.py") == []
    assert alike("submission_1/a.py", "submission_2/a.py") == [["0", "1"]]
    assert alike("submission_1/a.py", "submission_2/a.py", "submission_2/a.py") == [["0", "1"]]


# ---- the others ----------------------------------------------------------------------------------

def rows(text):
    return list(csv.reader(io.StringIO(text)))


def test_csv_has_a_row_per_student_and_no_formulas(results, tmp_path):
    assert export(results, "--csv", "-o", tmp_path / "all.csv") == 0
    found = {row[0]: row for row in rows((tmp_path / "all.csv").read_text())}
    assert found["ada"][1:6] == ["Ada Lovelace", "ada@uni.example", "18", "20", "OK"]
    assert found["'=dan"][3] == "12" and found["zoe"][3:6] == ["", "20", "MISSING"]
    assert not [cell for row in found.values() for cell in row if cell[:1] in "=+-@\t" and cell]


def test_nbgraders_grades_and_folders(results, tmp_path):
    assert export(results, "--nbgrader", "-o", tmp_path) == 0
    text = (tmp_path / "grades.csv").read_text()
    assert text.splitlines()[0] == ("assignment,duedate,timestamp,student_id,last_name,first_name,"
                                    "email,raw_score,late_submission_penalty,score,max_score")
    found = {row["student_id"]: row for row in csv.DictReader(io.StringIO(text))}
    assert list(found["ada"].values()) == [
        "lab1", "2026-12-01 11:00:00", "2026-12-02 10:30:00.000000", "ada", "Lovelace", "Ada",
        "ada@uni.example", "20", "2", "18", "20"]
    assert found["cleo"]["last_name"] == "Cleo" and found["zoe"]["timestamp"] == ""
    assert (found["zoe"]["score"], found["zoe"]["max_score"]) == ("0", "20")
    for row in found.values():
        assert float(row["score"]) == max(0, float(row["raw_score"])
                                          - float(row["late_submission_penalty"]))
    assert "swapped" in (tmp_path / "feedback/cleo/lab1/lab1.html").read_text()


def test_nbgraders_layout_out_and_in_again(results, tmp_path):
    assert export(results, "--nbgrader", "-o", tmp_path / "nb") == 0
    again = tmp_path / "again"
    grade(tmp_path / "nb", again, str(results.parent / "lab1.py"), seed="1", progress=False)
    scores = [{row[0]: row[4] for row in rows((out / "gradebook.csv").read_text())}
              for out in (results, again)]
    del scores[0]["zoe"]
    assert scores[1].pop("%3Ddan") == scores[0].pop("'=dan")
    assert {**scores[1], "ben": "20"} == scores[0]          # the extension stands in the roster


def test_otters_final_grades(results, tmp_path):
    assert export(results, "--otter", "-o", tmp_path / "f.csv") == 0
    found = rows((tmp_path / "f.csv").read_text())
    assert found[0] == ["file", "bright", "mix", "total_points_earned", "percent_correct",
                        "grading_status"]
    assert found[1] == ["points-per-question", "8", "12", "20", "1", "--"]
    assert ["cleo/lab1/lab1.py", "8", "4", "12", "0.6", "Completed"] in found
    assert [row[0] for row in found[2:]] == sorted(row[0] for row in found[2:])


def results_problems(made):
    """What is wrong with a Gradescope results.json: its published shape, key by key."""
    formats = {"text", "html", "simple_format", "md", "ansi"}
    seen = {"hidden", "after_due_date", "after_published", "visible"}
    numeric, text = (int, float), str
    top = {"score": numeric, "execution_time": numeric, "output": text, "output_format": formats,
           "test_output_format": formats, "test_name_format": formats, "visibility": seen,
           "stdout_visibility": seen, "extra_data": dict, "tests": list, "leaderboard": list}
    test = {"score": numeric, "max_score": numeric, "status": {"passed", "failed"}, "name": text,
            "name_format": formats, "number": text, "output": text, "output_format": formats,
            "tags": list, "visibility": seen, "extra_data": dict}
    problems = []
    for about, shape, where in [(made, top, "top"), *((one, test, f"test {i}") for i, one in
                                                      enumerate(made.get("tests", [])))]:
        for key, value in about.items():
            kind = shape.get(key)
            right = (value in kind if isinstance(kind, set) else kind is not None
                     and isinstance(value, kind) and not isinstance(value, bool))
            problems += [] if right else [f"{where}: {key} = {value!r}"]
    if "score" not in made and not any("score" in one for one in made.get("tests", [])):
        problems.append("neither score nor tests' scores")
    return problems


def test_results_problems_sees_problems():
    assert results_problems({"output": 3, "visibility": "secret", "tests": [{"status": "ok"}]}) == [
        "top: output = 3", "top: visibility = 'secret'", "test 0: status = 'ok'",
        "neither score nor tests' scores"]


def test_gradescopes_results(results, tmp_path):
    assert export(results, "--gradescope", "-o", tmp_path) == 0
    made = {path.parent.name: json.loads(path.read_text())
            for path in tmp_path.glob("*/results.json")}
    assert set(made) == {"ada", "ben", "cleo", "%3Ddan"}
    assert [results_problems(one) for one in made.values()] == [[]] * 4
    assert made["ada"]["score"] == 18 and "23.5 hours late" in made["ada"]["output"]
    cleo = made["cleo"]
    assert "it looks like: swapped" in cleo["output"]
    assert [test["number"] for test in cleo["tests"]] == ["1.1", "1.2", "2.1"]
    assert sum(test["max_score"] for test in cleo["tests"]) == 20
    assert [test["status"] for test in cleo["tests"]] == ["passed", "failed", "passed"]


def test_prairielearn_and_check50(results, tmp_path):
    assert export(results, "--prairielearn", "-o", tmp_path / "p") == 0
    made = json.loads((tmp_path / "p/cleo/results.json").read_text())
    assert made["gradable"] is True and made["score"] == 0.6
    assert all({"name", "points", "max_points"} <= set(test) for test in made["tests"])
    assert export(results, "--check50", "-o", tmp_path / "c") == 0
    made = json.loads((tmp_path / "c/cleo/results.json").read_text())
    assert [check["passed"] for check in made["results"]] == [True, False, True]
    assert len({check["name"] for check in made["results"]}) == 3
    assert "wrong" in made["results"][1]["cause"]["rationale"]


def test_sources_for_moss_and_jplag(results, tmp_path):
    assert export(results, "--sources", "-o", tmp_path) == 0
    assert (tmp_path / "cleo" / "lab1.py").read_text() == small_course.SWAPPED
    stub = (tmp_path / "_stub" / "lab1.py").read_text()
    assert "raise NotImplementedError" in stub and "EXERCISE" not in stub
    assert re.search(r"def bright\(", stub)


def test_what_the_grader_failed_on_is_no_zero_anywhere(results, tmp_path):
    out = Path(shutil.copytree(results, tmp_path / "out"))
    store = Store(out)
    entry = next(one for one in store.entries() if one.student == "ada")
    fault = entry.record | {"score": None, "verdict": "GRADER_ERROR", "cases": [],
                            "message": "a disk failed"}
    store.save(entry.student, entry.key, fault, {})
    exported = tmp_path / "canvas.csv"
    exported.write_bytes(CANVAS)
    filled = canvas.fill(exported, out, "98765", zeros=True)
    assert (3, 6) not in changed(CANVAS, filled.data)
    assert "1 not graded, left as they were: Lovelace, Ada" in filled.notes
    export(out, "--csv", "-o", tmp_path / "all.csv")
    export(out, "--gradescope", "-o", tmp_path / "g")
    export(out, "--nbgrader", "-o", tmp_path / "nb")
    found = {row[0]: row for row in rows((tmp_path / "all.csv").read_text())}
    assert found["ada"][3] == "" and not (tmp_path / "g" / "ada").exists()
    found = {row[3]: row for row in rows((tmp_path / "nb" / "grades.csv").read_text())}
    assert found["ada"][7:10] == ["", "", ""]


@pytest.mark.skipif(os.name != "posix", reason="needs a limit on the size of files")
def test_a_full_disk_loses_nothing(results, exported):
    """A limit on files' sizes ends writing half-way, as a full disk does."""
    target = exported.with_name("filled.csv")
    target.write_bytes(b"what was there")
    code = ("import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); "
            "from tinyvision import cli; sys.exit(cli.main(sys.argv[1:]))")
    done = subprocess.run([sys.executable, "-c", code, "export", results, "--canvas", exported,
                           "--column", "98765", "-o", target], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "filled.csv could not be written" in done.stderr and "make room" in done.stderr
    assert target.read_bytes() == b"what was there"
    assert {path.name for path in exported.parent.iterdir()} == {"canvas.csv", "filled.csv"}


def test_the_exported_file_itself_is_never_written(results, exported):
    assert export(results, "--canvas", exported, "--column", "98765", "-o", exported) == 2
    assert exported.read_bytes() == CANVAS


def test_hidden_numbers_stay_hidden_where_work_may_be_handed_in_again():
    case = {"function": "f", "name": "stride 2", "points": 1, "earned": 0, "verdict": "WRONG_VALUE",
            "message": "yours 7, expected 0.2024", "printed": "x = 0.4967"}
    raised = case | {"verdict": "EXCEPTION", "message": "ValueError: [[0.4967]]",
                     "frames": ["f.py:3 in f: raise ValueError(x)"]}
    kept = case | {"verdict": "TIMEOUT", "message": "did not finish in 2 s"}
    record = {"cases": [case, raised, kept]}
    from tinyvision.grading.exports import gradescope
    texts = [test["output"] for test in gradescope.tests(record, numbers=False)]
    assert texts[0] == "wrong value" and texts[2] == "timeout: did not finish in 2 s"
    assert texts[1] == "exception: ValueError\nf.py:3 in f: raise ValueError(x)"
    assert "0.2024" in gradescope.tests(record)[0]["output"]
