"""Solids as closed triangle meshes: vertices (V, 3) and faces (F, 3).

x points right, y *down* and z away from the viewer, as in KITTI. A face lists its three vertices
so that its normal, (b - a) x (c - a), points outwards. Every solid fills the cube [-1, 1]^3 to the
bottom: it stands on the plane y = 1.
"""
import numpy as np

SIDES = 24           # of what is round
CORNERS = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
QUADS = {"left": (0, 1, 3, 2), "right": (4, 6, 7, 5), "top": (0, 4, 5, 1), "bottom": (2, 3, 7, 6),
         "back": (0, 2, 6, 4), "front": (1, 5, 7, 3)}


def cube():
    """The cube itself: eight corners, twelve triangles, two a side in the order of `QUADS`."""
    faces = [triangle for a, b, c, d in QUADS.values() for triangle in ((a, b, c), (a, c, d))]
    return CORNERS.copy(), np.array(faces)


def polygon(count, radius=1.0, every_second=None):
    """(count, 2) corners (x, z) of a regular polygon, or of a star whose every second corner is
    closer to the middle."""
    angle = 2 * np.pi * (np.arange(count) + 0.5 * (count == 4)) / count
    radii = np.where(np.arange(count) % 2, every_second or radius, radius)
    return np.column_stack([radii * np.cos(angle), radii * np.sin(angle)])


def level(corners, y):
    """Corners (n, 2), (x, z), as points (n, 3) at height y."""
    return np.insert(corners, 1, y, axis=1)


def fan(ring, tip, upwards):
    """Triangles from every edge of a ring of vertex numbers to a tip, seen from above or below."""
    following = np.roll(ring, -1)
    edges = (ring, following) if upwards else (following, ring)
    return np.column_stack([*edges, np.full(len(ring), tip)])


def prism(corners):
    """A polygon (n, 2), seen from above, pulled up from y = 1 to y = -1."""
    n = len(corners)
    low, high = np.arange(n), np.arange(n, 2 * n)
    vertices = np.concatenate([level(corners, 1), level(corners, -1), [(0, 1, 0), (0, -1, 0)]])
    walls = [np.column_stack([low, np.roll(low, -1), high]),
             np.column_stack([np.roll(low, -1), np.roll(high, -1), high])]
    return vertices, np.concatenate([*walls, fan(low, 2 * n, False), fan(high, 2 * n + 1, True)])


def cone(corners):
    """A polygon (n, 2) at y = 1, seen from above, tapered to a point at y = -1."""
    n = len(corners)
    ring = np.arange(n)
    vertices = np.concatenate([level(corners, 1), [(0, 1, 0), (0, -1, 0)]])
    return vertices, np.concatenate([fan(ring, n, False), fan(ring, n + 1, True)])


def torus(around=SIDES, across=12, radius=0.68, tube=0.32):
    """A ring that lies flat on the floor."""
    a, b = np.meshgrid(2 * np.pi * np.arange(around) / around, 2 * np.pi * np.arange(across)
                       / across, indexing="ij")
    far = radius + tube * np.cos(b)
    vertices = np.stack([far * np.cos(a), 1 - tube + tube * np.sin(b), far * np.sin(a)], -1)
    number = np.arange(around * across).reshape(around, across)
    right, down = np.roll(number, -1, 0), np.roll(number, -1, 1)
    corner = np.roll(right, -1, 1)
    faces = [(number, down, right), (right, down, corner)]
    return vertices.reshape(-1, 3), np.concatenate([np.stack(f, -1).reshape(-1, 3) for f in faces])


def ball(subdivisions=2):
    """A sphere: an icosahedron whose triangles are divided into four, again and again."""
    golden = (1 + 5 ** 0.5) / 2
    v = [(s, t * golden, 0) for t in (1, -1) for s in (-1, 1)]
    v = np.array(v + [(0, *p[:2]) for p in v] + [(p[1], 0, p[0]) for p in v], float)
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    near = np.linalg.norm(v[:, None] - v, axis=2) < 1.2
    faces = [outwards(v, (i, j, k)) for i in range(12) for j in range(i) for k in range(j)
             if near[i, j] and near[j, k] and near[i, k]]
    faces = np.array(faces)
    for _ in range(subdivisions):
        v, faces = divide(v, faces)
    return v, faces


def outwards(vertices, face):
    """The face, turned so that its normal points away from the origin."""
    a, b, c = vertices[list(face)]
    return face if np.dot(np.cross(b - a, c - a), a) > 0 else face[::-1]


def divide(vertices, faces):
    """Every triangle of a sphere as four; the new vertices are pushed out onto the sphere."""
    edges = np.sort(faces[:, [(0, 1), (1, 2), (2, 0)]], axis=2).reshape(-1, 2)
    edges, where = np.unique(edges, axis=0, return_inverse=True)
    middles = vertices[edges].mean(1)
    middles /= np.linalg.norm(middles, axis=1, keepdims=True)
    ab, bc, ca = (len(vertices) + where.reshape(-1, 3)).T
    a, b, c = faces.T
    four = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    return np.concatenate([vertices, middles]), np.concatenate([np.stack(f, 1) for f in four])


SOLIDS = {
    "cube": cube(), "ball": ball(), "cylinder": prism(polygon(SIDES)),
    "cone": cone(polygon(SIDES)), "pyramid": cone(polygon(4, 2 ** 0.5)), "torus": torus(),
    "prism": prism(polygon(10, 1.0, 0.5)),
}


def normals(vertices, faces):
    """(F, 3) normals of the faces, pointing outwards, of length 1."""
    a, b, c = np.moveaxis(vertices[faces], 1, 0)
    across = np.cross(b - a, c - a)
    return across / np.linalg.norm(across, axis=1, keepdims=True)


def volume(vertices, faces):
    """The volume that a closed mesh encloses: the sum of the signed tetrahedra to the origin."""
    a, b, c = np.moveaxis(vertices[faces], 1, 0)
    return float((a * np.cross(b, c)).sum() / 6)


def voxels(vertices, faces, count, low, high):
    """Which cells of a grid lie inside a closed mesh: (count, count, count) bool, [x, y, z].

    low and high (3,): the corners of the grid. A cell is inside when its centre is: when a ray
    from it along z leaves the mesh through an odd number of faces.
    """
    low, high = np.asarray(low, float), np.asarray(high, float)
    x, y, z = (low + (high - low) * (np.arange(count)[:, None] + 0.5) / count).T
    # A ray through an edge would count twice; no vertex lies at such odd numbers.
    x, y = x + 1.37e-7 * (high - low)[0], y + 2.71e-7 * (high - low)[1]
    a, b, c = np.moveaxis(vertices[faces], 1, 0)
    ray = np.stack(np.meshgrid(x, y, indexing="ij"), -1)[:, :, None]        # (X, Y, 1, 2)
    weights = np.stack([cross2(c - b, ray - b[:, :2]), cross2(a - c, ray - c[:, :2]),
                        cross2(b - a, ray - a[:, :2])], -1)                 # (X, Y, F, 3)
    total = weights.sum(-1)
    hit = ((weights >= 0).all(-1) | (weights <= 0).all(-1)) & (total != 0)
    depth = (weights * vertices[faces][..., 2]).sum(-1) / np.where(total == 0, 1, total)
    beyond = hit[..., None] & (depth[..., None] > z)                       # (X, Y, F, Z)
    return beyond.sum(2) % 2 == 1


def cross2(edge, point):
    """The z component of the cross product of an edge (F, 3) and points (..., F, 2)."""
    return edge[:, 0] * point[..., 1] - edge[:, 1] * point[..., 0]
