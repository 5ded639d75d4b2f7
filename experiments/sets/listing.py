"""What --registry_help prints: sets, data sets, parts and fields."""

from data import dataset as datasets
from experiments.build import components
from experiments.sets import fields, methods, registry, run_hparams


def describe() -> str:
    """All that --hparams_set, --problem and --hparams may name."""
    lines = ["Hparams sets (--hparams_set):"]
    for name in registry.set_names():
        lines.append(_line(name, registry.meaning(name)))
    lines += ["", "Data sets (--problem):"]
    for name in datasets.names():
        found = datasets.find(name)
        lines.append(_line(name, f"{found.kind}: {found.source}"))
    lines += ["", "Methods (--hparams=method=...), each a prior, posterior, objective:"]
    for name, parts in methods.METHODS.items():
        lines.append(_line(name, ", ".join(parts)))
    for role in components.ROLES:
        lines += ["", f"--hparams={role}=...:"]
        for name, part in components.every(role).items():
            kinds = "" if part.kinds == components.KINDS else f" ({part.kinds[0]})"
            lines.append(_line(name, part.meaning + kinds))
    for title, declared in _groups():
        lines += ["", f"Fields of {title}, for --hparams=name=value,name=value:"]
        lines += [_field(name, field) for name, field in declared.items()]
    return "\n".join(lines)


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


def _line(name, what):
    return f"  {name:<32} {what}"


def _field(name, field):
    what = field.meaning
    if field.choices:
        what += f" ({' | '.join(map(str, field.choices))})"
    return f"  {f'{name}: {field.type_name} = {field.default}':<44} {what}"
