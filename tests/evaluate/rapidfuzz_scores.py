"""Scores pairs of texts as the backend's fuzzy matcher does, with the library that it uses.

Reads a JSON list of [query, name] from standard input, and writes a JSON list of scores: the backend's, the weighted
ratio of the texts in lower case, and those by each metric that can be set, with dashes as spaces and as they are.
"""

import json
import re
import sys

from rapidfuzz import fuzz


def plain(text, dashes_are_spaces=True):
    text = text.strip().lower()
    text = re.sub(r"[-–—_/]", " ", text) if dashes_are_spaces else text
    return re.sub(r"\s+", " ", text).strip()


def by_length(query, name):
    if " " in query or len(query) > 10:
        return fuzz.token_sort_ratio(query, name)
    return fuzz.ratio(query, name)


def scores(query, name):
    yield by_length(plain(query), plain(name))
    yield fuzz.WRatio(query.lower(), name.lower())
    for dashes_are_spaces in [True, False]:
        one, other = plain(query, dashes_are_spaces), plain(name, dashes_are_spaces)
        for metric in [by_length, fuzz.ratio, fuzz.token_sort_ratio, fuzz.WRatio]:
            yield metric(one, other)


json.dump([list(scores(query, name)) for query, name in json.load(sys.stdin)], sys.stdout)
