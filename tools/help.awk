# The index of the Makefile: groups (`##@ text`), targets with a line each (`target: ... ## text`), and what may stand
# beside a target (`##  text`).
/^##  / { print substr($0, 3) }
/^##@ / { printf "%s%s\n", separator, substr($0, 5); separator = "\n" }
/^[a-z0-9-]+:.* ## / {
  target = $0
  sub(/:.*/, "", target)
  sub(/.* ## /, "")
  printf "  make %-37s %s\n", target, $0
}
