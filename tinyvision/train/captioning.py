"""Captioning in recipes: its data, its measures and the picture of its answers."""
from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from tinyvision import data, metrics, models
from tinyvision.engine import Tensor
from tinyvision.models.language.word2vec import word_vectors
from tinyvision.models.language.words import SHAPES
from tinyvision.train.recipe import Recipe, Splits
from tinyvision.train.scenes import GeneratedScenes, held_out_batches, nearest_in_pixels


@dataclass(frozen=True)
class ShapesToCaption(GeneratedScenes):
    """Generated scenes and their canonical captions: all objects by colour and class, from left to
    right."""

    def __call__(self, limit: int | None = None) -> Splits:
        """Item k of a split is (image (3, H, W), sentence)."""
        scenes = self.scenes(limit)
        pairs = [data.TensorDataset(s.images, s.caption) for s in scenes]
        return Splits(*pairs, scenes[0].names)


@dataclass(frozen=True)
class RandomMirror:
    """A transform: upside down with probability p, and the caption stays true; left to right with
    probability p, and what it lists is told the other way round."""
    p: float = 0.5

    def __call__(self, image, caption, random):
        """(image (3, H, W), sentence), mirrored."""
        if random.random() < self.p:
            image = image[:, ::-1]
        if random.random() < self.p:
            image, caption = image[:, :, ::-1], backwards(caption)
        return image, caption


def backwards(caption: str) -> str:
    """ "a , b and c" as "c , b and a"."""
    parts = caption.replace(" , ", " and ").split(" and ")[::-1]
    return " and ".join(filter(None, [" , ".join(parts[:-1]), parts[-1]]))


def measure(model, splits: Splits, beam: int = 1) -> dict[str, float]:
    """The share of held out scenes whose caption is right to the last word, BLEU-1 and BLEU-4."""
    said, true = answers(model, splits, beam)
    return {"exact": metrics.exact_match(said, true),
            **{f"bleu_{n}": metrics.bleu(said, true, n) for n in (1, 4)}}


def answers(model, splits: Splits, beam: int = 1, batch: int = 100) -> tuple[list, list]:
    """The model's sentences about the held out images, and the true ones."""
    said, true = [], []
    for images, captions in held_out_batches(splits, batch):
        said += model.predict(Tensor(images), beam)
        true += captions
    return said, true


def compare(splits: Splits) -> dict[str, float]:
    """How many captions are exact of: the caption of that training image whose pixels are closest;
    the most frequent caption."""
    captions, true = ([caption for _, caption in split]
                      for split in (splits.train, splits.held_out))
    common = Counter(captions).most_common(1)[0][0]
    return {"nearest neighbour in pixels":
            metrics.exact_match([captions[k] for k in nearest_in_pixels(splits)], true),
            f'always "{common}"': metrics.exact_match([common] * len(true), true)}


def with_word2vec(chosen: Recipe) -> Recipe:
    """The recipe of tiny_show_and_tell whose embedding begins not with random vectors, but with
    those that word2vec learned from the training captions (lecture UW, "Word embedding layer
    pretrained with word2vec"). To be compared with: `train(with_word2vec(one), one.splits())`."""
    captions = [caption for _, caption in chosen.splits().train]
    return replace(chosen, name=f"{chosen.name} with word2vec", build=lambda:
                   models.tiny_show_and_tell(vectors=word_vectors(captions, SHAPES)))


def picture(model, splits: Splits, n: int = 2):
    """How the captions of held out images came about, word by word; the last is a mistake, if
    there is one."""
    from tinyvision import draw
    said, true = answers(model, splits)
    wrong = [k for k, (a, b) in enumerate(zip(said, true)) if a != b][:1]
    chosen = [*[k for k in range(len(said)) if k not in wrong][:n - len(wrong)], *wrong]
    images = [splits.held_out[k][0] for k in chosen]
    return draw.captions(images, [model.word_by_word(image) for image in images],
                         model.vocabulary.words, [true[k] for k in chosen])
