#compdef etcdkit
# Completion of etcdkit for zsh. It runs nothing that is typed.

_etcdkit() {
    local program=${~${(Q)words[1]}} kind at name about reply
    local -a lines ended open described
    (( $+commands[$program] )) || [[ $program == */* ]] || program=etcdkit
    lines=("${(@f)$("$program" completion reply zsh "${(@)words[2,CURRENT-1]}" "$QIPREFIX$PREFIX" </dev/null 2>/dev/null)}")
    kind=${lines[1]% *} at=${lines[1]#* }
    shift lines
    if [[ $kind == command ]]; then
        shift $at words
        (( CURRENT -= at ))
        _normal
        return
    fi
    (( at )) && compset -p $at
    case $kind in
    files) _files ;;
    directories) _files -/ ;;
    names | more)
        for reply in "${lines[@]}"; do
            name=${reply%%$'\t'*} about=${reply#*$'\t'}
            case $reply in
            *$'\t'*) described+=("${${name//\\/\\\\}//:/\\:}:$about") ;;
            */ | *=) open+=("$name") ;;
            ?*) ended+=("$name") ;;
            esac
        done
        (( $#described )) && _describe -t etcdkit etcdkit described
        (( $#open )) && compadd -S '' -- "${open[@]}"
        (( $#ended )) && compadd -- "${ended[@]}"
        (( $#described + $#open + $#ended ))
        ;;
    *) return 1 ;;
    esac
}

if [[ $funcstack[1] == _etcdkit ]]; then
    _etcdkit "$@" # from a file in fpath
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
    compdef _etcdkit etcdkit
fi
