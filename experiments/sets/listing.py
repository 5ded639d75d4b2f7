"""What --registry_help prints: sets, data sets, parts and fields."""

from data import dataset as datasets
from experiments.build import components
from experiments.sets import fields, methods, registry, run_hparams


def describe() -> list[tuple[str, list[tuple[str, str]]]]:
    """All that --hparams_set, --problem and --hparams may name: for each title, names
    and what they mean.
    """
    sets = [(name, registry.meaning(name)) for name in registry.set_names()]
    found = [("Hparams sets (--hparams_set):", sets)]
    sources = {name: datasets.find(name) for name in datasets.names()}
    data = [
        (name, f"{source.kind}: {source.source}") for name, source in sources.items()
    ]
    found.append(("Data sets (--problem):", data))
    combined = [(name, ", ".join(parts)) for name, parts in methods.METHODS.items()]
    title = "Methods (--hparams=method=...), each a prior, posterior, objective:"
    found.append((title, combined))
    for role in components.ROLES:
        parts = components.every(role).items()
        found.append((f"--hparams={role}=...:", [(k, _part(v)) for k, v in parts]))
    for title, declared in _groups():
        title = f"Fields of {title}, for --hparams=name=value,name=value:"
        found.append((title, [_field(*item) for item in declared.items()]))
    return found


def _groups():
    """(title, {name: `Field`}) of each place where fields are declared, once each."""
    yield "every run", fields.COMMON
    for kind in components.KINDS:
        if run_hparams.kind_fields(kind):
            yield f"runs on {kind}", run_hparams.kind_fields(kind)
    shown = set()
    for role in components.ROLES:
        for part in components.every(role).values():
            new = {k: v for k, v in part.fields.items() if k not in shown}
            if new:
                yield f"{role}={part.name}", new
            shown |= new.keys()
    for name in datasets.names():
        options = datasets.find(name).options
        if options:
            yield (
                f"problem={name}",
                {o.name: run_hparams.option_field(o) for o in options},
            )


def _part(part):
    only = "" if part.kinds == components.KINDS else f" ({part.kinds[0]})"
    return part.meaning + only


def _field(name, field):
    what = field.meaning
    if field.choices:
        what += f" ({' | '.join(map(str, field.choices))})"
    return f"{name}: {field.type_name} = {field.default}", what
