"""What MkDocs asks for while it builds the site.

Pages are Markdown that reads well in the repository too, so their links are those of the
repository. Some lead out of docs/: to README.md and its like, which become pages, and to
results and sources, which are copied to the site's folder `files`.
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
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s#]+)")


def on_files(files, config):
    """Adds the pages and the files that lie outside of docs/."""
    for source, page in PAGES.items():
        files.append(_file(config, page, source))
    added = set()
    for file in list(files.documentation_pages()):
        for link in _LINK.findall(file.content_string):
            source, place = _target(file.src_uri, link)
            is_copy = place.startswith("files/") and (ROOT / source).is_file()
            if is_copy and source not in added:
                files.append(_file(config, place, source))
                added.add(source)
    return files


def on_page_markdown(markdown, page, config, files):
    """Turns links of the repository into links of the site."""
    here = posixpath.dirname(page.file.src_uri)

    def link(match):
        _, place = _target(page.file.src_uri, match[1])
        return posixpath.relpath(place, here or ".")

    return _LINK.sub(link, markdown)


def _file(config, place, source):
    return File.generated(config, place, abs_src_path=str(ROOT / source))


def _target(page, link):
    """Where a link of a page leads: a path in the repository, and one in the site."""
    sources = {name: source for source, name in PAGES.items()}
    here = posixpath.dirname(sources.get(page, f"docs/{page}"))
    path = posixpath.normpath(posixpath.join(here, link))
    if path in PAGES:
        return path, PAGES[path]
    inside = path.startswith("docs/")
    return path, path.removeprefix("docs/") if inside else f"files/{path}"
