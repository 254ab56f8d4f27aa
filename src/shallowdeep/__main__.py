"""``python -m shallowdeep``, which is also what ``accelerate launch -m shallowdeep`` starts."""

from shallowdeep.cli.main import main

main()
