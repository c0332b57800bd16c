"""What models put around an answer: thoughts, a sentence, a Markdown fence. Around one JSON object, that is no harm.

Which object is meant must leave no doubt. So the text around it may hold no bracket of JSON: no second object, and no
rest of a broken one.
"""

from __future__ import annotations

import json
import re

_THOUGHTS_BEGIN = re.compile(r"<(?:think|thinking|thought|reasoning)>", re.IGNORECASE)
_THOUGHTS_END = re.compile(r"</(?:think|thinking|thought|reasoning)>", re.IGNORECASE)
"""Some chat templates leave out where thoughts begin, none where they end."""
_BRACKETS = frozenset("{}[]")
_DECODER = json.JSONDecoder()


def bare_object(text: str) -> tuple[str, bool]:
    """Return the text of the one JSON object in an answer, and whether anything stood around it.

    Where there is no such object, the text comes back without thoughts and white space, for a reader to say why.
    """
    body = text.strip()
    if body.startswith("{"):
        rest, begin = body, 0
        if body.endswith("}"):
            return body, False
    else:
        rest = _THOUGHTS_END.split(body)[-1].strip()
        begin = rest.find("{")
    if begin < 0 or _THOUGHTS_BEGIN.match(rest) or not _BRACKETS.isdisjoint(rest[:begin]):
        return rest, False
    try:
        end = _DECODER.raw_decode(rest, begin)[1]
    except (ValueError, RecursionError):
        return rest[begin:], False
    if _BRACKETS.isdisjoint(rest[end:]):
        return rest[begin:end], True
    return rest[begin:], False
