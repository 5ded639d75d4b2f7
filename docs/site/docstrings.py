"""How the site reads this project's docstrings, as an extension of Griffe."""

import re
import textwrap

from griffe import Extension

# Sections as Keras names them, and what Griffe calls the same.
_SECTIONS = {
    "Call arguments": "Other Parameters: Call arguments",
    "Example": "Examples:",
    "References": "Note: References",
    "Shapes": "Note: Shapes",
}


_RETURNS = re.compile(r"^Returns:\n((?:[ ]+.*(?:\n|$))+)", re.M)


class Sections(Extension):
    """Turns this project's docstrings into those that Griffe reads."""

    def on_object(self, *, obj, **kwargs):
        """Called once for each class, function and attribute."""
        if obj.docstring:
            text = obj.docstring.value
            for name, known in _SECTIONS.items():
                text = re.sub(rf"^{name}:[ ]*$", known, text, flags=re.M)
            obj.docstring.value = _RETURNS.sub(_returns(obj.is_class), text)


def _returns(of_class):
    """Griffe takes what stands before a colon for a type, and wants one of a class."""

    def replaced(match):
        if of_class:
            return f"**Returns:**\n\n- {textwrap.dedent(match[1]).rstrip()}\n"
        return match[0].replace(": ", " - ", 1)

    return replaced
