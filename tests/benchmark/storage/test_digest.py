"""Digests of files: contents and names count, order and place do not."""

import shutil

import pytest

from benchmark.errors import InputError
from benchmark.storage.digest import files_digest


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / name for name in ("a.txt", "b.txt")]
    for path in paths:
        path.write_text(path.name)
    return paths


def test_order_and_place_do_not_matter(files, tmp_path):
    (tmp_path / "moved").mkdir()
    moved = [tmp_path / "moved" / path.name for path in files]
    for old, new in zip(files, moved, strict=True):
        shutil.copy(old, new)
    assert files_digest(files) == files_digest(reversed(files)) == files_digest(moved)


def test_contents_and_names_matter(files, tmp_path):
    before = files_digest(files)
    files[0].write_text("other")
    assert files_digest(files) != before
    files[0].write_text("a.txt")
    assert files_digest(files) == before
    renamed = files[0].rename(tmp_path / "c.txt")
    assert files_digest([renamed, files[1]]) != before


def test_a_missing_file_is_named(files, tmp_path):
    with pytest.raises(InputError, match=r"nothing\.txt not found"):
        files_digest([*files, tmp_path / "nothing.txt"])
