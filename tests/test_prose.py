"""Phrases that readers stumbled over are nowhere in the project."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
READ = ("benchmark", "baselines", "analysis", "conf", "docs", "tests", ".ci")
FILES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile", "mkdocs.yml", "pyproject.toml")
SUFFIXES = {".py", ".md", ".yaml", ".yml", ".j2", ".toml", ".js", ".css", ""}
NEVER = (
    "must be there", "which it does not", "which is none", "got none that", "hang on", "hangs on", "made-up", "luck of",
    "is told", "tells of", "a line a", "came to nothing",
)  # fmt: skip
PATTERN = re.compile(r"\b(" + "|".join(phrase.replace(" ", r"\s+") for phrase in NEVER) + r")\b", re.IGNORECASE)


def offences(root):
    paths = [path for folder in READ for path in sorted((root / folder).rglob("*")) if "golden" not in path.parts]
    found = []
    for path in [*paths, *(root / name for name in FILES)]:
        if path.is_file() and path.suffix in SUFFIXES and path.name != Path(__file__).name:
            text = path.read_text(encoding="utf-8", errors="ignore")
            for match in PATTERN.finditer(text):
                line = text.count("\n", 0, match.start()) + 1
                found.append(f"{path.relative_to(root)}:{line}: {' '.join(match[0].split())}")
    return found


def test_no_such_phrase_is_left():
    assert offences(ROOT) == []


@pytest.mark.parametrize("phrase", NEVER)
def test_a_phrase_is_found_even_across_lines(phrase, tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page.md").write_text("One.\nIt " + phrase.replace(" ", "\n") + " here.\n", encoding="utf-8")
    assert offences(tmp_path) == [f"docs/page.md:2: {phrase}"]
