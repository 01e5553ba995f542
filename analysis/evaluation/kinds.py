"""What a row of scores is, an estimate, short fine-tuning or a control, and the names that readers see."""

METRIC, TRAINING, CONTROL = "metric", "training", "control"  # values of the column `kind`
KINDS = (METRIC, TRAINING, CONTROL)  # in the order of tables
# Rung of a truth run -> share of the steps, cheapest first
_SHARES = {"eighth": "1/8", "quarter": "1/4", "half": "1/2"}
# Score of short fine-tuning -> the rung that it reads, and the share of the steps in words
RUNG_OF = {f"fine_tuning_{rung}": rung for rung in _SHARES}
STEPS_OF = {name: _SHARES[rung] for name, rung in RUNG_OF.items()}


def shown_name(metric: str) -> str:
    """The name of a metric, of short fine-tuning or of a control in tables and figures.

    Example:
        >>> shown_name("fine_tuning_eighth"), shown_name("logme")
        ('short fine-tuning, 1/8', 'logme')
    """
    return f"short fine-tuning, {STEPS_OF[metric]}" if metric in STEPS_OF else metric
