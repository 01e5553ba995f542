"""Turn citations into links."""

import re

from markupsafe import Markup, escape

CITED = re.compile(r"(?P<arxiv>arXiv[: ]\d{4}\.\d{4,5})|(?P<doi>doi[: ]10\.\d{4,}/[^\s;,]+[\w)])")


def linked(text: str) -> Markup:
    """Escape a text and turn its arXiv ids and DOIs into links.

    Args:
        text: Plain text.

    Returns:
        HTML.

    Example:
        >>> print(linked("Yang et al., arXiv 2307.11958, a < b"))
        Yang et al., <a href="https://arxiv.org/abs/2307.11958">arXiv 2307.11958</a>, a &lt; b
    """
    parts, start = [], 0
    for match in CITED.finditer(text):
        cited = match.group()
        site, identifier = ("https://arxiv.org/abs/", cited[6:]) if match["arxiv"] else ("https://doi.org/", cited[4:])
        link = Markup('<a href="{}">{}</a>').format(site + identifier, cited)
        parts += [escape(text[start : match.start()]), link]
        start = match.end()
    return Markup("").join([*parts, escape(text[start:])])
