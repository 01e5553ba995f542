"""Cases that are read when they are used, and which of them are kept."""

from dataclasses import replace

import torch

from benchmark.data.files.cases import Case, Cases
from benchmark.data.tasks.msd import MsdTask


def test_going_through_keeps_no_case_and_indexing_keeps_some(msd):
    cases = MsdTask(msd, test_share=0).cases("train")
    gone_through = list(cases)
    assert len(gone_through) == len(cases) == 5
    assert cases[1] is not gone_through[1]
    assert cases[1] is cases[1]
    assert cases[-1].name == cases[4].name
    assert [case.name for case in cases[:2]] == ["spleen_0", "spleen_1"]
    tight = Cases([lambda case=case: replace(case) for case in gone_through], place="folder", kept_gib=0.0)
    first = tight[2]
    assert tight[2] is first  # a case above the limit is kept alone
    assert tight[3] is not first
    assert tight[2] is not first


def test_a_part_of_the_cases_is_read_as_it_is_gone_through():
    read = []
    blank = Case("x", torch.zeros(1, 2, 2, 2), torch.ones(2, 2, 2, dtype=torch.uint8), (1.0, 1.0, 1.0))
    whole = Cases([lambda index=index: read.append(index) or blank for index in range(5)], place="folder")
    part = whole[1:4]
    assert (len(part), read) == (3, [])
    next(iter(part))
    assert read == [1]
    assert len(list(whole[:None])) == 5
