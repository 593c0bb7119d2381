# Makes the manual page mmserve(1) of what `mmserve --help` prints, so that there is one manual.
# mmserve --help | awk -v version=0.1.0 -v date=2026-01-31 -f packaging/man.awk
function plain(text) { # what roff would take for its own
    gsub(/\\/, "\\e", text)
    gsub(/-/, "\\-", text)
    sub(/^[.']/, "\\\\\\&&", text)
    return text
}

function leave_literal() {
    if (literal) print ".fi\n.RE"
    literal = 0
}

BEGIN {
    tagged = "^(Options|Signals|Exit codes|Examples)$"
    printf ".TH MMSERVE 1 \"%s\" \"mmserve %s\" \"User Commands\"\n", date, version
    print ".SH NAME\nmmserve \\- static HTTPS server"
}

/^Usage: / {
    sub(/^Usage: mmserve */, "")
    gsub(/[A-Z]+/, "\\fI&\\fR")
    print ".SH SYNOPSIS\n.B mmserve\n" $0 "\n.SH DESCRIPTION"
    next
}

/^[A-Z][A-Za-z ]*:$/ { # a section
    leave_literal()
    sub(/:$/, "")
    print ".SH " toupper($0)
    section = $0
    gap = 0
    next
}

/^$/ { gap = 1; continued = 0; next }

{
    if (gap && !literal && section !~ tagged || /^[^ ]/ && gap) print ".PP"
    gap = 0
}

# "  -p, --port N    port of HTTPS": a tag, and its text behind it or on the next lines
section ~ tagged && (/^  ( ? ? ? ? ?)[^ ]/ || continued) {
    at = section == "Options" ? 28 : 24 # the column of texts
    has_text = substr($0, at - 1, 1) == " " && (at == 28 || substr($0, at - 2, 1) == " ")
    tag = has_text ? substr($0, 1, at - 1) : $0
    gsub(/^ +| +$/, "", tag)
    print (continued ? ".TQ" : ".TP") "\n.B \"" plain(tag) "\""
    if (has_text) print plain(substr($0, at))
    continued = tag ~ /\\$/
    next
}

/^    +[^ ]/ && section !~ tagged { # commands, as they are
    if (!literal) print ".RS 4\n.nf"
    literal = 1
    sub(/^    /, "")
    print plain($0)
    next
}

{
    leave_literal()
    sub(/^ +/, "")
    print plain($0)
}

END { leave_literal() }
