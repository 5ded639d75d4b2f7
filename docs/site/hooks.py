"""What MkDocs calls while it builds the site.

The pages are Markdown that reads well in the repository too, so their links are those
of the repository. Some lead out of docs/: to README.md and its like, which become
pages; to results and sources, which are copied into the site; to folders, which a site
has not.
"""

import pathlib
import posixpath
import re

from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Pages that lie outside of docs/, and what they are called in the site.
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changes.md",
}
_LINK = re.compile(r"\[([^\]]*)\]\((?![a-z]+:|#)([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files, config):
    """Adds the pages and the files that lie outside of docs/."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    copies = {
        place: source
        for page in files.documentation_pages()
        for _, link, _ in _LINK.findall(page.content_string)
        for source, place in [_target(page.src_uri, link)]
        if place.startswith("files/") and source.is_file()
    }
    for place, source in copies.items():
        files.append(File.generated(config, place, abs_src_path=str(source)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Turns the links of the repository into links of the site."""
    here = posixpath.dirname(page.file.src_uri) or "."
    if page.file.src_uri == "index.md":
        page.meta["hide"] = ["navigation"]  # It has no neighbors.

    def link(match):
        text, path, anchor = match.groups()
        source, place = _target(page.file.src_uri, path)
        if source.is_dir():
            return text
        return f"[{text}]({posixpath.relpath(place, here)}{anchor or ''})"

    return _LINK.sub(link, markdown)


def _target(page, link):
    """Where a link of a page leads: a path on the disk, and one in the site."""
    sources = {name: source for source, name in PAGES.items()}
    here = posixpath.dirname(sources.get(page, f"docs/{page}"))
    path = posixpath.normpath(posixpath.join(here, link))
    inside = path.removeprefix("docs/") if path.startswith("docs/") else f"files/{path}"
    return ROOT / path, PAGES.get(path, inside)
