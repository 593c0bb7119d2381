# fish completion of mmserve; the options are those that it lists itself.
complete -c mmserve -f -a '(__fish_complete_directories)'
for line in (mmserve --help 2>/dev/null | string match -r '^ {2,6}(?:-[a-zA-Z], )?--.*')
    set -l parts (string match -r -- '^ +(?:-([a-zA-Z]), )?--([a-z-]+)(?:,| |$)([A-Z/:=\[\]]* )? *(.*)' $line)
    set -l flags -l $parts[3]
    test -n "$parts[2]"; and set -a flags -s $parts[2]
    test -n "$parts[4]"; and set -a flags -r
    string match -q 'FILE *' "$parts[4]"; and set -a flags -F
    complete -c mmserve $flags -d "$parts[5]"
end
complete -c mmserve -l log-format -x -a 'combined json'
