"""Sentences about images."""
from tinyvision.models.language.attend import Attending
from tinyvision.models.language.show_and_tell import (Reading, ShowAndTell, Told, show_and_tell,
                                                      tiny_show_and_tell)
from tinyvision.models.language.word2vec import SkipGram, nearest, word_vectors
from tinyvision.models.language.words import Vocabulary
