# Completion of etcdkit for fish. It runs nothing that is typed.

function __etcdkit_complete
    set -l words (commandline -opc)
    set -l typed (commandline -ct)
    set -l program (string replace -r '^~(?=/)' $HOME -- $words[1])
    set -l reply ($program completion reply fish $words[2..-1] "$typed" </dev/null 2>/dev/null)
    set -l head (string split ' ' -- $reply[1])
    test (count $head) = 2; or return
    set -e reply[1]
    set -l before (string sub -l $head[2] -- "$typed")
    set -l behind (string sub -s (math $head[2] + 1) -- "$typed")
    switch $head[1]
        case names more
            test (count $reply) -gt 0; and printf '%s\n' $reply
        case files
            printf '%s\n' $before(__fish_complete_path "$behind")
        case directories
            printf '%s\n' $before(__fish_complete_directories "$behind")
        case command
            set -l command
            if test $head[2] -lt (count $words)
                set command (string escape -- $words[(math $head[2] + 1)..-1])
            end
            complete -C (string join ' ' -- $command "$typed")
    end
end

complete -c etcdkit -e
complete -c etcdkit -f -a '(__etcdkit_complete)'
