"""What these tests start from."""

from tests.made_run import kept_run, made_run

__all__ = ["kept_run", "made_run"]
