"""The MONAI trainer: a source's weights fine-tuned on a target's labelled cases, measured on its test cases."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmark.data.case import Case
from benchmark.data.preparation import Preparation
from benchmark.data.task import Task
from benchmark.sources.budget import Budget
from benchmark.sources.model import Model
from benchmark.sources.transfer import transfer
from benchmark.training.dice import case_dice, mean_dice, predict
from benchmark.training.loop import train
from benchmark.training.resume import Keeper
from benchmark.training.trainer import Outcome
from benchmark.training.tune import freeze


@dataclass(frozen=True)
class MonaiTrainer:
    """How the truth is made.

    Attributes:
        tune: What is tuned: all, decoder, last or head.
        budget: Steps, batches and learning rate.
        window: (3,) voxels of the sliding window at inference.
        overlap: Share by which neighbouring windows overlap.
        keep_every: Seconds between two writes of a training's state.
    """

    tune: str
    budget: Budget
    window: tuple[int, int, int] = (32, 32, 32)
    overlap: float = 0.25
    keep_every: float = 60.0

    @property
    def steps(self) -> int:
        """How often `report` is called."""
        return self.budget.steps

    def fine_tune(
        self,
        model: Model,
        target: Task,
        preparation: Preparation,
        *,
        seed: int,
        device: str = "cpu",
        report: Callable[[int, float], None] = lambda step, loss: None,
        folder: Path | None = None,
    ) -> Outcome:
        """Fine-tune one source on one target with one seed; Dice is that of the last step.

        The seed decides the new head, the order of batches and the augmentation, alike for every source.

        Args:
            model: The source.
            target: The target; its split `train` is tuned on, `test` and `external` are measured.
            preparation: How its volumes become the network's input.
            seed: The fine-tuning seed.
            device: Where it runs.
            report: Called after each step with the step and the loss.
            folder: Where it keeps its state, to go on from there when it was stopped; None keeps none.
        """
        cases = target.cases("train", preparation)
        network = model.arch.build(channels=cases[0].image.shape[0], classes=target.classes, seed=seed, device=device)
        taken = transfer(network, model.weights, head=model.arch.head)
        freeze(network, model.arch, tune=self.tune)
        keeper = Keeper(folder / "training.pt", every=self.keep_every) if folder else None
        budget = replace(self.budget, patch=model.arch.fit(self.budget.patch))
        losses = train(network, cases, budget=budget, seed=seed, report=report, keeper=keeper)
        test = target.cases("test", preparation)
        window = model.arch.fit(self.window)
        logits = self._predict(network, test, window)
        dice = {case.name: case_dice(found, case.labels) for case, found in zip(test, logits, strict=True)}
        others = target.cases("external", preparation) if target.has("external") else []
        external = {
            case.name: case_dice(found, case.labels)
            for case, found in zip(others, self._predict(network, others, window), strict=True)
        }
        return Outcome(dice, external, losses, taken, _examples(test, logits, dice))

    def _predict(self, network: nn.Module, cases: Sequence[Case], window: Sequence[int]) -> list[Tensor]:
        return predict(network, cases, window=window, overlap=self.overlap)


def _examples(
    cases: Sequence[Case], logits: Sequence[Tensor], dice: Mapping[str, Sequence[float]]
) -> dict[str, tuple[Case, Tensor]]:
    order = sorted(range(len(cases)), key=lambda index: mean_dice([dice[cases[index].name]]))
    return {
        kind: (cases[index], logits[index].argmax(0).to(torch.uint8).cpu())
        for kind, index in (("worst", order[0]), ("best", order[-1]))
    }
