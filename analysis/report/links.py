"""Citations as links; a page that is only read asks for none of them."""

import re

from markupsafe import Markup, escape

CITED = re.compile(r"(?P<arxiv>arXiv[: ]\d{4}\.\d{4,5})|(?P<doi>doi[: ]10\.\d{4,}/[^\s;,]+[\w)])")


def linked(text: str) -> Markup:
    """The text, escaped, its arXiv ids and DOIs as links.

    Args:
        text: Plain text.

    Returns:
        HTML.

    Example:
        >>> print(linked("Yang et al., arXiv 2307.11958, a < b"))
        Yang et al., <a href="https://arxiv.org/abs/2307.11958">arXiv 2307.11958</a>, a &lt; b
    """
    parts, start = [], 0
    for found in CITED.finditer(text):
        place = found.group()
        kind, identifier = ("https://arxiv.org/abs/", place[6:]) if found["arxiv"] else ("https://doi.org/", place[4:])
        link = Markup('<a href="{}">{}</a>').format(kind + identifier, place)
        parts += [escape(text[start : found.start()]), link]
        start = found.end()
    return Markup("").join([*parts, escape(text[start:])])
