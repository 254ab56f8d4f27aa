# Sourced by scripts that publish what commands print: $page is the Markdown file; commands run in the current folder.

# The command as given, and what it prints to its standard output, as a block of the page.
show() {
  printf '\n    $ %s\n' "$*" >> "$page"
  "$@" 2> errors | sed 's/^/    /; s/ *$//' >> "$page" || { cat errors >&2; exit 1; }
}

# When and where.
printed_where() {
  echo "Printed by \`benchmarks/$(basename "$0")\` on $(date -u +%F), $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2 | xargs), no GPU."
}
