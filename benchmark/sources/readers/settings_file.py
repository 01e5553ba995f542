"""The settings of a source that its user writes: a yaml with the stem of the weights file, or an entry of sources.yaml.

    unet.yaml                      sources.yaml
      prefix: student.               unet.pt: {prefix: student., spacing: [1, 1, 2]}
      spacing: [1, 1, 2]             best.ckpt: {network: UNet, settings: {...}}

A yaml of the same stem may be another program's, such as a training's config: one with more fields of other names than
of these is not used, which a note says. Nothing in such a file is evaluated unless the user trusts it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any, cast

import yaml
from hydra.utils import instantiate
from omegaconf import OmegaConf

from benchmark.data.preprocessing.normalise import ChannelSchemes, Normalisation, Scheme
from benchmark.errors import InputError, listed, one_line
from benchmark.sources.readers.settings_fields import FIELDS
from benchmark.sources.weights.safe_load import SUFFIXES

FOLDER_FILE = "sources.yaml"
ENDINGS = (".yaml", ".yml")
MISNAMED = ("sources.yml", "Sources.yaml", "sources.YAML", "source.yaml")  # taken for FOLDER_FILE
INDEX = ".index.json"  # of weights in several files, which take the settings of the whole
ADVICE = "python -m benchmark.inspect --schema lists the fields"
LARGEST, MOST, DEEPEST = 1 << 20, 10_000, 20  # bytes, values and levels; a file of settings has some hundred bytes
TAGGED = "it has tags that name classes, which are not created"
TAGS = "could not determine a constructor for the tag"  # PyYAML's words for a tag that names a class
CLOSE = 0.8  # similarity from which a field is taken for a misspelt one
Intensities = Normalisation | ChannelSchemes


@dataclass(frozen=True)
class GivenSettings:
    """The settings of a weights file, checked.

    Attributes:
        where: The file, and in sources.yaml the entry, for notes and errors.
        values: Field -> value; empty if the file is another program's.
        note: Why the file is not used; empty if it is.
    """

    where: str
    values: Mapping[str, Any]
    note: str = ""

    @property
    def title(self) -> str:
        """The name of the file without its folder, and the entry."""
        return Path(self.where).name if self.where.endswith(ENDINGS) else self.where.rpartition("/")[2]

    def error(self, field: str, problem: str) -> InputError:
        """The error for a field that cannot be used."""
        return InputError(f"{self.where}: `{field}` {problem}; {ADVICE}")

    @property
    def intensities(self) -> Intensities | None:
        """How intensities are normalised; None if not given."""
        value = self.values.get("intensities")
        if value is None or value == "zscore":
            return None if value is None else Normalisation()
        if isinstance(value, dict):
            low, high = value["window"]
            return Normalisation((float(low), float(high)))
        try:
            return ChannelSchemes(tuple(Scheme(**scheme) for scheme in value))
        except (TypeError, InputError) as error:
            raise self.error("intensities", f"has a scheme that cannot be used: {one_line(error)}") from error


def has_settings(file: Path, folder: Path | None = None) -> bool:
    """Whether settings are written for a weights file, be they right or wrong; arguments as in `given_settings`."""
    try:
        has_own = bool(_own_files(file)) or file.name in _entries(file.parent / FOLDER_FILE)
    except InputError:
        return True  # reading it reports the reason
    return has_own or _misnamed(file, folder) is not None


def given_settings(file: Path, folder: Path | None = None, *, trust: bool = False) -> GivenSettings | None:
    """Read and check the settings of a weights file; None if there are none.

    Args:
        file: The weights file.
        folder: The results folder or bundle with it; None: it stands for itself.
        trust: Evaluate interpolations and objects in it.

    Raises:
        InputError: A field is unknown or of a wrong type, several files have settings, or trust would be needed.
    """
    own, entries = _own_files(file), _entries(file.parent / FOLDER_FILE)
    listing = f"{file.parent / FOLDER_FILE}: {file.name}"
    places = [*map(str, own), *([listing] if file.name in entries else [])]
    if len(places) > 1:
        raise InputError(f"{file} has settings in {' and in '.join(places)}; keep one of them")
    if not places:
        misnamed = _misnamed(file, folder)
        way_out = f"settings of {file.name} are read from {settings_path(file).name} or {FOLDER_FILE} in its folder"
        return GivenSettings(str(misnamed), {}, f"{misnamed} is not used: {way_out}") if misnamed else None
    where = places[0]
    content = entries[file.name] if where == listing else _read(own[0], file)
    if content is None or content == {}:
        return GivenSettings(where, {}, f"{where} is not used: it is empty")
    if where != listing and (note := _of_another_program(content)):
        return GivenSettings(where, {}, f"{where} is not used: {note}; {ADVICE}")
    return GivenSettings(where, _checked(content, where, trust=trust))


def misplaced_entry(path: Path) -> str | None:
    """Why an entry of a sources.yaml has no weights file; None if all have one.

    Raises:
        InputError: The file is unreadable.
    """
    names = [str(name) for name in _entries(path)]
    wrong = [name for name in names if Path(name).name != name or not (path.parent / name).is_file()]
    wrong = wrong or [name for name in names if not _is_weights(name)]
    if not wrong:
        return None
    here = sorted(file.name for file in path.parent.iterdir() if file.suffix in SUFFIXES)
    close = get_close_matches(wrong[0], here, n=1)
    advice = f"did you mean {close[0]}" if close else f"its weights files are {listed(here)}"
    return f"the entry {wrong[0]!r} must be the name of a weights file in the same folder; {advice}"


def settings_path(file: Path) -> Path:
    """The yaml of the same stem as a weights file; of weights in several files, the stem of the whole."""
    stem = file.name.partition(".")[0] if file.name.endswith(INDEX) else file.stem
    return file.with_name(f"{stem}{ENDINGS[0]}")


def _own_files(file: Path) -> list[Path]:
    paths = (settings_path(file).with_suffix(end) for end in ENDINGS)
    return [path for path in paths if path.name != FOLDER_FILE and path.is_file()]


def _misnamed(file: Path, folder: Path | None) -> Path | None:
    """A file that looks like settings of a weights file and has another name or place."""
    whole = settings_path(file)
    names = [name for end in ENDINGS for name in (whole.with_suffix(end.upper()), whole.with_name(f"{file.name}{end}"))]
    if folder is not None and folder != file:
        names += [place / f"{folder.name}{end}" for place in (folder.parent, folder) for end in ENDINGS]
    listings = [file.with_name(name) for name in MISNAMED]
    listings += [folder / FOLDER_FILE] if folder is not None and folder not in (file, file.parent) else []
    own = (file.name, file.stem)
    return next((path for path in names if path.is_file()), None) or next(
        (path for path in listings if path.is_file() and any(name in own for name in _names_in(path))), None
    )


def _names_in(path: Path) -> list[str]:
    try:
        content = _parsed(path, path.stat().st_mtime_ns, path.stat().st_size)
    except InputError:
        return []
    return [str(name) for name in content] if isinstance(content, dict) else []


def _entries(path: Path) -> Mapping[str, Any]:
    """The entries of a sources.yaml; none if there is no such file, or it is another program's."""
    if not path.is_file():
        return {}
    state = path.stat()
    content = _parsed(path, state.st_mtime_ns, state.st_size)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InputError(f"{path} must map names of weights files to their settings, got {_kind(content)}; {ADVICE}")
    is_ours = any(_is_weights(str(name)) or _is_entry(value) for name, value in content.items())
    return {str(name): value for name, value in content.items()} if is_ours else {}


def _is_entry(value: object) -> bool:
    """Whether a value is that of an entry, or a mapping of entries, whose name is wrong."""
    if not isinstance(value, dict) or not value:
        return False
    return not _of_another_program(value) or any(_is_weights(str(name)) for name in value)


def _is_weights(name: str) -> bool:
    return Path(name).suffix in SUFFIXES or name.endswith(INDEX)


def _read(path: Path, file: Path) -> Any:
    state = path.stat()
    try:
        return _parsed(path, state.st_mtime_ns, state.st_size)
    except InputError as error:
        if TAGS in str(error):
            return TAGGED
        raise InputError(f"{error}; it is read as the settings of {file.name}: correct or rename it") from error


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which refuses a key that is given twice and reads 1e-5 as a number."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := next((key for key in keys if keys.count(key) > 1), None):
            raise yaml.constructor.ConstructorError(None, None, f"{twice!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


@lru_cache(maxsize=64)
def _parsed(path: Path, changed: int, size: int) -> Any:  # another time of change, another content
    if size > LARGEST:
        raise InputError(f"{path} is too large for a file of settings")
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)  # a subclass of SafeLoader
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise InputError(f"cannot read {path} as YAML: {line}{error.problem}") from error
    except (OSError, ValueError, yaml.YAMLError, RecursionError, TypeError) as error:
        raise InputError(f"cannot read {path} as YAML: {one_line(error)}") from error


def _of_another_program(content: Any) -> str:
    """Why a yaml is not taken for settings of a source; empty if it is."""
    if not isinstance(content, dict):
        return content if content is TAGGED else f"it is {_kind(content)}, not a mapping"
    names = [str(name) for name in content]
    meant = [name for name in names if name in FIELDS or get_close_matches(name, FIELDS, 1, CLOSE)]
    foreign = [name for name in names if name not in meant]
    return f"its fields {listed(foreign)} are not those of a source" if len(foreign) > len(meant) else ""


def _checked(content: Any, where: str, *, trust: bool) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise InputError(f"{where} must be a mapping of fields to values, got {_kind(content)}; {ADVICE}")
    for name in content:
        if name not in FIELDS:
            close = get_close_matches(str(name), FIELDS, 1)
            meant = f"did you mean `{close[0]}`" if close else f"known are {', '.join(FIELDS)}"
            raise InputError(f"{where}: unknown field `{name}`; {meant}; {ADVICE}")
    if trust:
        content = _evaluated(content, where)
    else:
        _check_plain(content, where, count())
    values = {name: value for name, value in content.items() if value is not None}
    given = GivenSettings(where, values)
    for name, value in values.items():
        if not FIELDS[name].suits(value):
            raise given.error(name, f"must be {FIELDS[name].kind}, such as {FIELDS[name].example}, got {value!r}")
    if "network" in values and "factory" in values:
        raise given.error("network", "and `factory` are both given; keep one of them")
    if "factory" in values and not trust:
        raise given.error("factory", f"runs the code of {values['factory']}, which needs trust=true")
    if values.get("fixed") and "patch" not in values:
        raise given.error("fixed", "needs `patch`")
    given.intensities  # noqa: B018 - reading it checks the schemes
    return values


def _evaluated(content: dict[str, Any], where: str) -> dict[str, Any]:
    """The content with interpolations resolved and objects created, for a file that the user trusts."""
    try:
        node = OmegaConf.create(content)
        OmegaConf.resolve(node)
        return cast("dict[str, Any]", instantiate(node, _convert_="all"))
    except Exception as error:  # whatever the file's own objects raise
        raise InputError(f"cannot evaluate {where}: {one_line(error)}") from error


def _check_plain(value: Any, where: str, number: Iterator[int], *, levels: int = 0) -> None:
    """Refuse expressions and objects, and what references of the YAML make too large or endless."""
    if levels > DEEPEST or next(number) > MOST:
        raise InputError(f"{where} is too large or too deep for a file of settings")
    if isinstance(value, dict) and "_target_" in value:
        raise InputError(f"{where} must be a plain value, got an object of {value['_target_']}; trust=true creates it")
    if isinstance(value, str) and "${" in value:
        raise InputError(f"{where} must be a plain value, got {value}; trust=true evaluates it")
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in pairs:
        _check_plain(inner, f"{where}{'.' if levels else ': '}{name}", number, levels=levels + 1)


def _kind(content: object) -> str:
    names = {list: "a list", str: "a text", dict: "a mapping", type(None): "nothing"}
    return names.get(type(content), f"{content!r}")
