"""Where sentences begin and end, against plain Python loops."""

import numpy as np

from deltavae_tf import segments


def by_hand(row):
    """[(segment, position)] of a row."""
    found, segment, position = [], 1, 0
    for token in row:
        if token == 0:
            found.append((0, None))
            continue
        found.append((segment, position))
        segment, position = (segment + 1, 0) if token == 1 else (segment, position + 1)
    return found


def test_ids_positions_ends_and_masks():
    rng = np.random.default_rng(0)
    rows = rng.choice([1, 5, 6], size=(20, 13), p=[0.3, 0.4, 0.3])
    for i, row in enumerate(rows):
        row[len(row) - i % 5 :] = 0
    ids = segments.segment_ids(rows)
    past, future = (np.array(segments.attention_mask(ids, f)) for f in (False, True))
    first, last = np.array(segments.is_first(ids)), np.array(segments.is_last(ids))
    places, ids = np.array(segments.positions(ids)), np.array(ids)
    for r, row in enumerate(rows):
        told = by_hand(row)
        for i, (segment, position) in enumerate(told):
            assert ids[r, i] == segment
            if segment:
                assert places[r, i] == position
                assert first[r, i] == (position == 0)
                following = told[i + 1][0] if i + 1 < len(told) else None
                assert last[r, i] == (following != segment)
            for j, (other, _) in enumerate(told):
                assert past[r, i, j] == (other == segment and j <= i)
                assert future[r, i, j] == (other == segment and j >= i)
