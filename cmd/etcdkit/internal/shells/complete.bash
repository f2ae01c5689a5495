# Completion of etcdkit for bash. It needs no other package, and runs nothing that is typed.

_etcdkit() {
    local program=${COMP_WORDS[0]/#\~/$HOME} line kind= at=0
    COMPREPLY=()
    type -P -- "$program" >/dev/null || program=etcdkit # an alias, say
    while IFS= read -r line; do
        if [[ -z $kind ]]; then
            kind=${line% *} at=${line#* }
        elif [[ -n $line ]]; then
            COMPREPLY+=("$line")
        fi
    done < <("$program" completion reply bash "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" "${COMP_TYPE-}" "${COLUMNS-}" </dev/null 2>/dev/null)
    case $kind in
    more) compopt -o nospace 2>/dev/null ;;
    files)
        compopt -o default 2>/dev/null
        [[ $2 == @* ]] && while IFS= read -r line; do # to bash @ begins the name of a host
            COMPREPLY+=("@$(printf %q "$line")")
        done < <(compgen -f -- "${2#@}")
        ;;
    directories) compopt -o dirnames 2>/dev/null ;;
    command) _etcdkit_command "$at" ;;
    esac
}

# The words of a command behind --: as that command completes them, if bash-completion is loaded, or else names of
# commands and files.
_etcdkit_command() {
    local at=$1 i
    for ((i = 1; i < COMP_CWORD; i++)); do
        if [[ ${COMP_WORDS[i]} == -- ]]; then
            at=$((i + 1))
            break
        fi
    done
    if declare -F _comp_command_offset >/dev/null; then
        _comp_command_offset "$at"
    elif declare -F _command_offset >/dev/null; then
        _command_offset "$at"
    else
        compopt -o default 2>/dev/null
        if ((at == COMP_CWORD)) && [[ ${COMP_WORDS[COMP_CWORD]} != */* ]]; then
            while IFS= read -r line; do
                COMPREPLY+=("$line")
            done < <(compgen -c -- "${COMP_WORDS[COMP_CWORD]}" | sort -u)
        fi
    fi
}

if type compopt >/dev/null 2>&1; then
    complete -F _etcdkit etcdkit
else # bash 3, as on macOS
    complete -o default -o nospace -F _etcdkit etcdkit
fi
