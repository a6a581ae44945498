"""Captioning: words and numbers, searches against all sentences, BLEU by the paper's examples,
vectors of words, the models, and the recipe's parts."""
import itertools
import math
import pathlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinyvision as tv
from shape_comments import Watch
from tinyvision import data, metrics, models, nn, ops
from tinyvision.models.language import search, word2vec, words
from tinyvision.models.language.attend import Attending, waves
from tinyvision.models.language.concepts import concept_loss
from tinyvision.models.language.words import SHAPES, Vocabulary
from tinyvision.train import captioning

rng = np.random.default_rng(0)


# --- words ----------------------------------------------------------------------------------------
def test_a_sentence_and_its_numbers():
    v = Vocabulary.of(["a red star", "a blue star", "a star"], least=1)
    assert v.words == (*words.SPECIAL, "a", "star", "blue", "red")
    assert v.encode("a red star") == [1, 4, 7, 5, 2]
    assert v.batch(["a star", "", "a blue star"]).tolist() == [
        [1, 4, 5, 2, 0], [1, 2, 0, 0, 0], [1, 4, 6, 5, 2]]
    assert v.decode([1, 4, 7, 5, 2, 5, 5]) == "a red star" and v.decode([]) == ""
    assert Vocabulary.of(["a red star", "a blue star"], least=2).words[4:] == ("a", "star")


def test_words_outside_the_vocabulary_are_unknown():
    v = Vocabulary(["a", "star"])
    assert v.encode("a pink star <end> x") == [1, 4, 3, 5, 2, 3, 2]
    assert v.decode(v.encode("a pink star")) == "a <unknown> star"


def test_a_batch_of_nothing():
    assert SHAPES.batch([]).shape == (0, 0)


@given(st.lists(st.lists(st.sampled_from(SHAPES.words[4:]), max_size=7)))
def test_what_is_encoded_can_be_decoded(sentences):
    sentences = [" ".join(some) for some in sentences]
    assert [SHAPES.decode(row) for row in SHAPES.batch(sentences)] == sentences


def test_the_scenes_words_are_all_there():
    level = dict(difficulty="hard", classes=(*data.CLASSES, "figure"))
    spoken = {word for s in (data.shapes(60), data.shapes(60, **level)) for one in s.caption
              for word in one.split()}
    assert spoken <= set(SHAPES.words) and len(spoken) > 20


@pytest.mark.parametrize("call, error, text", [
    (lambda: Vocabulary(["a", "b", "a"]), ValueError, "'a' is no new word"),
    (lambda: Vocabulary(["a b"]), ValueError, "'a b' is no new word"),
    (lambda: Vocabulary(["<end>"]), ValueError, "'<end>' is no new word"),
    (lambda: SHAPES.encode(["a"]), TypeError, "a sentence is a string, got list"),
    (lambda: SHAPES.decode([99]), ValueError, "99 is no word's number, they are 0 to 27")])
def test_vocabulary_refuses(call, error, text):
    with pytest.raises(error, match=text):
        call()


# --- search ---------------------------------------------------------------------------------------
END, V, LONGEST = 0, 3, 4


def language(seed, sharp=1.0):
    """A step whose next word depends on all words before (they are the state)."""
    table = np.random.default_rng(seed).standard_normal((V + 1,) * LONGEST + (V,)) * sharp

    def step(last, state):
        past = np.concatenate([state[0][:, 1:], last[:, None]], 1)
        logits = table[tuple(past.T)]
        return logits - np.log(np.exp(logits).sum(1, keepdims=True)), (past,)
    return step, (np.full((1, LONGEST), V),)


def everything(step, state, power=0.0):
    """All sentences that end, or are cut at LONGEST: {words: score}."""
    scores = {}
    for sentence in itertools.product(range(V), repeat=LONGEST):
        total, s, last, read = 0.0, state, np.array([V]), []
        for word in sentence:
            log_p, s = step(last, s)
            total, last = total + log_p[0, word], np.array([word])
            read.append(word)
            if word == END:
                break
        scores[tuple(read)] = total / len(read) ** power
    return scores


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10 ** 6), st.sampled_from([0.0, 0.7, 1.0]))
def test_a_wide_beam_finds_what_looking_at_all_finds(seed, power):
    step, state = language(seed)
    all_of = everything(step, state, power)
    steps = search.beam(step, state, V, END, LONGEST, V ** LONGEST, power)
    assert len(steps[-1]) == len(all_of)
    for one in steps[-1]:
        assert one.score(power) == pytest.approx(all_of[tuple(one.words)])
    assert one.log_p < 0 and tuple(steps[-1][0].words) == max(all_of, key=all_of.get)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10 ** 6))
def test_greedy_is_a_beam_of_one(seed):
    step, state = language(seed)
    found = search.greedy(step, state, V, END, LONGEST)[0].tolist()
    found = found[:found.index(END) + 1] if END in found else found
    assert found == search.beam(step, state, V, END, LONGEST, 1)[-1][0].words


def test_a_beam_finds_what_greedy_search_misses():
    """Two sentences: the better first word leads to the worse sentence."""
    table = np.log(np.array([[0.2, 0.4, 0.4], [0.34, 0.33, 0.33], [0.9, 0.05, 0.05],
                             [0.0001, 0.5, 0.4999]]))        # after: end, 1, 2, start

    def step(last, state):
        return table[last], state
    state = (np.zeros((1, 1)),)
    assert search.greedy(step, state, V, END, 5)[0].tolist()[0] == 1
    best = search.beam(step, state, V, END, 5, 2)[-1][0]
    assert best.words == [2, 0] and best.log_p == pytest.approx(np.log(0.4999 * 0.9))


def test_sentences_side_by_side_are_those_alone():
    step, (past,) = language(3)
    starts = np.array([[V] * LONGEST, [0, 1, 2, 0], [2, 2, 1, 0], [1, 1, 1, 1]])
    together = search.greedy(step, (starts,), V, END, LONGEST)
    for row, start in zip(together, starts):
        alone = search.greedy(step, (start[None],), V, END, LONGEST)[0]
        assert row.tolist() == [*alone, *[END] * (len(row) - len(alone))]
    assert search.greedy(step, (starts[:0],), V, END, LONGEST).shape == (0, 0)


def test_length_normalisation_is_for_longer_sentences():
    flat = np.log(np.array([[0.25, 0.7, 0.05]] * (V + 1)))

    def step(last, state):
        return flat[last], state
    short, long = (search.beam(step, (np.zeros((1, 1)),), V, END, 4, 20, power)[-1][0].words
                   for power in (0.0, 1.0))
    assert len(short) < len(long)


def test_beam_refuses():
    with pytest.raises(ValueError, match="width is 0, expected at least 1"):
        search.beam(*language(0), V, END, LONGEST, 0)


# --- BLEU -----------------------------------------------------------------------------------------
FIRST = ("it is a guide to action which ensures that the military always obeys the commands of "
         "the party")
SECOND = "it is to insure the troops forever hearing the activity guidebook that party direct"
PEOPLE = ["it is a guide to action that ensures that the military will forever heed party commands",
          "it is the guiding principle which guarantees the military forces always being under the "
          "command of the party",
          "it is the practical guide for the army always to heed the directions of the party"]
CAT = ["the cat is on the mat", "there is a cat on the mat"]


@pytest.mark.parametrize("answer, some, n, expected", [
    (FIRST, PEOPLE, 1, (17, 18)), (SECOND, PEOPLE, 1, (8, 14)),          # Papineni et al., 2.1
    (FIRST, PEOPLE, 2, (10, 17)), (SECOND, PEOPLE, 2, (1, 13)),
    ("the the the the the the the", CAT, 1, (2, 7)),
    ("the the the the the the the", CAT, 2, (0, 6))])
def test_modified_precision_by_the_papers_examples(answer, some, n, expected):
    assert metrics.modified_precision([answer], [some], n) == expected


def test_brevity_by_the_papers_example():
    """References of 12, 15 and 17 words and an answer of 12: no penalty (2.2.2)."""
    some = [" ".join("w" * n) for n in (15, 12, 17)]
    assert metrics.brevity_penalty([" ".join("w" * 12)], [some]) == 1
    assert metrics.brevity_penalty([" ".join("w" * 10)], [some]) == math.exp(1 - 12 / 10)
    assert metrics.brevity_penalty([" ".join("w" * 13)], [[some[0], " ".join("w" * 11)]]) == 1
    assert metrics.brevity_penalty([""], [CAT]) == 0
    assert metrics.brevity_penalty([""], [[""]]) == 1


def test_bleu_by_hand():
    close = "the cat sat on the mat"
    # 5 of 6 words, 3 of 5 pairs (the cat, on the, the mat), 1 of 4 triples, no four in a row
    assert metrics.bleu([close], [CAT[0]], 1) == pytest.approx(5 / 6)
    assert metrics.bleu([close], [CAT[0]], 2) == pytest.approx(math.sqrt(5 / 6 * 3 / 5))
    assert metrics.bleu([close], [CAT[0]], 3) == pytest.approx((5 / 6 * 3 / 5 * 1 / 4) ** (1 / 3))
    assert metrics.bleu([close], [CAT[0]], 4) == 0
    assert metrics.bleu(CAT, CAT) == 1 and metrics.bleu([""], [CAT]) == 0
    assert metrics.bleu(["nothing"], ["nothing"], 1) == 1
    assert metrics.bleu(["nothing"], ["nothing"], 4) == 0    # it has no four words in a row


def naive_bleu(answers, references, n):
    """The formulas, counted one n-gram at a time."""
    logs, c, r = 0.0, 0, 0
    for k in range(1, n + 1):
        right = total = 0
        for answer, some in zip(answers, references):
            grams = lambda s: [tuple(s.split()[i:i + k]) for i in range(len(s.split()) - k + 1)]
            total += len(grams(answer))
            for gram in set(grams(answer)):
                right += min(grams(answer).count(gram), max(grams(one).count(gram) for one in some))
        if not right:
            return 0.0
        logs += math.log(right / total) / n
    for answer, some in zip(answers, references):
        lengths = sorted(len(one.split()) for one in some)
        c, r = c + len(answer.split()), r + min(lengths, key=lambda L: abs(L - len(answer.split())))
    return math.exp(logs) * (1 if c >= r else math.exp(1 - r / c))


sentence = st.lists(st.sampled_from("abc"), max_size=8).map(" ".join)


@given(st.lists(st.tuples(sentence, st.lists(sentence, min_size=1, max_size=3)), min_size=1,
                max_size=5), st.integers(1, 4))
def test_bleu_is_what_counting_one_by_one_gives(pairs, n):
    answers, references = zip(*pairs)
    expected = naive_bleu(answers, references, n)
    assert metrics.bleu(answers, references, n) == pytest.approx(expected, abs=1e-12)
    assert 0 <= expected <= 1 + 1e-12


def test_exact_match():
    assert metrics.exact_match(["a b", "c", ""], ["a  b", ["d", "c"], "x"]) == 2 / 3


@pytest.mark.parametrize("call, text", [
    (lambda: metrics.bleu([], []), "bleu: 0 answers and 0 references, expected as many"),
    (lambda: metrics.bleu(["a"], ["a", "b"]), "1 answers and 2 references"),
    (lambda: metrics.exact_match(["a"], [[]]), "exact_match: answer 0 has no reference"),
    (lambda: metrics.bleu(["a"], ["a"], 0), "n is 0, expected at least 1")])
def test_metrics_refuse(call, text):
    with pytest.raises(ValueError, match=text):
        call()


# --- word2vec -------------------------------------------------------------------------------------
def test_neighbours_and_noise():
    assert word2vec.neighbours([[5, 6, 7], [8]], 1).tolist() == [[5, 6], [6, 5], [6, 7], [7, 6]]
    assert word2vec.neighbours([], 2).shape == (0, 2)
    odds = word2vec.noise_distribution([[1, 1, 1, 1, 2]], 4)
    assert odds.tolist() == pytest.approx([0, 4 ** 0.75 / (4 ** 0.75 + 1), 1 / (4 ** 0.75 + 1), 0])


def test_the_loss_is_equation_4():
    model = word2vec.SkipGram(5, 3)
    model.near.weight.data = rng.standard_normal((5, 3)).astype("f4")
    v, u = model.centre.weight.numpy(), model.near.weight.numpy()
    pairs, noise = np.array([[0, 1], [2, 4]]), np.array([[3, 3], [0, 1]])
    by_hand = [np.log1p(np.exp(-u[o] @ v[c])) + sum(np.log1p(np.exp(u[n] @ v[c])) for n in some)
               for (c, o), some in zip(pairs, noise)]
    assert model.loss(pairs, noise)["negative_sampling"].item() == pytest.approx(np.mean(by_hand),
                                                                                 rel=1e-5)


def test_words_of_a_kind_come_near_each_other():
    tv.manual_seed(0)
    vectors = word2vec.word_vectors(data.shapes(300).caption, SHAPES, size=32, epochs=8)
    assert vectors.shape == (len(SHAPES), 32) and vectors.dtype == np.float32
    colours = {"red", "yellow", "green", "blue", "purple", "white", "black"}
    for word in colours:                                     # "orange" alone stands behind "an"
        assert set(word2vec.nearest(word, vectors, SHAPES, 4)) <= {*colours, "orange"}
    shapes = set(data.CLASSES[:5])
    assert all(set(word2vec.nearest(word, vectors, SHAPES, 4)) == shapes - {word}
               for word in shapes)


def test_word2vec_refuses():
    with pytest.raises(ValueError, match="captions are empty"):
        word2vec.word_vectors([], SHAPES)
    with pytest.raises(ValueError, match="'pink' is not in the vocabulary"):
        word2vec.nearest("pink", np.zeros((28, 2)), SHAPES)


# --- the models -----------------------------------------------------------------------------------
def images(*shape):
    return rng.random(shape, np.float32)


@pytest.mark.parametrize("more", [0, 8843])
def test_the_papers_configuration_has_the_counted_size(more):
    vocabulary = Vocabulary([f"w{k}" for k in range(more)])
    with nn.skip_init():
        model = models.show_and_tell(vocabulary)
    total = sum(p.size for p in model.parameters())
    V = more + 4
    assert total == 23_508_032 + 1_049_088 + 2_101_248 + 1025 * V
    assert model.embed.weight.shape == (V, 512)


@pytest.fixture(scope="module")
def small():
    """The two decoders on a trunk of two blocks."""
    tv.manual_seed(0)

    def make(decoder):
        trunk = models.ResNet(models.classify.resnet.BasicBlock, (1,), None, width=8)
        return models.ShowAndTell(trunk, decoder(8, 12, 16), SHAPES, 12, longest=9)
    return {"once": make(models.language.Reading), "attend": make(Attending)}


KINDS = pytest.mark.parametrize("kind", ["once", "attend"])


@KINDS
def test_teaching_is_telling_with_the_true_words(small, kind):
    """All words in one go give what one word at a time gives."""
    model, x = small[kind].eval(), images(3, 3, 16, 24)
    words = SHAPES.batch(["a red star", "nothing", "an orange bar"])
    with tv.no_grad():
        scores = ops.log_softmax(model(x, words), 2).numpy()
        state = model.begin(x)
        for t in range(words.shape[1] - 1):
            log_p, state = model.step(words[:, t], state)
            np.testing.assert_allclose(log_p, scores[t], rtol=0, atol=1e-5)


@KINDS
def test_every_parameter_gets_a_gradient_and_padding_none(small, kind):
    model, x = small[kind].train(), images(4, 3, 16, 16)
    captions = ["a red star and a blue bar", "", "a ring", "nothing"]
    model.loss(x, captions)["words"].backward()
    missing = [name for name, p in model.named_parameters()
               if p.grad is None or not np.abs(p.grad.numpy()).max() > 0]
    assert not missing
    assert not model.embed.weight.grad.numpy()[words.PADDING].any()


@KINDS
def test_a_longer_neighbour_changes_nothing(small, kind):
    """The loss over a batch is that of its sentences, each alone, weighted by their words."""
    model, x = small[kind].eval(), images(2, 3, 16, 16)
    captions = ["nothing", "a red star and a blue bar"]
    with tv.no_grad():
        both = model.loss(x, captions)["words"].item()
        alone = [model.loss(x[k:k + 1], captions[k:k + 1])["words"].item() for k in range(2)]
    assert both == pytest.approx((2 * alone[0] + 8 * alone[1]) / 10, rel=1e-4)


def test_the_shapes_in_the_comments_are_those_of_the_arrays(small):
    folder = pathlib.Path(models.language.__file__).parent
    x, captions = tv.Tensor(images(3, 3, 24, 40)), ["a red star", "nothing", ""]
    with Watch(sorted(folder.glob("*.py"))) as seen:
        for model in (small["once"], models.tiny_show_and_tell()):
            model(x, SHAPES.batch(captions))
            model.loss(x, captions)
            model.predict(x)
        word2vec.word_vectors(captions, SHAPES, size=3, epochs=1)
    assert not seen.wrong and not seen.unseen and seen.axes > 50


@KINDS
def test_words_that_are_not_known_are_trained_on_as_unknown(small, kind):
    model, x = small[kind].eval(), images(1, 3, 16, 16)
    with tv.no_grad():
        assert (model.loss(x, ["a pink star"])["words"].item()
                == model.loss(x, ["a <unknown> star"])["words"].item())


@KINDS
def test_sentences_are_learned_by_heart_and_told(small, kind):
    tv.manual_seed(1)
    model = small[kind]
    x, captions = images(4, 3, 16, 16), ["a red star", "nothing", "", "a bar and an orange pink"]
    optimizer = tv.optim.Adam(model.parameters(), 1e-2)
    model.train()
    for _ in range(60):
        optimizer.zero_grad()
        model.loss(x, captions)["words"].backward()
        optimizer.step()
    told = ["a red star", "nothing", "", "a bar and an orange <unknown>"]
    for beam in (1, 3):
        assert model.train().predict(x, beam) == told and model.training
    assert model.predict(x[:0]) == []
    step = model.word_by_word(x[0])
    assert SHAPES.decode(step.words) == "a red star" and step.words[-1] == words.END
    assert step.probabilities.shape == (4, len(SHAPES))
    np.testing.assert_allclose(step.probabilities.sum(1), 1, rtol=1e-5)
    if kind == "attend":
        assert step.looks.shape == (4, 4, 4)
        np.testing.assert_allclose(step.looks.sum((1, 2)), 1, rtol=1e-5)
    else:
        assert step.looks is None


@KINDS
def test_an_image_smaller_than_the_stride_is_told_about(small, kind):
    assert len(small[kind].predict(images(2, 3, 3, 2))) == 2


def test_an_answer_is_cut(small):
    model = small["once"]
    model.output.bias.data[words.END] = -1e9
    assert len(model.predict(images(1, 3, 16, 16))[0].split()) <= model.longest


def test_as_many_captions_as_images(small):
    with pytest.raises(ValueError, match="ShowAndTell.loss: 1 captions for 2 images"):
        small["once"].loss(images(2, 3, 16, 16), ["a"])


def test_vectors_learned_beforehand_are_where_the_embedding_begins():
    vectors = rng.standard_normal((len(SHAPES), 64))
    model = models.tiny_show_and_tell(vectors=vectors)
    np.testing.assert_array_equal(model.embed.weight.numpy(), vectors.astype("f4"))


def test_places_are_told_apart():
    there = waves(5, 7, tv.Tensor(np.zeros(1, "f4"))).numpy()
    assert there.shape == (35, 16) and len(np.unique(there.round(4), axis=0)) == 35
    np.testing.assert_array_equal(there[0, 8:], there[7, 8:])            # one column
    np.testing.assert_array_equal(there[0, :8], there[1, :8])            # one row


def test_a_look_is_the_mean_of_values_weighted_by_keys():
    decoder = Attending(3, 4, 5)
    h, k, v = (tv.Tensor(rng.standard_normal(shape).astype("f4"))
               for shape in ((2, 5), (2, 6, 5), (2, 6, 5)))
    z, weights = decoder.look(h, k, v)
    q = h.numpy() @ decoder.query.weight.numpy().T + decoder.query.bias.numpy()
    e = np.exp(np.einsum("nd,npd->np", q, k.numpy()) / math.sqrt(5))
    np.testing.assert_allclose(weights.numpy(), e / e.sum(1, keepdims=True), rtol=1e-4)
    np.testing.assert_allclose(z.numpy(), np.einsum("np,npd->nd", weights.numpy(), v.numpy()),
                               rtol=1e-4, atol=1e-6)


# --- the recipe's parts ---------------------------------------------------------------------------
def test_a_mirrored_caption_is_that_of_the_mirrored_scene():
    """Left to right the order turns round; upside down nothing changes."""
    assert captioning.backwards("a red bar , an orange star and a blue ring") == (
        "a blue ring , an orange star and a red bar")
    assert captioning.backwards("nothing") == "nothing" and captioning.backwards("") == ""
    for caption in data.shapes(30).caption:
        assert captioning.backwards(captioning.backwards(caption)) == caption
        assert Counter(captioning.backwards(caption).split()) == Counter(caption.split())


def test_mirrors_move_image_and_words_together():
    x, caption = images(3, 4, 6), "a red bar and a blue ring"
    both = captioning.RandomMirror(1.0)(x, caption, np.random.default_rng(0))
    np.testing.assert_array_equal(both[0], x[:, ::-1, ::-1])
    assert both[1] == "a blue ring and a red bar"
    never = captioning.RandomMirror(0.0)(x, caption, np.random.default_rng(0))
    np.testing.assert_array_equal(never[0], x)
    assert never[1] == caption


def test_what_needs_no_network_is_measured():
    splits = captioning.ShapesToCaption(20, 6)()
    same = splits._replace(held_out=splits.train)
    found = captioning.compare(same)
    assert found["nearest neighbour in pixels"] == 1
    common = max(Counter(c for _, c in splits.train).values()) / 20
    assert [v for k, v in found.items() if k.startswith("always")] == [common]


def test_measure_counts_exact_captions():
    splits = captioning.ShapesToCaption(4, 8)()

    class Oracle:
        def predict(self, images, beam):
            known = {x.tobytes(): c for x, c in splits.held_out}
            said = [known[x.tobytes()] for x in images.numpy()]
            return [*said[:6], "", "a a"]
    score = captioning.measure(Oracle(), splits)
    assert score["exact"] == 6 / 8 and 0.4 < score["bleu_4"] < 1


# --- pictures -------------------------------------------------------------------------------------
def test_every_word_of_a_sentence_has_its_panel(small):
    from tinyvision import draw
    pictures = images(2, 3, 16, 16)
    for kind, panels in (("attend", 1), ("once", 0)):
        told = [small[kind].word_by_word(image) for image in pictures]
        figure = draw.captions(pictures, told, SHAPES.words, ["a ring", "nothing"])
        steps = sum(len(one.words) for one in told)
        assert len(figure.axes) == 2 * 2 + 2 * steps
        shaded = [a for a in figure.axes if len(a.images) == 2]
        assert len(shaded) == panels * steps
        titles = [a.get_title() for a in figure.axes if a.get_title()]
        assert titles == [SHAPES.words[k] for one in told for k in one.words]


def test_the_trees_orange_words_are_the_answer():
    from tinyvision import draw
    from tinyvision.draw.palette import ACCENT
    step, state = language(5)
    steps = search.beam(step, state, V, END, LONGEST, 3)
    figure = draw.beam_tree(steps, ["end", "one", "two", "start"])
    orange = [t.get_text() for t in figure.axes[0].texts if t.get_color() == ACCENT]
    names = ["end", "one", "two", "start"]
    assert sorted(orange) == sorted(["start", *(names[k] for k in steps[-1][0].words)])
    assert len(figure.axes[0].lines) == len({one for kept in steps for one in kept})


# --- concepts -------------------------------------------------------------------------------------
def test_the_best_place_answers_for_a_word():
    scores = rng.standard_normal((2, 6, 2, 3)).astype("f4")
    there = np.array([[1, 0], [0, 0]])                       # of words 4 and 5, by sentence
    best = scores.max((2, 3))[:, 4:]
    by_hand = np.where(there, np.log1p(np.exp(-best)), np.log1p(np.exp(best))).mean()
    x = tv.Tensor(scores, requires_grad=True)
    loss = concept_loss(x, np.array([[1, 4, 2], [1, 2, 0]]))
    assert loss.item() == pytest.approx(by_hand, rel=1e-5)
    loss.backward()
    blamed = x.grad.numpy() != 0
    assert (blamed.sum((2, 3)) == [0, 0, 0, 0, 1, 1]).all()
    assert (scores[blamed] == best.ravel()).all()


def test_a_recipe_that_begins_with_word2vec():
    from dataclasses import replace
    from tinyvision.train.recipe import random_numbers
    from tinyvision.train.recipes import recipe
    one = replace(recipe("tiny_show_and_tell"), data={"shapes": captioning.ShapesToCaption(80, 4)})
    with random_numbers(0):
        begun = captioning.with_word2vec(one).build().embed.weight.numpy()
    unit = begun / np.linalg.norm(begun, axis=1, keepdims=True)
    red, blue, star = (SHAPES.numbers[word] for word in ("red", "blue", "star"))
    assert unit[red] @ unit[blue] > unit[red] @ unit[star]


def test_a_scene_without_objects_is_nothing():
    scene = data.Scene(16, data.describe(0, 0, 16).ground, ())
    image, visible = data.render(scene)
    from tinyvision.data.shapes_language import caption
    assert caption(scene, visible) == "nothing"
    loss = models.tiny_show_and_tell().loss(tv.Tensor(image[None]), ["nothing"])
    assert all(np.isfinite(one.item()) for one in loss.values())


def test_mirrors_are_part_of_what_weights_depend_on():
    from dataclasses import replace
    from tinyvision.train.recipe import key
    from tinyvision.train.recipes import recipe
    one = recipe("tiny_show_and_tell")
    assert len({key(replace(one, transforms=t)) for t in (
        None, captioning.RandomMirror(), captioning.RandomMirror(0.3))}) == 3


def test_what_is_no_list_of_sentences_no_width_or_no_vocabulary_is_named():
    with pytest.raises(TypeError, match="list of sentences"):
        SHAPES.batch("abc")
    with pytest.raises(TypeError, match="width is 2.5"):
        search.beam(None, (np.zeros(1),), 1, 2, 5, width=2.5)
