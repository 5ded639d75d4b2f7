"""How the site reads this project's docstrings, as an extension of Griffe."""

import re

from griffe import Extension

# Sections as Keras names them, and what Griffe calls the same.
_SECTIONS = {
    "Call arguments": "Other Parameters: Call arguments",
    "Example": "Examples:",
    "References": "Note: References",
    "Shapes": "Note: Shapes",
}


class Sections(Extension):
    """Turns this project's docstrings into those that Griffe reads."""

    def on_object(self, *, obj, **kwargs):
        """Called once for each class, function and attribute."""
        if obj.docstring:
            text = obj.docstring.value
            for name, known in _SECTIONS.items():
                text = re.sub(rf"^{name}:\s*$", known, text, flags=re.M)
            # Griffe takes what stands before a colon for a type.
            text = re.sub(r"^(Returns:\n[^:\n]*): ", r"\1 - ", text, flags=re.M)
            obj.docstring.value = text
