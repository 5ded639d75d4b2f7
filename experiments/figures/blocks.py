"""Generated blocks of Markdown, between marks of a file."""

import re

from deltavae_tf.errors import UserError
from experiments import flags

RESULTS_DIR = flags.define_path(
    "results_dir", "experiments/results", "The folder of JSON files."
)
MARKDOWN = flags.define_path("markdown", None, "The file to put blocks into.")


def show(blocks: dict[str, str]) -> None:
    """Puts the blocks into the file that --markdown names, or prints them."""
    if MARKDOWN.value:
        replace(MARKDOWN.value, blocks)
        print(f"Wrote {MARKDOWN.value}")
    else:
        print("\n\n".join(f"## {name}\n\n{text}" for name, text in blocks.items()))


def replace(path: str, blocks: dict[str, str]) -> None:
    """Puts each block between its marks; a mark without a block is an error."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    text = filled(text, blocks, path)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def filled(text: str, blocks: dict[str, str], path: str) -> str:
    """The text of the file at `path` with each block between its marks."""
    marks = re.findall(r"<!-- generated: ([\w-]+) -->", text)
    unknown = [mark for mark in marks if mark not in blocks]
    if unknown or not marks:
        raise UserError(
            f"{path} must have marks such as '<!-- generated: table1 -->', of "
            f"{', '.join(blocks)}. Received: {', '.join(unknown) or 'none'}"
        )
    for name in marks:
        start, end = f"<!-- generated: {name} -->", "<!-- end -->"
        before, rest = text.split(start, 1)
        if end not in rest:
            raise UserError(
                f"{path}: the block {name!r} must end with '{end}'. Received: none"
            )
        text = f"{before}{start}\n\n{blocks[name]}\n\n{end}{rest.split(end, 1)[1]}"
    return text
