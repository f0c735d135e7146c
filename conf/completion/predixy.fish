# Completion of predixy(8) for fish.

function __predixy_has_file --description 'Whether the configuration file has been named'
    set --local words (commandline --tokenize --cut-at-cursor --current-process)
    set --local first 2
    contains -- "$words[2]" -t --check; and set first 3
    test (count $words) -ge $first; and not string match --quiet -- '-*' "$words[$first]"
end

function __predixy_is_first --description 'Whether nothing has been said yet'
    test (count (commandline --tokenize --cut-at-cursor --current-process)) -eq 1
end

complete --command predixy --condition __predixy_is_first --short-option t --long-option check --description 'Check a configuration and exit' --require-parameter
complete --command predixy --condition __predixy_is_first --long-option explain --description 'Say where a request would go' --require-parameter
complete --command predixy --condition __predixy_is_first --long-option top --exclusive --description 'Show what a proxy is doing'
complete --command predixy --condition __predixy_has_file --long-option User --exclusive --description 'Who would ask, for --explain'
complete --command predixy --condition __predixy_is_first --short-option h --long-option help --description 'Print help and exit' --no-files
complete --command predixy --condition __predixy_is_first --short-option v --long-option version --description 'Print the version and exit' --no-files
complete --command predixy --condition __predixy_has_file --no-files
complete --command predixy --condition __predixy_has_file --long-option Name --exclusive --description 'What INFO calls this proxy'
complete --command predixy --condition __predixy_has_file --long-option Bind --require-parameter --description 'Where clients connect'
complete --command predixy --condition __predixy_has_file --long-option WorkerThreads --exclusive --arguments auto --description 'How many threads work'
complete --command predixy --condition __predixy_has_file --long-option LocalDC --exclusive --description 'The data centre that the proxy is in'
