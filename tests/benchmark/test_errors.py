"""Messages of errors on one line."""

from benchmark.errors import LONGEST, InputError, one_line, with_class


def test_a_message_becomes_one_line():
    assert one_line(ValueError("a\n\n  b   c\n")) == "a; b c"
    assert one_line(ValueError()) == "ValueError"


def test_a_reason_that_is_empty_is_the_class_of_its_error():
    error = InputError(f"cannot read a.pt: {AssertionError()}")
    error.__cause__ = AssertionError()
    assert str(error) == one_line(error) == "cannot read a.pt: AssertionError"
    assert one_line(ValueError("cannot read a.pt: ")) == "cannot read a.pt: ValueError"
    assert one_line(RuntimeError("problem in a - KeyError: ")) == "problem in a - KeyError"
    assert one_line(RuntimeError("In UNet:\n\tMissing a.\n\tMissing b.")) == "In UNet: Missing a.; Missing b."
    assert (with_class(RuntimeError()), with_class(RuntimeError("no"))) == ("RuntimeError", "RuntimeError: no")


def test_another_library_s_message_is_cut_and_our_own_is_whole():
    assert len(one_line(ValueError("x" * 2000))) == LONGEST
    assert len(one_line(ValueError("x" * 2000), longest=None)) == 2000
    assert len(one_line(InputError("x" * 2000))) == 2000
