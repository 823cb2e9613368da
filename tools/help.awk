# The index of the Makefile: groups (`##@ text`), targets with a line each (`target: ... ## text`), and what may stand
# beside a target (`##  text`). The experiments' files come before it: each has a line of its docstring's first line and
# the first clause of its cost without what stands in brackets, grouped by paper, which stands below the group of that name.
FNR == 1 && FILENAME ~ /\.py$/ {
  name = FILENAME
  sub(/^experiments\//, "", name)
  sub(/\.py$/, "", name)
  what = $0
  sub(/^"""/, "", what)
  sub(/\.?(""")?$/, "", what)
  paper = what
  sub(/[,:].*/, "", paper)
  what = substr(what, length(paper) + 3)
  if (paper != last) listed = listed " " paper "\n"
  last = paper
  gsub(/[\/_]/, "-", name)
  listed = listed sprintf("  make %-37s %s", name, what)
  wanted = 1
}
/^Cost:/ && FILENAME ~ /\.py$/ && wanted {
  cost = $0
  sub(/^Cost: */, "", cost)
  wanted = 0
  reading = 1
  next
}
reading && /^ / {
  sub(/^ +/, "")
  cost = cost " " $0
  next
}
reading {
  gsub(/ \([^)]*\)/, "", cost)
  sub(/(; |\. ).*/, "", cost)
  sub(/[.,;]$/, "", cost)
  listed = listed " [" cost "]\n"
  reading = 0
}
FILENAME ~ /\.py$/ { next }
/^##  / { print substr($0, 3) }
/^##@ / { printf "%s%s\n", separator, substr($0, 5); separator = "\n" }
/^##@ Experiments/ { printf "%s", listed }
/^[a-z0-9-]+:.* ## / {
  target = $0
  sub(/:.*/, "", target)
  sub(/.* ## /, "")
  printf "  make %-37s %s\n", target, $0
}
