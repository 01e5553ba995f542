"""Messages of errors on one line."""

from benchmark.errors import LONGEST, InputError, one_line


def test_a_message_becomes_one_line():
    assert one_line(ValueError("a\n\n  b   c\n")) == "a; b c"
    assert one_line(ValueError()) == "ValueError"


def test_another_library_s_message_is_cut_and_our_own_is_whole():
    assert len(one_line(ValueError("x" * 2000))) == LONGEST
    assert len(one_line(ValueError("x" * 2000), longest=None)) == 2000
    assert len(one_line(InputError("x" * 2000))) == 2000
