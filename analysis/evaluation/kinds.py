"""What a row of scores is, an estimate, short fine-tuning or a control, and the names that readers see."""

METRIC, TRAINING, CONTROL = "metric", "training", "control"  # values of the column `kind`
KINDS = (METRIC, TRAINING, CONTROL)  # in the order of tables
# Score of short fine-tuning -> the rung of the truth run that it reads, cheapest first
RUNG_OF = {"fine_tuning_eighth": "eighth", "fine_tuning_quarter": "quarter", "fine_tuning_half": "half"}
STEPS_OF = {"fine_tuning_eighth": "1/8", "fine_tuning_quarter": "1/4", "fine_tuning_half": "1/2"}  # share of the steps


def shown_name(metric: str) -> str:
    """The name of a metric, of short fine-tuning or of a control in tables and figures.

    Example:
        >>> shown_name("fine_tuning_eighth"), shown_name("logme")
        ('short fine-tuning, 1/8', 'logme')
    """
    return f"short fine-tuning, {STEPS_OF[metric]}" if metric in STEPS_OF else metric
