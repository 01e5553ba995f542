"""The chance level of tied scores is above 0 for weighted Kendall, and 0 for Kendall."""

from analysis.simulation.tied_scores import TiedScores


def test_only_weighted_kendall_has_a_chance_level_above_0(run_short):
    rows = run_short(TiedScores([[6, 7]]), pools=4000)["groups of 6, 7"]
    plain, weighted = rows["kendall by chance"], rows["weighted_kendall by chance"]
    assert abs(plain.value) < 3 * plain.error  # swapping the groups changes its sign
    assert weighted.value > 3 * weighted.error
