# Completion of predixy(8) for bash, with or without the package bash-completion.

_predixy() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} options=
    COMPREPLY=()
    # Bash takes --Name=value for three words.
    if [[ $word == = || $before == = ]]; then
        [[ $word == = ]] && word=
        local name=$before
        [[ $before == = ]] && name=${COMP_WORDS[COMP_CWORD - 2]}
        [[ $name == --WorkerThreads ]] && options=auto
        if [[ $name == --Bind ]]; then
            compopt -o filenames 2>/dev/null
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
        fi
    elif [[ $COMP_CWORD -eq 1 && $word == -* ]]; then
        options='-t --check --explain --top -h --help -v --version'
    elif [[ $COMP_CWORD -eq 1 || ($COMP_CWORD -eq 2 && ($before == -t || $before == --check || $before == --explain)) ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        return
    elif [[ ${COMP_WORDS[1]} == --explain ]]; then
        options='--User='
        compopt -o nospace 2>/dev/null
    elif [[ ${COMP_WORDS[1]} != --top && ${COMP_WORDS[1]} != -h && ${COMP_WORDS[1]} != --help && ${COMP_WORDS[1]} != -v && ${COMP_WORDS[1]} != --version ]]; then
        options='--Name= --Bind= --WorkerThreads= --LocalDC='
        compopt -o nospace 2>/dev/null
    fi
    [[ -z $options ]] || mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
}

complete -F _predixy predixy
