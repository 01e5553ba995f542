"""A template of the three CSV files that the audit reads; the numbers are made for illustration."""

from pathlib import Path

from benchmark.jobs.terminal import wide_console
from benchmark.storage.files import write_text

# source -> architecture, parameters, pretrained, and its general quality in Dice
SOURCES = {
    "brain unet": ("unet", 22_400_000, "true", 0.05),
    "heart unet": ("unet", 22_400_000, "true", 0.02),
    "lung unet": ("unet", 22_400_000, "true", 0.00),
    "scratch unet": ("unet", 22_400_000, "false", -0.06),
    "brain vit": ("vit", 115_400_000, "true", 0.03),
    "heart vit": ("vit", 115_400_000, "true", -0.01),
    "scratch vit": ("vit", 115_400_000, "false", -0.09),
}
# target -> its group, its level in Dice
TARGETS = {"liver": ("abdomen", 0.80), "spleen": ("abdomen", 0.84), "prostate": ("pelvis", 0.70)}
SEEDS = (0, 1)
FILES = ("truth.csv", "estimates.csv", "sources.csv")


def write_example(folder: Path) -> tuple[Path, ...]:
    """Write truth.csv, estimates.csv and sources.csv; return their paths, in this order."""
    truth, estimates = ["source,target,seed,group,dice"], ["source,target,metric,score"]
    sources = ["source,architecture,parameters,pretrained"]
    for place, (source, (arch, parameters, pretrained, quality)) in enumerate(SOURCES.items()):
        sources.append(f"{source},{arch},{parameters},{pretrained}")
        for column, (target, (group, level)) in enumerate(TARGETS.items()):
            own = 0.01 * ((3 * place + 2 * column) % 5 - 2)  # of this pair
            for seed in SEEDS:
                dice = level + quality + own + 0.004 * ((place + column + seed) % 3 - 1)
                truth.append(f"{source},{target},{seed},{group},{dice:.3f}")
            estimates.append(f"{source},{target},my_estimate,{10 * (quality + own) + 0.1 * ((place + column) % 4):.2f}")
            estimates.append(f"{source},{target},another,{-place - 0.5 * ((place * column) % 3):.1f}")
    folder.mkdir(parents=True, exist_ok=True)
    paths = tuple(folder / name for name in FILES)
    for path, lines in zip(paths, (truth, estimates, sources), strict=True):
        write_text(path, "\n".join(lines) + "\n")
    return paths


def show_example(paths: tuple[Path, ...]) -> None:
    """Print the command that reads the files."""
    console = wide_console()
    truth, estimates, sources = paths
    for path in paths:
        console.print(f"written: {path}", highlight=False, soft_wrap=True)
    command = f"python -m analysis.audit table={truth} estimates={estimates} sources={sources}"
    console.print(f"run: {command}", highlight=False, soft_wrap=True)
