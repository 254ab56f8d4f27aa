"""How docstrings are read for the documentation site: ``Example:`` is a section of doctests, as ``Examples:`` is."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

_EXAMPLE = re.compile(r"^(\s*)Example:\s*$", re.MULTILINE)


class PlainSections(Extension):
    """Gives griffe the section's name that it knows."""

    def on_instance(self, *, obj: Object, **kwargs: Any) -> None:  # noqa: ANN401 - griffe's own
        """Rename the section in an object's docstring, before it is parsed."""
        del kwargs
        if obj.docstring is not None:
            obj.docstring.value = _EXAMPLE.sub(r"\1Examples:", obj.docstring.value)
