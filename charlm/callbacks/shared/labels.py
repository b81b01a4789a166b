"""Where to write labels so that none hides another. Dimension key: V points, K candidates, N boxes in the way."""

import numpy as np

_AROUND = np.array([(np.cos(angle), np.sin(angle)) for angle in np.arange(12) * np.pi / 6])
_MOVES = (0.0, 0.8, 1.8, 3.0)  # how far candidates are from the point, in half heights of the label


def place_labels(
    points: np.ndarray, sizes: np.ndarray, page: np.ndarray, gap: float | None, marker: float = 0.0
) -> np.ndarray:
    """Choose a place for each label, greedily: first those that find their first place free, then those that give way.

    Args:
        points: (V, 2), in units of the page such as typographic points.
        sizes: (V, 2), width and height of each label, in the same units.
        page: the lower left and upper right corner of the page, (2, 2), which no label may leave.
        gap: from the point to a label that stands beside it, first on the right; None: labels stand on their points.
        marker: width of the markers at all points, on which no label may stand.

    Returns:
        The centre of each label minus its point, (V, 2); nan where there is no room.
    """
    half = sizes / 2
    first = np.zeros_like(points) if gap is None else np.stack([half[:, 0] + gap, 0 * half[:, 1]], 1)
    centres, clear = points + first, np.full_like(points, marker / 2)
    at, taken = (points, clear) if marker else (points[:0], clear[:0])
    possible = _free(centres, half, page, at, taken)
    clashes = (np.abs(centres[:, None] - centres) < half[:, None] + half - 1e-9).all(-1)
    placed = np.zeros(len(points), bool)
    for row in possible.nonzero()[0]:
        placed[row] = not (clashes[row] & placed).any()
    found = np.where(placed[:, None], first, np.nan)
    at, taken = np.vstack([at, centres[placed]]), np.vstack([taken, half[placed]])
    for row in (~placed).nonzero()[0]:
        least = 2 * half[row] if gap is None else half[row] + gap
        offsets = np.concatenate([_AROUND * (least + half[row].min() * move) for move in _MOVES])
        free = _free(points[row] + offsets, half[row], page, at, taken)
        if free.any():
            found[row] = offsets[free.argmax()]
            at, taken = np.vstack([at, points[row] + found[row]]), np.vstack([taken, half[row]])
    return found


def _free(centres: np.ndarray, half: np.ndarray, page: np.ndarray, at: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """Whether a box at each of the centres (K, 2) is on the page, and apart from those at `at` (N, 2)."""
    inside = ((centres > page[0] + half) & (centres < page[1] - half)).all(-1)
    reach = np.broadcast_to(half, centres.shape)[:, None] + taken - 1e-9
    return np.asarray(inside & ~(np.abs(centres[:, None] - at) < reach).all(-1).any(-1))
