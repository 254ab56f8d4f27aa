"""What tests of inference share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shallowdeep.inference.backends.compiled_files import VARIABLE


@pytest.fixture(autouse=True, scope="session")
def compiled_models_of_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiled models are kept apart from the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(tmp_path_factory.mktemp("compiled")))
        yield
