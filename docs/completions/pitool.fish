# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_pitool_global_optspecs
    string join \n config= root= json color= q/quiet v/verbose h/help V/version
end

function __fish_pitool_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_pitool_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_pitool_using_subcommand
    set -l cmd (__fish_pitool_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c pitool -n "__fish_pitool_needs_command" -l config -d 'Read this config file only, instead of those in /etc/pitool' -r -F
complete -c pitool -n "__fish_pitool_needs_command" -l root -d 'Work on the machine whose root directory this is: a mounted card or image' -r -F
complete -c pitool -n "__fish_pitool_needs_command" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pitool -n "__fish_pitool_needs_command" -l json -d 'Print JSON for programs'
complete -c pitool -n "__fish_pitool_needs_command" -s q -l quiet -d 'Say only what matters'
complete -c pitool -n "__fish_pitool_needs_command" -s v -l verbose -d 'Say more: every package, every promise'
complete -c pitool -n "__fish_pitool_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pitool -n "__fish_pitool_needs_command" -s V -l version -d 'Print version'
complete -c pitool -n "__fish_pitool_needs_command" -f -a "plan" -d 'Show what would change'
complete -c pitool -n "__fish_pitool_needs_command" -f -a "apply" -d 'Make the machine what the config says'
complete -c pitool -n "__fish_pitool_needs_command" -f -a "rollback" -d 'Go back to what was there before a run'
complete -c pitool -n "__fish_pitool_needs_command" -f -a "history" -d 'List the runs on this machine, or tell about one'
complete -c pitool -n "__fish_pitool_needs_command" -f -a "facts" -d 'Show what pitool knows of this machine'
complete -c pitool -n "__fish_pitool_needs_command" -f -a "config" -d 'Write, check and show the config'
complete -c pitool -n "__fish_pitool_needs_command" -f -a "image" -d 'Prepare a card that sets itself up at its first boot'
complete -c pitool -n "__fish_pitool_needs_command" -f -a "completions" -d 'Print the completions for a shell'
complete -c pitool -n "__fish_pitool_using_subcommand plan" -l config -d 'Read this config file only, instead of those in /etc/pitool' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand plan" -l root -d 'Work on the machine whose root directory this is: a mounted card or image' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand plan" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pitool -n "__fish_pitool_using_subcommand plan" -l diff -d 'Show the difference of each file'
complete -c pitool -n "__fish_pitool_using_subcommand plan" -l prune -d 'Plan to undo what the config no longer mentions'
complete -c pitool -n "__fish_pitool_using_subcommand plan" -l json -d 'Print JSON for programs'
complete -c pitool -n "__fish_pitool_using_subcommand plan" -s q -l quiet -d 'Say only what matters'
complete -c pitool -n "__fish_pitool_using_subcommand plan" -s v -l verbose -d 'Say more: every package, every promise'
complete -c pitool -n "__fish_pitool_using_subcommand plan" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pitool -n "__fish_pitool_using_subcommand apply" -l config -d 'Read this config file only, instead of those in /etc/pitool' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand apply" -l root -d 'Work on the machine whose root directory this is: a mounted card or image' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand apply" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pitool -n "__fish_pitool_using_subcommand apply" -l check -d 'Only show what would change, as plan does'
complete -c pitool -n "__fish_pitool_using_subcommand apply" -l diff -d 'Show the difference of each file'
complete -c pitool -n "__fish_pitool_using_subcommand apply" -l verify -d 'Ask whether every promise is in force, even if nothing changes'
complete -c pitool -n "__fish_pitool_using_subcommand apply" -l prune -d 'Undo what the config no longer mentions'
complete -c pitool -n "__fish_pitool_using_subcommand apply" -l json -d 'Print JSON for programs'
complete -c pitool -n "__fish_pitool_using_subcommand apply" -s q -l quiet -d 'Say only what matters'
complete -c pitool -n "__fish_pitool_using_subcommand apply" -s v -l verbose -d 'Say more: every package, every promise'
complete -c pitool -n "__fish_pitool_using_subcommand apply" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pitool -n "__fish_pitool_using_subcommand rollback" -l config -d 'Read this config file only, instead of those in /etc/pitool' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand rollback" -l root -d 'Work on the machine whose root directory this is: a mounted card or image' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand rollback" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pitool -n "__fish_pitool_using_subcommand rollback" -l check -d 'Only show what would come back'
complete -c pitool -n "__fish_pitool_using_subcommand rollback" -l diff -d 'Show the difference of each file'
complete -c pitool -n "__fish_pitool_using_subcommand rollback" -l json -d 'Print JSON for programs'
complete -c pitool -n "__fish_pitool_using_subcommand rollback" -s q -l quiet -d 'Say only what matters'
complete -c pitool -n "__fish_pitool_using_subcommand rollback" -s v -l verbose -d 'Say more: every package, every promise'
complete -c pitool -n "__fish_pitool_using_subcommand rollback" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pitool -n "__fish_pitool_using_subcommand history" -l config -d 'Read this config file only, instead of those in /etc/pitool' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand history" -l root -d 'Work on the machine whose root directory this is: a mounted card or image' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand history" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pitool -n "__fish_pitool_using_subcommand history" -l json -d 'Print JSON for programs'
complete -c pitool -n "__fish_pitool_using_subcommand history" -s q -l quiet -d 'Say only what matters'
complete -c pitool -n "__fish_pitool_using_subcommand history" -s v -l verbose -d 'Say more: every package, every promise'
complete -c pitool -n "__fish_pitool_using_subcommand history" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pitool -n "__fish_pitool_using_subcommand facts" -l config -d 'Read this config file only, instead of those in /etc/pitool' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand facts" -l root -d 'Work on the machine whose root directory this is: a mounted card or image' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand facts" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pitool -n "__fish_pitool_using_subcommand facts" -l json -d 'Print JSON for programs'
complete -c pitool -n "__fish_pitool_using_subcommand facts" -s q -l quiet -d 'Say only what matters'
complete -c pitool -n "__fish_pitool_using_subcommand facts" -s v -l verbose -d 'Say more: every package, every promise'
complete -c pitool -n "__fish_pitool_using_subcommand facts" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pitool -n "__fish_pitool_using_subcommand config; and not __fish_seen_subcommand_from init check show schema import" -l config -d 'Read this config file only, instead of those in /etc/pitool' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand config; and not __fish_seen_subcommand_from init check show schema import" -l root -d 'Work on the machine whose root directory this is: a mounted card or image' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand config; and not __fish_seen_subcommand_from init check show schema import" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pitool -n "__fish_pitool_using_subcommand config; and not __fish_seen_subcommand_from init check show schema import" -l json -d 'Print JSON for programs'
complete -c pitool -n "__fish_pitool_using_subcommand config; and not __fish_seen_subcommand_from init check show schema import" -s q -l quiet -d 'Say only what matters'
complete -c pitool -n "__fish_pitool_using_subcommand config; and not __fish_seen_subcommand_from init check show schema import" -s v -l verbose -d 'Say more: every package, every promise'
complete -c pitool -n "__fish_pitool_using_subcommand config; and not __fish_seen_subcommand_from init check show schema import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pitool -n "__fish_pitool_using_subcommand config; and not __fish_seen_subcommand_from init check show schema import" -f -a "init" -d 'Write an annotated config to /etc/pitool/pitool.toml'
complete -c pitool -n "__fish_pitool_using_subcommand config; and not __fish_seen_subcommand_from init check show schema import" -f -a "check" -d 'Say what is wrong with the config'
complete -c pitool -n "__fish_pitool_using_subcommand config; and not __fish_seen_subcommand_from init check show schema import" -f -a "show" -d 'Show the config in effect, defaults included'
complete -c pitool -n "__fish_pitool_using_subcommand config; and not __fish_seen_subcommand_from init check show schema import" -f -a "schema" -d 'Print the JSON schema of the config'
complete -c pitool -n "__fish_pitool_using_subcommand config; and not __fish_seen_subcommand_from init check show schema import" -f -a "import" -d 'Turn an Ansible inventory or vars files into a config'
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from init" -l config -d 'Read this config file only, instead of those in /etc/pitool' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from init" -l root -d 'Work on the machine whose root directory this is: a mounted card or image' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from init" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from init" -l stdout -d 'Print it instead'
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from init" -l json -d 'Print JSON for programs'
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from init" -s q -l quiet -d 'Say only what matters'
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from init" -s v -l verbose -d 'Say more: every package, every promise'
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from init" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from check" -l config -d 'Read this config file only, instead of those in /etc/pitool' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from check" -l root -d 'Work on the machine whose root directory this is: a mounted card or image' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from check" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from check" -l json -d 'Print JSON for programs'
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from check" -s q -l quiet -d 'Say only what matters'
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from check" -s v -l verbose -d 'Say more: every package, every promise'
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from show" -l config -d 'Read this config file only, instead of those in /etc/pitool' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from show" -l root -d 'Work on the machine whose root directory this is: a mounted card or image' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from show" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from show" -l json -d 'Print JSON for programs'
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from show" -s q -l quiet -d 'Say only what matters'
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Say more: every package, every promise'
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from schema" -l config -d 'Read this config file only, instead of those in /etc/pitool' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from schema" -l root -d 'Work on the machine whose root directory this is: a mounted card or image' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from schema" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from schema" -l json -d 'Print JSON for programs'
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from schema" -s q -l quiet -d 'Say only what matters'
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from schema" -s v -l verbose -d 'Say more: every package, every promise'
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from schema" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from import" -l host -d 'The host whose variables count' -r
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from import" -l output -d 'Write the config here instead of printing it' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from import" -l config -d 'Read this config file only, instead of those in /etc/pitool' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from import" -l root -d 'Work on the machine whose root directory this is: a mounted card or image' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from import" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from import" -l json -d 'Print JSON for programs'
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from import" -s q -l quiet -d 'Say only what matters'
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from import" -s v -l verbose -d 'Say more: every package, every promise'
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pitool -n "__fish_pitool_using_subcommand image; and not __fish_seen_subcommand_from seed" -l config -d 'Read this config file only, instead of those in /etc/pitool' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand image; and not __fish_seen_subcommand_from seed" -l root -d 'Work on the machine whose root directory this is: a mounted card or image' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand image; and not __fish_seen_subcommand_from seed" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pitool -n "__fish_pitool_using_subcommand image; and not __fish_seen_subcommand_from seed" -l json -d 'Print JSON for programs'
complete -c pitool -n "__fish_pitool_using_subcommand image; and not __fish_seen_subcommand_from seed" -s q -l quiet -d 'Say only what matters'
complete -c pitool -n "__fish_pitool_using_subcommand image; and not __fish_seen_subcommand_from seed" -s v -l verbose -d 'Say more: every package, every promise'
complete -c pitool -n "__fish_pitool_using_subcommand image; and not __fish_seen_subcommand_from seed" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pitool -n "__fish_pitool_using_subcommand image; and not __fish_seen_subcommand_from seed" -f -a "seed" -d 'Have a freshly written card install pitool and apply a config at its first boot'
complete -c pitool -n "__fish_pitool_using_subcommand image; and __fish_seen_subcommand_from seed" -l deb -d 'The package to install, of the image\'s architecture' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand image; and __fish_seen_subcommand_from seed" -l config -d 'Read this config file only, instead of those in /etc/pitool' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand image; and __fish_seen_subcommand_from seed" -l root -d 'Work on the machine whose root directory this is: a mounted card or image' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand image; and __fish_seen_subcommand_from seed" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pitool -n "__fish_pitool_using_subcommand image; and __fish_seen_subcommand_from seed" -l json -d 'Print JSON for programs'
complete -c pitool -n "__fish_pitool_using_subcommand image; and __fish_seen_subcommand_from seed" -s q -l quiet -d 'Say only what matters'
complete -c pitool -n "__fish_pitool_using_subcommand image; and __fish_seen_subcommand_from seed" -s v -l verbose -d 'Say more: every package, every promise'
complete -c pitool -n "__fish_pitool_using_subcommand image; and __fish_seen_subcommand_from seed" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pitool -n "__fish_pitool_using_subcommand completions" -l config -d 'Read this config file only, instead of those in /etc/pitool' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand completions" -l root -d 'Work on the machine whose root directory this is: a mounted card or image' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand completions" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pitool -n "__fish_pitool_using_subcommand completions" -l json -d 'Print JSON for programs'
complete -c pitool -n "__fish_pitool_using_subcommand completions" -s q -l quiet -d 'Say only what matters'
complete -c pitool -n "__fish_pitool_using_subcommand completions" -s v -l verbose -d 'Say more: every package, every promise'
complete -c pitool -n "__fish_pitool_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
