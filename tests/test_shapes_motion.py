"""Somebody doing something, and clips: what is said to happen is measured in the pixels."""
import re
from dataclasses import replace

import numpy as np
import pytest

from tinyvision.data import clips, render, situations
from tinyvision.data.outlines import LIMB, limbs
from tinyvision.data.shapes_clips import SHORTEST, WHAT, frame
from tinyvision.data.shapes_ground import bands
from tinyvision.data.shapes_language import VOCABULARY
from tinyvision.data.shapes_render import to_picture
from tinyvision.data.shapes_situations import NAMES, VERBS

DIFFICULTIES = ("easy", "medium", "hard")


# Situations

@pytest.fixture(scope="module", params=DIFFICULTIES)
def scenes(request):
    return situations(120, seed=3, difficulty=request.param)


def distance(mask, point):
    """How far (pixels) a point is from the closest pixel of a mask."""
    rows, columns = np.nonzero(mask)
    return np.hypot(columns + 0.5 - point[0], rows + 0.5 - point[1]).min()


def box_of(mask):
    rows, columns = np.nonzero(mask)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def whole(scene, k):
    return render(replace(scene, objects=(scene.objects[k],)))[1] == 1


def acted_on(scene, roles, verb):
    """The mask of the thing that the verb's main role is played by, or None."""
    part = {r.name: r.object for r in roles}.get(VERBS[verb].role)
    return None if part is None else whole(scene, part)


def check_verb(verb, scene, roles):
    """Whether what the verb claims can be measured in the picture."""
    agent = scene.objects[roles[0].object]
    hands = to_picture(agent, limbs(agent.pose))
    left, right, left_foot, right_foot = hands
    thing, slack = acted_on(scene, roles, verb), LIMB * agent.radius + 1.5
    body = box_of(whole(scene, roles[0].object))
    if verb == "waving":
        return min(left[1], right[1]) < agent.centre[1] - 0.7 * agent.radius
    if verb == "jumping" and thing is None:
        return True
    x0, y0, x1, y1 = box_of(thing)
    aside = max(x0 - body[2], body[0] - x1)
    if verb == "lifting":
        return (y0 + y1) / 2 < body[1] and x0 < agent.centre[0] < x1 and distance(thing, (
            left + right) / 2) <= slack
    if verb == "holding":
        hand = min((left, right), key=lambda h: distance(thing, h))
        return distance(thing, hand) <= slack and (y0 + y1) / 2 < hand[1]
    if verb == "pushing":
        return min(distance(thing, left), distance(thing, right)) <= slack and abs(
            y1 - body[3]) <= 2
    if verb == "kicking":
        foot = min((left_foot, right_foot), key=lambda f: f[1])
        gap = distance(thing, foot) - LIMB * agent.radius
        return -1 <= gap <= 0.35 * agent.radius + 1 and (foot[0] - agent.centre[0]) * (
            (x0 + x1) / 2 - foot[0]) > 0
    if verb == "throwing":
        hand = min((left, right), key=lambda h: h[1])
        gap = distance(thing, hand) - LIMB * agent.radius
        return 0 <= gap <= 0.5 * agent.radius + 1 and (y0 + y1) / 2 < hand[1]
    if verb == "pointing":
        hand = max((left, right), key=lambda h: abs(h[0] - agent.centre[0]))
        far = (x0 + x1) / 2 - hand[0]
        return far * (hand[0] - agent.centre[0]) > 0 and aside > 0
    gap = y0 - body[3]
    over = x0 < agent.centre[0] < x1
    return over and (gap >= 0 if verb == "jumping" else -2 <= gap <= 1)


def test_what_is_going_on_can_be_measured(scenes):
    seen = {}
    for scene, (verb, roles) in zip(scenes.scenes, scenes.situations):
        assert check_verb(verb, scene, roles), (verb, roles)
        seen[verb] = seen.get(verb, 0) + 1
    assert set(seen) == set(VERBS) and min(seen.values()) >= 4


def test_roles_have_the_boxes_of_what_is_seen(scenes):
    empty, nouns = set(), set()
    for scene, visible, (verb, roles) in zip(scenes.scenes, scenes.instances, scenes.situations):
        assert tuple(r.name for r in roles) == VERBS[verb].roles
        for role in roles[:-1]:
            if role.object is None:
                assert role.box is role.noun is None and role.name == VERBS[verb].optional
                empty.add(verb)
                continue
            assert role.box == box_of(visible == role.object + 1)
            assert role.noun == scene.objects[role.object].name or role.name == "agent"
        place = roles[-1]
        below = (bands(scene.ground, 64) == 1) & (visible == 0)
        assert place.noun == scene.ground.stuff[1] and place.box == box_of(below)
        height = np.ptp(np.nonzero(whole(scene, 0))[0])
        nouns.add((roles[0].noun, height > 28 if verb != "climbing" else None))
    assert empty == {"kicking", "throwing", "jumping"}
    assert {noun for noun, _ in nouns} == {"adult", "child"}


def test_everybody_is_in_the_picture_and_mostly_seen(scenes):
    for scene, visible in zip(scenes.scenes, scenes.instances):
        assert scene.names == NAMES and scene.objects[0].name == "figure"
        for k in range(len(scene.objects)):
            alone = whole(scene, k)
            assert (visible == k + 1).sum() >= 0.4 * alone.sum() > 0
            x0, y0, x1, y1 = box_of(alone)
            assert x1 - x0 >= 4 and y1 - y0 >= 4
        colours = [np.array(o.colour) for o in scene.objects]
        assert all(np.abs(a - b).sum() > 0.2 for k, a in enumerate(colours) for b in colours[:k])


def test_situations_repeat(scenes):
    again = situations(2, seed=3, start=50)
    assert again.situations == situations(60, seed=3).situations[50:52]
    with pytest.raises(ValueError, match="got 'brutal'"):
        situations(1, difficulty="brutal")


# Clips

@pytest.fixture(scope="module", params=DIFFICULTIES)
def films(request):
    return clips(25, seed=4, difficulty=request.param)


def centroids(film, k):
    """(T, 2) centres of gravity of object k, and (T,) its areas, out of the rendered maps."""
    masks = film == k + 1
    area = masks.sum((1, 2))
    grid = np.arange(film.shape[-1]) + 0.5
    return np.stack([(masks.sum(1) * grid).sum(1), (masks.sum(2) * grid).sum(1)], 1) / area[
        :, None], area


def test_every_event_is_seen_from_its_start_to_its_end(films):
    found = set()
    for film, events in zip(films.instances, films.events):
        for event in events:
            found.add(event.what)
            place, area = centroids(film, event.subject)
            before, last = event.start - 1, event.end - 1
            way, growth = place[last] - place[before], area[last] / area[before]
            moving = np.abs(np.diff(place[before:event.end], axis=0)).max(1)
            check = {
                "left": way[0] < -6 and abs(way[1]) < 1, "right": way[0] > 6 and abs(way[1]) < 1,
                "up": way[1] < -6 and abs(way[0]) < 1, "down": way[1] > 6 and abs(way[0]) < 1,
                "grows": growth > 1.8, "shrinks": growth < 0.6,
                "turns": changed(film, event, 1) > 0.06 and np.abs(way).max() < 1.5
                and 0.8 < growth < 1.25,
                "jumps": np.abs(way).max() < 1.2
                and place[before, 1] - place[event.start:event.end, 1].min() > 5,
                "meets": event.other is not None and np.hypot(*way) > 5,
            }
            assert check[event.what], (event, way, growth)
            if event.what in ("left", "right", "up", "down", "meets"):
                assert moving.min() > 0.3
    assert found >= set(WHAT) - {"meets"}


def changed(film, event, step):
    """The mean part of an object's pixels that change from frame to frame of an event."""
    masks = film[event.start - 1:event.end] == event.subject + 1
    return (masks[step:] != masks[:-step]).sum() / masks[step:].sum()


def test_who_moves_to_somebody_arrives():
    meetings = 0
    films = clips(60, seed=6, difficulty="hard")
    for film, events, clip in zip(films.instances, films.events, films.clips):
        states = clip.states
        for event in events:
            if event.what == "meets":
                (here, area), (there, other) = (centroids(film, j)
                                                for j in (event.subject, event.other))
                gaps = np.hypot(*(here - there).T)
                assert gaps[event.end - 1] < gaps[event.start - 1] - 4
                assert event.end - event.start >= SHORTEST
                (x, y, radius, _), (u, v, reach, _) = states[event.end - 1, [event.subject,
                                                                             event.other]]
                assert np.hypot(x - u, y - v) <= 1.06 * (radius + reach)
                meetings += 1
    assert meetings >= 10


def test_nothing_happens_between_events(films):
    for film, events in zip(films.instances, films.events):
        for k in range(film.max()):
            acting = np.zeros(len(film), bool)
            for event in events:
                if event.subject == k:
                    assert not acting[event.start:event.end].any()
                    acting[event.start:event.end] = True
            for t in np.flatnonzero(~acting[1:]) + 1:
                np.testing.assert_array_equal(film[t] == k + 1, film[t - 1] == k + 1)


def test_frames_are_pictures_of_their_boxes_and_no_object_hides_another(films):
    for clip, film, boxes in zip(films.clips, films.instances, films.boxes):
        assert boxes.shape == (24, len(clip.scene.objects), 4)
        for t in (0, 11, 23):
            np.testing.assert_array_equal(film[t], render(frame(clip, t))[1])
            for k in range(boxes.shape[1]):
                assert tuple(boxes[t, k]) == box_of(film[t] == k + 1)
        assert boxes.min() >= 0 and boxes.max() <= 64


def test_noise_changes_and_the_ground_stays():
    film = clips(1, seed=2, difficulty="medium").images[0]
    change = film[1] - film[0]
    assert 0.5 * 2 ** 0.5 * 0.05 < change.std() < 2 ** 0.5 * 0.06


def test_captions_tell_every_event_in_its_context(films):
    back = {words: what for what, words in WHAT.items()}
    for clip, events, told in zip(films.clips, films.events, films.captions):
        assert len(told) == len(events) and [e.start for e in events] == sorted(
            e.start for e in events)
        for k, (event, text) in enumerate(zip(events, told)):
            subject, words = re.fullmatch(r"(then it|an? [a-z ]+?|the [a-z ]+?) ((?:moves|grows|"
                                          r"shrinks|turns|jumps).*)", text).groups()
            again = k > 0 and events[k - 1].subject == event.subject
            assert (subject == "then it") == again
            shape = clip.scene.objects[event.subject].name
            assert again or subject.split()[-1] == shape
            if event.what == "meets":
                words, target = words.split(" to ")
                assert target.split()[-1] == clip.scene.objects[event.other].name
                words += " to"
            assert back[words] == event.what
            assert set(text.split()) <= set(VOCABULARY)
    assert np.mean([len(events) for events in films.events]) >= 1.5


def test_clips_repeat_and_are_items():
    whole, part = clips(5, seed=1), clips(2, seed=1, start=3)
    np.testing.assert_array_equal(whole.images[3:], part.images)
    assert whole.captions[3:] == part.captions
    images, target = whole[-1]
    assert images.shape == (24, 3, 64, 64) and target["events"] == tuple(whole.events[4])
    with pytest.raises(ValueError, match="frames is at least 12.*got 5"):
        clips(1, frames=5)
    assert len(clips(0)) == 0
