"""Scores pairs of texts as the backend's fuzzy matcher does, with the library that it uses.

Reads a JSON list of [query, name] from standard input, and writes a JSON list of [score, weighted ratio].
"""

import json
import re
import sys

from rapidfuzz import fuzz


def plain(text):
    return re.sub(r"\s+", " ", re.sub(r"[-–—_/]", " ", text.strip().lower())).strip()


def score(query, name):
    query, name = plain(query), plain(name)
    if " " in query or len(query) > 10:
        return fuzz.token_sort_ratio(query, name)
    return fuzz.ratio(query, name)


json.dump(
    [[score(query, name), fuzz.WRatio(query.lower(), name.lower())] for query, name in json.load(sys.stdin)], sys.stdout
)
