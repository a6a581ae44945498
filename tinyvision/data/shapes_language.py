"""Words about scenes: captions, regions with captions, questions with answers.

A small grammar turns facts (`shapes_truth.Thing`, `shapes_relations.Relation`) into sentences, so
that each is true of its scene. Everything is lower case; tokens are separated by blanks and
"?" stands by itself, so `text.split()` is the tokenizer and `VOCABULARY` all there is to know.
"""
from dataclasses import dataclass

import numpy as np

from tinyvision.data.outlines import OUTLINES
from tinyvision.data.shapes_colours import COLOURS
from tinyvision.data.shapes_ground import STUFF, bands
from tinyvision.data.shapes_relations import SPATIAL, comparisons, relations
from tinyvision.data.shapes_truth import PLACES, attributes, tight_box, to_numbers

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
ON = {"sky": "in the sky", "grass": "on the grass", "sand": "on the sand", "water": "in the water"}
FORWARD = ("left of", "above", "in front of", "larger than")    # the others say the same backwards


# Phrases

def noun(thing, *adjectives):
    """ "red star", with the adjectives (names of `Thing`'s fields) that are asked for."""
    return " ".join([*(getattr(thing, one) for one in adjectives), thing.shape])


def a(words):
    """The words with the article "a" or "an" in front."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def the(thing, things, adjectives=("colour", "size")):
    """The shortest "the ..." that means this thing and no other, or None where none does.
    adjectives: those that may be used, the favourite one first."""
    choices = [(), *((one,) for one in adjectives), adjectives[::-1]]
    for chosen in choices:
        words = noun(thing, *chosen)
        if [noun(other, *chosen) for other in things].count(words) == 1:
            return "the " + words
    return None


def plural(word):
    """ "stars", "crosses"."""
    return word + ("es" if word.endswith("s") else "s")


def number(count, word):
    """ "one star", "two stars", "no stars"."""
    return f"{NUMBERS[count]} {word if count == 1 else plural(word)}"


def listed(words):
    """ "x", "x and y", "x , y and z"; "nothing" where there are none."""
    if not words:
        return "nothing"
    return " and ".join(filter(None, [" , ".join(words[:-1]), words[-1]]))


# Captions

def caption(scene, visible):
    """The canonical caption: all objects by colour and class, from left to right (by the middles
    of their boxes)."""
    things = sorted(attributes(scene, visible), key=lambda thing: thing.middle)
    return listed([a(noun(thing, "colour")) for thing in things])


def captions(scene, visible, count=5):
    """`count` different true sentences (fewer where the scene has no more to say), the canonical
    caption first, of as many kinds as possible; the same ones each time."""
    random = np.random.default_rng([scene.ground.seed, 100])
    kinds = list(sentences(scene, visible).values())[1:]
    kinds = [[kind[k] for k in random.permutation(len(kind))] for kind in kinds]
    kinds = [kinds[k] for k in random.permutation(len(kinds))]
    rounds = [kind[k] for k in range(count) for kind in kinds if k < len(kind)]
    return [caption(scene, visible), *rounds][:count]


def sentences(scene, visible):
    """Every sentence that the grammar can say of a scene: {kind: list of sentences}."""
    things = attributes(scene, visible)
    return {
        "list": [caption(scene, visible)],
        "count": [counted(things)],
        "place": [f"there is {a(noun(t, 'size', 'colour'))} {t.place}" for t in things],
        "lying": [f"{a(noun(t, 'colour'))} is {ON[t.ground]}" for t in things if t.ground in ON],
        "relation": [related(relation, things) for relation in
                     relations(scene, visible) + comparisons(scene, visible)],
        "largest": largest(things),
        "ground": grounds(scene.ground.stuff),
    }


def things_of(things):
    """[(how many, class)], the most frequent first, then by name."""
    shapes = sorted({thing.shape for thing in things})
    counts = [(sum(thing.shape == shape for thing in things), shape) for shape in shapes]
    return sorted(counts, key=lambda pair: -pair[0])


def counted(things):
    """ "there are two circles and one star": every class that occurs, with its number."""
    counts = things_of(things)
    verb = "are" if counts and counts[0][0] > 1 else "is"
    return f"there {verb} {listed([number(count, shape) for count, shape in counts])}"


def related(relation, things):
    """ "the star is left of the red square"."""
    first, second = (the(things[k], things) or a(noun(things[k], "size", "colour"))
                     for k in (relation.subject, relation.object))
    return f"{first} is {relation.predicate} {second}"


def largest(things):
    """A sentence about the largest thing, where it shows clearly more than any other."""
    areas = sorted((thing.area, thing.index) for thing in things)
    if len(areas) < 2 or areas[-1][0] < 1.2 * areas[-2][0]:
        return []
    return [f"the largest shape is {a(noun(things[areas[-1][1]], 'colour'))}"]


def grounds(stuff):
    """Sentences about the bands of stuff, top to bottom."""
    if len(stuff) == 1:
        return [f"everything is {ON[stuff[0]]}"] if stuff[0] in ON else []
    return [f"the {upper} is above the {lower}" for upper, lower in zip(stuff, stuff[1:])]


# Regions

@dataclass(frozen=True)
class Region:
    """A box (x0, y0, x1, y1) in pixels, a phrase about what is in it, and the objects meant
    (positions in `scene.objects`; none for stuff)."""
    box: tuple
    caption: str
    objects: tuple = ()


def regions(scene, visible):
    """`Region`s as in Visual Genome: every object, every related pair, every band of stuff."""
    things = attributes(scene, visible)
    return ([Region(t.box, a(noun(t, "size", "colour")), (t.index,)) for t in things]
            + [pair_region(things[r.subject], r.predicate, things[r.object])
               for r in relations(scene, visible) if r.predicate in FORWARD]
            + stuff_regions(scene, visible))


def pair_region(first, predicate, second):
    """The region around two things and what relates them."""
    box = (*np.minimum(first.box[:2], second.box[:2]), *np.maximum(first.box[2:], second.box[2:]))
    words = f"{a(noun(first, 'colour'))} {predicate} {a(noun(second, 'colour'))}"
    return Region(to_numbers(box), words, (first.index, second.index))


def stuff_regions(scene, visible):
    """A region for every band of stuff that is seen."""
    below = np.where(visible > 0, 255, bands(scene.ground, scene.size))
    boxes = [(name, to_numbers(tight_box(below == k))) for k, name in enumerate(scene.ground.stuff)]
    return [Region(box, f"the {name}") for name, box in boxes if any(box)]


def words_of(*texts):
    """The set of tokens in these texts."""
    return {word for text in texts for word in text.split()}


VOCABULARY = tuple(sorted(words_of(
    "a an the and , is are there nothing zero shape shapes thing everything largest small large ?",
    "what colour how many around on in yes no same as", *COLOURS, *OUTLINES, *STUFF,
    *map(plural, OUTLINES), *NUMBERS, *ON.values(), *SPATIAL, *(p for row in PLACES for p in row),
    "larger than smaller than the same colour as the same shape as",
    "moves to left right up down grows shrinks turns jumps then it")))
