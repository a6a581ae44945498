"""Words about scenes, judged by a reader of their own: every sentence is taken apart again and
compared with what the pixels show."""
import re
from dataclasses import replace

import numpy as np
import pytest

from tinyvision.data import CLASSES, LEVELS, shapes
from tinyvision.data.outlines import OUTLINES
from tinyvision.data.shapes import Scene
from tinyvision.data.shapes_colours import COLOURS
from tinyvision.data.shapes_ground import STUFF, bands
from tinyvision.data.shapes_language import VOCABULARY, sentences
from tinyvision.data.shapes_questions import ANSWERS, KINDS, all_questions
from tinyvision.data.shapes_relations import PREDICATES
from tinyvision.data.shapes_render import render
from tinyvision.data.shapes_scenes import rendered
from tinyvision.data.shapes_truth import attributes

DIFFICULTIES = ("easy", "medium", "hard")
NUMBERS = "no one two three four five six seven eight nine ten".split()
PLURALS = {name + ("es" if name[-1] == "s" else "s"): name for name in OUTLINES}


class Seen:
    """What the pixels of a scene show: of each object its mask, and from it everything else."""

    def __init__(self, scene, visible):
        self.scene, self.size = scene, scene.size
        image = render(replace(scene, ground=replace(scene.ground, noise=0)))[0]
        self.masks = [visible == k + 1 for k in range(len(scene.objects))]
        self.alone = [render(replace(scene, objects=(o,)))[1] > 0 for o in scene.objects]
        self.shape = [o.name for o in scene.objects]
        self.colour = [min(COLOURS, key=lambda c: np.abs(
            np.median(image[:, m], axis=1) - COLOURS[c]).sum()) for m in self.masks]
        self.area = [m.sum() for m in self.masks]
        self.extent = [(cols.min(), rows.min(), cols.max() + 1, rows.max() + 1)
                       for rows, cols in map(np.nonzero, self.masks)]
        self.middle = [((x0 + x1) / 2, (y0 + y1) / 2) for x0, y0, x1, y1 in self.extent]
        below = bands(scene.ground, scene.size)
        self.around = [next((name for b, name in enumerate(scene.ground.stuff)
                             if (below[m] == b).mean() >= 0.8), None) for m in self.masks]

    def __len__(self):
        return len(self.masks)

    def matches(self, words):
        """The objects that "(large|small) (colour) shape" or "... thing" can mean."""
        found = list(range(len(self)))
        for word in words.split():
            if word in ("large", "small"):
                found = [k for k in found if (self.area[k] >= 0.055 * self.size ** 2)
                         == (word == "large")]
            elif word in COLOURS:
                found = [k for k in found if self.colour[k] == word]
            elif word != "thing":
                assert word in OUTLINES, words
                found = [k for k in found if self.shape[k] == word]
        return found

    def meant(self, phrase):
        """The objects of "a ..." (any) or "the ..." (exactly one)."""
        article, words = phrase.split(" ", 1)
        found = self.matches(words)
        assert found and (article != "the" or len(found) == 1), phrase
        assert article != "a" or words[0] not in "aeiou"
        return found

    def holds(self, predicate, i, j):
        """Whether object i stands in this relation to object j."""
        x, y = np.subtract(self.middle[j], self.middle[i])
        both = (self.alone[i] & self.alone[j]).sum()
        in_front = self.scene.objects[i].order > self.scene.objects[j].order
        return i != j and {
            "left of": x > abs(y), "right of": -x > abs(y),
            "above": y > abs(x), "below": -y > abs(x),
            "in front of": in_front and both > 0 and both >= 0.03 * self.alone[j].sum(),
            "behind": not in_front and both > 0 and both >= 0.03 * self.alone[i].sum(),
            "larger than": self.area[i] >= 1.5 * self.area[j],
            "smaller than": self.area[j] >= 1.5 * self.area[i],
            "the same colour as": self.colour[i] == self.colour[j],
            "the same shape as": self.shape[i] == self.shape[j],
        }[predicate]

    def any_holds(self, predicate, first, second):
        return any(self.holds(predicate, i, j) for i in first for j in second)

    def lies(self, k, where):
        """Whether object k is, say, "at the top left"."""
        column, row = (min(2, int(3 * c / self.size)) for c in self.middle[k])
        words = {"left": column == 0, "right": column == 2, "top": row == 0, "bottom": row == 2,
                 "middle": row == column == 1}
        named = [word for word in words if word in where.split()]
        return {w for w, true in words.items() if true} == set(named)


RELATION = "|".join([*PREDICATES, "larger than", "smaller than", "the same colour as",
                     "the same shape as"])
PHRASE = r"(?:an?|the) [a-z ]+?"


def split_list(words):
    return [part for half in words.split(" , ") for part in half.split(" and ")]


def is_true(text, seen):
    """Judges a sentence; raises where it is not one."""
    stuff = "|".join(STUFF)
    if match := re.fullmatch(rf"the ({stuff}) is above the ({stuff})", text):
        upper, lower = (seen.scene.ground.stuff.index(word) for word in match.groups())
        below = bands(seen.scene.ground, seen.size)
        return np.nonzero(below == upper)[0].mean() < np.nonzero(below == lower)[0].mean()
    if match := re.fullmatch(rf"({PHRASE}) is ({RELATION}) ({PHRASE})", text):
        return seen.any_holds(match[2], seen.meant(match[1]), seen.meant(match[3]))
    if match := re.fullmatch(rf"there is ({PHRASE}) ((?:at|on|in) the [a-z ]+)", text):
        return any(seen.lies(k, match[2]) for k in seen.meant(match[1]))
    if match := re.fullmatch(rf"({PHRASE}) is (?:in|on) the ({stuff})", text):
        return any(seen.around[k] == match[2] for k in seen.meant(match[1]))
    if match := re.fullmatch(rf"the largest shape is ({PHRASE})", text):
        return max(range(len(seen)), key=lambda k: seen.area[k]) in seen.meant(match[1])
    if match := re.fullmatch(r"there (?:is|are) (.*)", text):
        counts = {PLURALS.get(word, word): NUMBERS.index(number) for number, word in
                  map(str.split, split_list(match[1]))}
        return counts == {name: seen.shape.count(name) for name in set(seen.shape)}
    if match := re.fullmatch(r"everything is (?:in|on) the ([a-z]+)", text):
        return seen.scene.ground.stuff == (match[1],)
    order = sorted(range(len(seen)), key=lambda k: seen.middle[k])
    return [part.split(" ", 1)[1] for part in split_list(text)] == [
        f"{seen.colour[k]} {seen.shape[k]}" for k in order]


def answer(text, seen):
    """The answer to a question, by brute force over the objects."""
    if match := re.fullmatch(rf"is ({PHRASE}) ({RELATION}) ({PHRASE}) \?", text):
        right = seen.any_holds(match[2], seen.meant(match[1]), seen.meant(match[3]))
        return "yes" if right else "no"
    if match := re.fullmatch(r"is there an? ([a-z ]+) \?", text):
        return "yes" if seen.matches(match[1]) else "no"
    if match := re.fullmatch(r"how many ([a-z]+) are there \?", text):
        count = len(seen) if match[1] == "shapes" else seen.shape.count(PLURALS[match[1]])
        return NUMBERS[count].replace("no", "zero")
    if match := re.fullmatch(rf"what colour is ({PHRASE}) \?", text):
        return seen.colour[seen.meant(match[1])[0]]
    if match := re.fullmatch(rf"what shape is ({PHRASE}) \?", text):
        return seen.shape[seen.meant(match[1])[0]]
    if match := re.fullmatch(rf"what is around ({PHRASE}) \?", text):
        return seen.around[seen.meant(match[1])[0]]
    predicate, phrase = re.fullmatch(rf"what is ({RELATION}) ({PHRASE}) \?", text).groups()
    found = [k for k in range(len(seen)) if seen.any_holds(predicate, [k], seen.meant(phrase))]
    assert len(found) == 1
    return seen.shape[found[0]]


@pytest.fixture(scope="module", params=DIFFICULTIES)
def scenes(request):
    return shapes(60, seed=12, difficulty=request.param, classes=CLASSES)


def test_every_sentence_is_true(scenes):
    kinds = set()
    for scene, visible in zip(scenes.scenes, scenes.instances):
        seen = Seen(scene, visible)
        for kind, texts in sentences(scene, visible).items():
            for text in texts:
                kinds.add(kind)
                assert is_true(text, seen), (kind, text)
    assert kinds >= {"list", "count", "place", "lying", "relation", "largest", "ground"}


def test_the_judge_finds_sentences_about_other_scenes_false(scenes):
    right = []
    for k in range(len(scenes) - 1):
        seen = Seen(scenes.scenes[k], scenes.instances[k])
        for text in scenes.captions[k + 1]:
            try:
                right.append(bool(is_true(text, seen)))
            except (AssertionError, ValueError):        # nothing of that kind is there
                right.append(False)
    assert np.mean(right) < 0.5


def test_captions_are_several_different_and_begin_with_the_canonical_one(scenes):
    for captions, one in zip(scenes.captions, scenes.caption):
        assert captions[0] == one and len(set(captions)) == len(captions) <= 5
    assert np.mean([len(captions) for captions in scenes.captions]) > 4
    assert len(set(scenes.caption)) > 0.7 * len(scenes)


def test_regions_hold_what_their_captions_say(scenes):
    for scene, visible, regions in zip(scenes.scenes, scenes.instances, scenes.regions):
        seen = Seen(scene, visible)
        for region in regions:
            x0, y0, x1, y1 = region.box
            assert 0 <= x0 < x1 <= 64 and 0 <= y0 < y1 <= 64
            if not region.objects:
                below = bands(scene.ground, 64)
                name = region.caption.removeprefix("the ")
                mask = (below == scene.ground.stuff.index(name)) & (visible == 0)
            else:
                mask = np.any([seen.masks[k] for k in region.objects], axis=0)
            rows, columns = np.nonzero(mask)
            assert region.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            if len(region.objects) == 1:
                assert region.objects[0] in seen.meant(region.caption)
            if len(region.objects) == 2:
                first, predicate, second = re.fullmatch(
                    rf"({PHRASE}) ({RELATION}) ({PHRASE})", region.caption).groups()
                i, j = region.objects
                assert i in seen.meant(first) and j in seen.meant(second)
                assert seen.holds(predicate, i, j)
        assert sum(len(r.objects) == 1 for r in regions) == len(scene.objects)


def test_relations_are_exactly_those_that_the_pixels_show(scenes):
    found = set()
    for scene, visible, relations, comparisons in zip(
            scenes.scenes, scenes.instances, scenes.relations, scenes.comparisons):
        seen = Seen(scene, visible)
        for triples, words in ((relations, PREDICATES), (comparisons, RELATION.split("|")[6:])):
            wanted = {(i, word, j) for i in range(len(seen)) for j in range(len(seen))
                      for word in words if seen.holds(word, i, j)}
            assert {(r.subject, r.predicate, r.object) for r in triples} == wanted
            assert len(triples) == len(wanted)
            found |= {r.predicate for r in triples}
    if scenes.scenes[0].ground.noise == LEVELS["hard"].noise:       # there everything occurs
        assert found == set(RELATION.split("|"))


def test_relations_come_in_pairs(scenes):
    inverse = {"left of": "right of", "above": "below", "in front of": "behind"}
    for relations in scenes.relations:
        triples = {(r.subject, r.predicate, r.object) for r in relations}
        for word, back in inverse.items():
            assert {(j, i) for i, w, j in triples if w == word} == {
                (i, j) for i, w, j in triples if w == back}


def test_every_answer_is_right(scenes):
    kinds = set()
    for scene, visible in zip(scenes.scenes, scenes.instances):
        seen = Seen(scene, visible)
        for kind, asked in all_questions(scene, visible).items():
            for question in asked:
                kinds.add(kind)
                assert answer(question.text, seen) == question.answer, question.text
                assert question.kind == kind and question.answer in ANSWERS
    assert kinds == set(KINDS)


def test_questions_are_of_many_kinds_and_guessing_is_right_half_of_the_time(scenes):
    asked = [question for one in scenes.questions for question in one]
    assert all(len({q.text for q in one}) == len(one) <= 8 for one in scenes.questions)
    yes_no = [q.answer for q in asked if q.answer in ("yes", "no")]
    assert 0.42 < yes_no.count("yes") / len(yes_no) < 0.58
    assert len({q.kind for q in asked}) >= 6
    for kind in ("colour", "shape"):
        answers = [q.answer for q in asked if q.kind == kind]
        assert max(map(answers.count, answers)) < 0.4 * len(answers)


def test_the_vocabulary_has_every_word(scenes):
    said = [text for scene, seen in zip(scenes.scenes, scenes.instances)
            for texts in sentences(scene, seen).values() for text in texts]
    words = {word for text in said for word in text.split()}
    words |= {word for one in scenes.questions for q in one for word in (*q.text.split(), q.answer)}
    words |= {word for one in scenes.regions for r in one for word in r.caption.split()}
    assert words <= set(VOCABULARY) and len(VOCABULARY) == len(set(VOCABULARY)) < 120
    assert len(set(ANSWERS)) == len(ANSWERS)


def test_nothing_can_be_described_too():
    empty = rendered((Scene(64, shapes(1).scenes[0].ground, ()),), CLASSES[:5], 64)
    assert empty.caption == ["nothing"] and empty.relations == [[]]
    assert {q.answer for q in empty.questions[0]} == {"zero"}
    assert empty.labels[0].shape == (0,) and empty.boxes[0].shape == (0, 4)
    assert empty.keypoints[0].shape[0] == 0 and empty[0][1]["masks"].shape == (0, 64, 64)


def test_what_is_kept_with_a_scene_follows_the_map_and_is_not_shared():
    """Annotations share their first steps; another map of the same scene is looked at anew."""
    scenes = shapes(1, seed=4)
    scene, seen = scenes.scenes[0], scenes.instances[0]
    first = attributes(scene, seen)
    assert attributes(scene, seen.copy()) == first and attributes(scene, seen) is not first
    first.clear()
    assert len(attributes(scene, seen)) == len(scene.objects)
    without = np.where(seen == 1, 0, seen)
    assert attributes(scene, without)[0].area == 0 < attributes(scene, seen)[0].area
