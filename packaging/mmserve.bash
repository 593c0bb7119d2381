# bash completion of mmserve; the options are those that it lists itself.
_mmserve() {
    local current=$2 previous=$3
    compopt +o default
    case $previous in
    --log-format) COMPREPLY=($(compgen -W "combined json" -- "$current")) ;;
    --chroot) compopt -o filenames && COMPREPLY=($(compgen -d -- "$current")) ;;
    --user) COMPREPLY=($(compgen -u -- "$current")) ;;
    --cert | --key | --ticket-keys | --log | --upload-token-file) compopt -o default ;;
    *)
        local help
        help=$("$1" --help 2>/dev/null)
        if [[ $current == -* ]]; then
            COMPREPLY=($(compgen -W "$(grep -oE '^ {2,6}(-[a-zA-Z], )?--[a-z-]+' <<<"$help")" -- "$current"))
        elif ! grep -qE "^ {2,6}(-[a-zA-Z], )?${previous} [A-Z]" <<<"$help"; then
            compopt -o filenames && COMPREPLY=($(compgen -d -- "$current"))
        fi
        ;;
    esac
}
complete -F _mmserve mmserve
