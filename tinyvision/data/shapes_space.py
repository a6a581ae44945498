"""A camera, and drawing solids through it: projection, hidden surfaces, light and shadow.

World coordinates are KITTI's: x right, y down, z forward, in metres, and the floor is the plane
y = 0. A point X of the world lies at R X + t as the camera sees it, and at the pixel (u / w, v / w)
with (u, v, w) = K (R X + t).
"""
from dataclasses import dataclass

import numpy as np

from tinyvision.data.shapes_solids import normals
from tinyvision.kernel import jit

LIGHT = np.array([0.45, -0.75, -0.5]) / np.linalg.norm([0.45, -0.75, -0.5])     # towards the light
FINE = 2             # pictures are drawn this much larger and averaged, for smooth edges


@dataclass(frozen=True)
class Camera:
    """intrinsics K (3, 3) in pixels; extrinsics [R | t] (3, 4), from the world to the camera."""
    intrinsics: np.ndarray
    extrinsics: np.ndarray

    @property
    def place(self):
        """Where the camera is in the world, (3,)."""
        return -self.extrinsics[:, :3].T @ self.extrinsics[:, 3]

    def seen(self, points):
        """World points (..., 3) in the camera's coordinates: x right, y down, z its depth."""
        return points @ self.extrinsics[:, :3].T + self.extrinsics[:, 3]

    def project(self, points):
        """The pixels (..., 2) at which world points (..., 3) in front of the camera lie."""
        u = self.seen(points) @ self.intrinsics.T
        return u[..., :2] / u[..., 2:]

    def rays(self, pixels):
        """The directions (..., 3), in the world, of all that lies at pixels (..., 2)."""
        x = np.concatenate([pixels, np.ones((*pixels.shape[:-1], 1))], -1)
        return x @ np.linalg.inv(self.intrinsics).T @ self.extrinsics[:, :3]

    def frustum(self, box, near, far):
        """The eight world corners (8, 3) of all that a box (x0, y0, x1, y1) of the picture can
        show between two depths: the four near ones first."""
        x0, y0, x1, y1 = box
        rays = self.rays(np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], float))
        return np.concatenate([self.place + near * rays, self.place + far * rays])


def camera(size, height, pitch, field=np.pi / 3):
    """A camera for pictures of size x size pixels, `height` metres above the floor, looking along
    z and down by `pitch` radians; `field` is the angle that it sees."""
    focal = size / 2 / np.tan(field / 2)
    k = np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]])
    cos, sin = np.cos(pitch), np.sin(pitch)
    r = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    return Camera(k, np.column_stack([r, -r @ [0, -height, 0]]))


@dataclass(frozen=True)
class Solid:
    """An object in space: label from 0, name, vertices (V, 3) in the world, faces (F, 3), colours
    (F, 3), and its cuboid: centre (3,) and size (width, height, length) in metres, and yaw in
    radians about the vertical; at 0 the length lies along z, and a positive yaw turns z to x."""
    label: int
    name: str
    vertices: np.ndarray
    faces: np.ndarray
    colours: np.ndarray
    centre: tuple
    size: tuple
    yaw: float


@dataclass(frozen=True)
class Space:
    """A description. floor and sky: colours (r, g, b); tiles: how much the floor's tiles differ;
    noise: standard deviation of the pixel noise, with a seed of its own."""
    size: int
    camera: Camera
    solids: tuple
    floor: tuple
    sky: tuple
    tiles: float
    noise: float
    seed: int


# Drawing

def render_space(space):
    """The picture (3, size, size) float32 in [0, 1], and the map (size, size) int64 of visible
    solids: 0 is the floor or the sky, k + 1 is `space.solids[k]`."""
    size = space.size * FINE
    image = render_floor(space, size)
    for solid in space.solids:
        image[:, shadow(space, solid, size)] *= 0.72
    faces = nearest_faces(space, size)
    colours = np.concatenate([lit(solid) for solid in space.solids]).astype(np.float32)
    image[:, faces >= 0] = colours[faces[faces >= 0]].T
    image = image.reshape(3, space.size, FINE, space.size, FINE).mean((2, 4), dtype=np.float32)
    noise = np.random.default_rng(space.seed).standard_normal(image.shape, np.float32)
    return np.clip(image + np.float32(space.noise) * noise, 0, 1), visible_solids(space)


def visible_solids(space):
    """The map of visible solids: which one the ray through each pixel's centre meets first."""
    owner = np.repeat(np.arange(1, len(space.solids) + 1), [len(s.faces) for s in space.solids])
    return np.append(owner, 0)[nearest_faces(space, space.size)]


def nearest_faces(space, size):
    """(size, size): the number of the face seen at each pixel of a picture of that size, counted
    through all solids; -1 where there is none."""
    vertices = np.concatenate([s.vertices for s in space.solids])
    first = np.cumsum([0, *(len(s.vertices) for s in space.solids)])
    faces = np.concatenate([s.faces + k for s, k in zip(space.solids, first)])
    seen = space.camera.seen(vertices)
    towards = (normals(seen, faces) * seen[faces[:, 0]]).sum(1) < 0
    pixels = space.camera.project(vertices) * (size / space.size)
    found = rasterize(pixels, 1 / seen[:, 2], faces[towards], size)
    return np.append(np.flatnonzero(towards), -1)[found]


def rasterize(points, closeness, faces, size):
    """(size, size): the position in `faces` of the triangle seen at each pixel's centre, or -1.

    points (V, 2) in pixels; closeness (V,): 1 / depth, which, unlike depth, is linear on the
    picture; of several triangles the closest is seen.
    """
    seen, best = np.full((size, size), -1), np.full((size, size), -np.inf)
    corners = points[faces]                                                  # (F, 3, 2)
    first = np.maximum(0, np.floor(corners.min(1) - 0.5)).astype(int)
    last = np.minimum(size - 1, np.ceil(corners.max(1) - 0.5)).astype(int)
    extent = (last - first + 1).max(1)
    order = np.argsort(np.ceil(np.log2(np.maximum(extent, 1))), kind="stable")   # small ones first
    fill(corners, closeness[faces], first, last, order, seen, best)
    return seen


@jit
def fill(corners, closeness, first, last, order, seen, best):
    """Every triangle's pixels, where none before it is closer."""
    for f in order:
        (ax, ay), (bx, by), (cx, cy) = corners[f, 0], corners[f, 1], corners[f, 2]
        for y in range(first[f, 1], last[f, 1] + 1):
            for x in range(first[f, 0], last[f, 0] + 1):
                a = edge_side(bx, by, cx, cy, x, y)
                b = edge_side(cx, cy, ax, ay, x, y)
                c = edge_side(ax, ay, bx, by, x, y)
                area = a + b + c
                if area != 0 and ((a >= 0 and b >= 0 and c >= 0) or (a <= 0 and b <= 0 and c <= 0)):
                    close = (a / area * closeness[f, 0] + b / area * closeness[f, 1]
                             + c / area * closeness[f, 2])
                    if close >= best[y, x]:
                        best[y, x], seen[y, x] = close, f


@jit
def edge_side(ax, ay, bx, by, x, y):
    """On which side of the line from a to b the centre of pixel (x, y) lies: twice the signed area
    of the triangle that they make."""
    return (bx - ax) * (y + 0.5 - ay) - (by - ay) * (x + 0.5 - ax)


def lit(solid):
    """The colours (F, 3) of a solid's faces in the light."""
    facing = normals(solid.vertices, solid.faces) @ LIGHT
    return solid.colours * (0.55 + 0.45 * np.maximum(0, facing) + 0.1 * np.minimum(0, facing)
                            )[:, None]


def shadow(space, solid, size):
    """Where in a picture of that size a solid's shadow on the floor lies: (size, size) bool."""
    down = solid.vertices[:, 1] / LIGHT[1]
    fallen = solid.vertices - down[:, None] * LIGHT
    pixels = space.camera.project(fallen) * (size / space.size)
    return rasterize(pixels, np.ones(len(pixels)), solid.faces, size) >= 0


def render_floor(space, size):
    """The empty floor with its tiles of one metre, and the sky: (3, size, size) float32."""
    edge = (np.arange(size) + 0.5) * (space.size / size)
    pixels = np.stack(np.broadcast_arrays(edge, edge[:, None]), -1)
    rays = space.camera.rays(pixels)
    place, down = space.camera.place, rays[..., 1]
    way = -place[1] / np.maximum(down, 1e-3)
    x, z = place[0] + way * rays[..., 0], place[2] + way * rays[..., 2]
    # Far tiles are smaller than a pixel: they fade into their mean.
    tile = np.sign(np.sin(np.pi * x) * np.sin(np.pi * z)) * np.clip(4 / way - 0.3, 0, 1)
    floor = np.array(space.floor)[:, None, None] + space.tiles * tile
    sky = np.array(space.sky)[:, None, None] + 0.25 * np.clip(down, -1, 0) + 0.06
    return np.where(down > 0, floor, sky).astype(np.float32)
