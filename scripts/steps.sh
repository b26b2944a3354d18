# Sourced by the scripts: steps that say what they do and how long they took.
work=$(mktemp -d)
log=$work/log
trap 'rm -rf "$work"' EXIT
say() { printf '    %s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }
already() { printf '    %s\n' "${1:-already there}"; }
step() {  # TITLE COMMAND...
  local title=$1 start=$SECONDS
  shift
  printf '==> %s\n' "$title"
  "$@"
  printf '    done in %d s\n' $((SECONDS - start))
}
