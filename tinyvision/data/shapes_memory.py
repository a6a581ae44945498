"""What several annotations of one scene ask for is worked out once.

Captions, regions, relations and questions all begin with the same things and the same coverings.
"""
from functools import wraps


def once_a_scene(annotate):
    """`annotate(scene, ...)`, whose list or array is kept with the scene. It is made anew where the
    map of visible objects has changed since."""
    name = f"_{annotate.__name__}"

    @wraps(annotate)
    def kept(scene, *visible):
        key = [hash(seen.tobytes()) for seen in visible]
        memory = vars(scene)                                 # a scene is frozen, its notes are not
        if name not in memory or memory[name][0] != key:
            memory[name] = key, annotate(scene, *visible)
        return memory[name][1].copy()
    return kept
