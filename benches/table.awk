# The rows of one bench in the table of benches/all.sh: from benches/goals.txt, the first file, and from what the bench has printed, the
# second. -v bench=NAME; -v failed=TEXT: why the bench could not run.

function trim(text) { gsub(/^[ \t]+|[ \t]+$/, "", text); return text }

# The first number in a text, as text; "" without one.
function number(text) { return match(text, /[-+]?[0-9]+(\.[0-9]+)?/) ? substr(text, RSTART, RLENGTH) : "" }

# Takes a number for a goal, if it is worse than what was found before.
function found(goal, value) {
    if (value == "") return
    if (now[goal] == "" || (aim[goal] ~ /^>/ ? value + 0 < now[goal] + 0 : value + 0 > now[goal] + 0)) now[goal] = value
}

# A line of a table belongs to the goals that name a part of the text above it.
function row(line,    cells, count, column, goal, part) {
    count = split(line, cells, "|")
    if (in_header) {
        delete header
        for (column = 1; column <= count; column++) header[column] = trim(cells[column])
        return
    }
    gsub(/[ \t]+/, " ", line)
    for (goal = 1; goal <= goals; goal++) {
        split(place[goal], part, ";")
        if (kind[goal] == "after" || index(title, trim(part[1])) == 0) continue
        if (kind[goal] == "cell" && index(line, trim(part[2])) == 0) continue
        if (kind[goal] == "best" && trim(cells[2]) ~ /^selvedge/) continue
        wanted = kind[goal] == "best" ? "ours/theirs" : trim(part[3])
        # A name may have a bar in it, so columns count from the right.
        for (column = 1; column <= last_header; column++)
            if (header[column] == wanted) found(goal, number(cells[count - (last_header - column)]))
    }
}

FNR == NR {
    if ($0 ~ /^#/ || split($0, field, " [|] ") < 4 || trim(field[1]) != bench) next
    goals++
    claim[goals] = trim(field[2])
    aim[goals] = trim(field[3])
    # The place may have bars in it.
    rest = $0
    for (n = 1; n <= 3; n++) rest = substr(rest, index(rest, " | ") + 3)
    kind[goals] = trim(substr(rest, 1, index(rest, ":") - 1))
    place[goals] = trim(substr(rest, index(rest, ":") + 1))
    next
}

/^\|/ {
    if (!in_table) { in_header = 1; in_table = 1; row($0); last_header = split($0, ignored, "|"); next }
    in_header = 0
    if ($0 !~ /^\|[-:|]+\|?$/) row($0)
    next
}

{
    if (in_table) { in_table = 0; title = "" }
    title = title " " $0
    line = $0
    gsub(/[ \t]+/, " ", line)
    for (goal = 1; goal <= goals; goal++)
        if (kind[goal] == "after" && (at = index(line, place[goal])) > 0) found(goal, number(substr(line, at + length(place[goal]))))
}

END {
    for (goal = 1; goal <= goals; goal++) {
        bound = number(aim[goal]) + 0
        if (now[goal] == "") verdict = "not run"
        else if (aim[goal] == "-") verdict = ""
        else verdict = (aim[goal] ~ /^>/ ? now[goal] + 0 >= bound : now[goal] + 0 <= bound) ? "met" : "MISSED"
        printf "| %-17s | %-60s | %7s | %9s | %-6s |\n", bench, claim[goal], aim[goal], now[goal], verdict
    }
    if (!goals) printf "| %-17s | %-60s | %7s | %9s | %-6s |\n", bench, "(no line in benches/goals.txt)", "-", "", ""
    if (failed != "") printf "%s could not run to its end: %s\n", bench, failed
}
