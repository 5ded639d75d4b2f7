"""What a data set is, so that every program takes it up by its name.

One file a data set: `data/NAME.py` ends in `DATASET = ImageDataset(...)` or
`DATASET = TextDataset(...)`. A module elsewhere hands its own to `add`. Nothing here,
and nothing at the top of those files, imports TensorFlow: programs read their flags
first.
"""

import dataclasses
import difflib
import importlib
import math
import pkgutil
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

import data
from data.images import splits
from data.reading import errors

_ADDED = {}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Option:
    """A choice that a data set leaves open; it becomes a hyper-parameter of a run.

    Attributes:
      name: str, an identifier such as "image_size".
      type: int, float, str or bool, of its values.
      default: a value of that type.
      meaning: str, for people.
      choices: tuple of the values there are; empty where any will do.
      shapes: bool, whether it changes the shapes of examples, so that a model of one
        value has no use for another.
    """

    name: str
    type: type
    default: Any
    meaning: str
    choices: tuple = ()
    shapes: bool = False

    def check(self, value: Any) -> Any:
        """`value`; a `DataError` unless it is one that the option can have."""
        if type(value) is not self.type:
            raise errors.DataError(
                f"`{self.name}` must be {self.type.__name__}. Received: {value!r}"
            )
        if self.choices and value not in self.choices:
            raise errors.DataError(
                f"`{self.name}` must be one of {', '.join(map(str, self.choices))}. "
                f"Received: {value!r}"
            )
        return value


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """What all data sets have; `ImageDataset` and `TextDataset` add their own.

    Attributes:
      name: str, that of its module.
      loader: function of `split` ("train" or "test") and the keywords `data_dir`,
        `tmp_dir`, `download` and the options, to what `load` returns.
      num_held_out: int, the training examples, the last ones, that are kept for
        evaluation without the test set.
      source: str, one line that says where the files come from.
      paper_split: str, one line: how the splits are those of papers, or are not.
      options: tuple of `Option`.
      derived: optional function of the options to a dict of the attributes that
        depend on them, such as `image_shape`.
      chosen: tuple of (name, value), the options that `configure` fixed.
    """

    name: str
    loader: Callable
    num_held_out: int
    source: str
    paper_split: str = ""
    options: tuple[Option, ...] = ()
    derived: Callable | None = None
    chosen: tuple = ()

    kind: ClassVar[str]

    @property
    def settings(self) -> dict:
        """All options: those that are fixed, and the others' defaults."""
        return {o.name: o.default for o in self.options} | dict(self.chosen)

    def configure(self, **options) -> "Dataset":
        """The data set with these options fixed.

        Args:
          **options: values of some of `options`, by name.
        """
        known = {option.name: option for option in self.options}
        for name in options:
            if name not in known:
                raise errors.DataError(
                    f"{self.name} has no option `{name}`{_near(name, known)} "
                    f"It has {_listed(known)}. Received: {name}={options[name]!r}"
                )
        settings = self.settings | {n: known[n].check(v) for n, v in options.items()}
        found = self.derived(**settings) if self.derived else {}
        return dataclasses.replace(self, chosen=tuple(settings.items()), **found)

    def load(
        self,
        split: str,
        data_dir: str | None = None,
        tmp_dir: str | None = None,
        download: bool = False,
    ) -> Any:
        """Reads a split, or finds where it is.

        Args:
          split: "train" or "test".
          data_dir: where the files are, for those that are not embedded.
          tmp_dir: where a download goes.
          download: whether to get what is not there.

        Returns:
          `images.splits.Split`, or what is used like one, or `text.corpora.Corpus`.
        """
        where = {"data_dir": data_dir, "tmp_dir": tmp_dir, "download": download}
        found = self.loader(split, **where, **self.settings)
        self._check(found)
        return found

    def _check(self, found):
        """Raises where what was loaded is not what this data set says."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageDataset(Dataset):
    """A data set of images.

    Attributes:
      image_shape: tuple (H, W, C).
      num_levels: int, values of a pixel's channel: 0 to `num_levels` - 1.
      class_names: tuple of str, the meaning of labels 0, 1, ...; empty where labels
        have none.
    """

    image_shape: tuple[int, int, int]
    num_levels: int = 256
    class_names: tuple[str, ...] = ()

    kind: ClassVar[str] = "images"

    @property
    def num_classes(self) -> int:
        """How many classes there are; 0 where labels mean nothing."""
        return len(self.class_names)

    @property
    def num_dims(self) -> int:
        """Predicted scalars of an image: H W C."""
        return math.prod(self.image_shape)

    def _check(self, found):
        shape = tuple(found.image.shape[1:])
        if shape != tuple(self.image_shape):
            raise errors.DataError(
                f"{found.name}: images must be {list(self.image_shape)}, as the data "
                f"set {self.name} says. Received: {list(shape)}"
            )
        if not isinstance(found, splits.Split):
            return  # A stream's images are not read before they are needed.
        ranges = [("image", self.num_levels)]
        if self.num_classes:
            ranges.append(("label", self.num_classes))
        for column, count in ranges:
            values = getattr(found, column)
            if np.min(values) < 0 or np.max(values) >= count:
                raise errors.DataError(
                    f"{found.name}: `{column}` must be 0 to {count - 1}. "
                    f"Received: {np.min(values)} to {np.max(values)}"
                )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextDataset(Dataset):
    """A data set of sentences: `load` gives a `text.corpora.Corpus`."""

    kind: ClassVar[str] = "text"


def find(name: str) -> Dataset:
    """The data set of a name: one that was added, or `DATASET` of `data/NAME.py`."""
    if name in _ADDED:
        return _ADDED[name]
    known = names()
    if name not in known:
        raise errors.DataError(
            f"There is no data set of that name{_near(name, known)} "
            f"There are {_listed(known)}. Received: {name!r}"
        )
    found = getattr(importlib.import_module(f"data.{name}"), "DATASET", None)
    if not isinstance(found, Dataset) or found.name != name:
        raise errors.DataError(
            f"data/{name}.py must end in `DATASET = ...`, an ImageDataset or a "
            f"TextDataset with name={name!r}. Received: {found!r}"
        )
    return found


def names(kind: str | None = None) -> tuple[str, ...]:
    """The names of all data sets, sorted.

    Args:
      kind: "images" or "text", to have those alone; this imports their modules.
    """
    if kind not in (None, "images", "text"):
        raise errors.DataError(f"`kind` must be 'images' or 'text'. Received: {kind!r}")
    files = (m.name for m in pkgutil.iter_modules(data.__path__) if not m.ispkg)
    found = {n for n in files if n != "dataset" and not n.startswith("_")}
    found = sorted(found | _ADDED.keys())
    return tuple(n for n in found if kind is None or find(n).kind == kind)


def add(dataset: Dataset) -> Dataset:
    """Makes a data set of a module elsewhere known under its name, and returns it."""
    if not isinstance(dataset, Dataset):
        raise errors.DataError(
            "A data set must be an ImageDataset or a TextDataset. "
            f"Received: {dataset!r}"
        )
    if not dataset.name.isidentifier():
        raise errors.DataError(
            "A data set's name must be letters, digits and '_'. "
            f"Received: {dataset.name!r}"
        )
    if _ADDED.get(dataset.name) != dataset and dataset.name in names():
        raise errors.DataError(
            f"There is a data set of that name already; take another. "
            f"Received: {dataset.name!r}"
        )
    _ADDED[dataset.name] = dataset
    return dataset


def check_split(split: str, known: tuple[str, ...] = ("train", "test")) -> None:
    """Raises a `DataError` unless `split` is one of these names."""
    if split not in known:
        raise errors.DataError(
            f"`split` must be {' or '.join(map(repr, known))}. Received: {split}"
        )


def _near(name, known):
    """ "; did you mean 'x'?" with the nearest known name, or a full stop."""
    found = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {found[0]!r}?" if found else "."


def _listed(names_):
    return ", ".join(names_) or "none"
