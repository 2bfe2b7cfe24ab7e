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
complete -c pitool -n "__fish_pitool_needs_command" -f -a "cert" -d 'Look after this machine\'s certificate'
complete -c pitool -n "__fish_pitool_needs_command" -f -a "backup" -d 'Save, list, verify and restore backups'
complete -c pitool -n "__fish_pitool_needs_command" -f -a "health" -d 'Say how the machine is'
complete -c pitool -n "__fish_pitool_needs_command" -f -a "status" -d 'Show what the monitor knows: state, alerts, runs, what comes next'
complete -c pitool -n "__fish_pitool_needs_command" -f -a "monitor" -d 'Watch the machine, serve metrics and the status page, send alerts (the service pitool-monitor runs this)'
complete -c pitool -n "__fish_pitool_needs_command" -f -a "alert" -d 'Try out whether alerts arrive; ping for a job'
complete -c pitool -n "__fish_pitool_needs_command" -f -a "doctor" -d 'Show every signal with its source, and the known traps of this machine'
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
complete -c pitool -n "__fish_pitool_using_subcommand plan" -l close-ports -d 'Close ports in use too, which otherwise stay open until the config names them'
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
complete -c pitool -n "__fish_pitool_using_subcommand apply" -l close-ports -d 'Close ports in use too, which otherwise stay open until the config names them'
complete -c pitool -n "__fish_pitool_using_subcommand apply" -l cut-login -d 'Let this run take away the login that it is typed in: its port, user, key or sudo'
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
complete -c pitool -n "__fish_pitool_using_subcommand rollback" -l cut-login -d 'Let this run take away the login that it is typed in: its port, user, key or sudo, or the last way in'
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
complete -c pitool -n "__fish_pitool_using_subcommand cert; and not __fish_seen_subcommand_from issue renew status list import" -l config -d 'Read this config file only, instead of those in /etc/pitool' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand cert; and not __fish_seen_subcommand_from issue renew status list import" -l root -d 'Work on the machine whose root directory this is: a mounted card or image' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand cert; and not __fish_seen_subcommand_from issue renew status list import" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pitool -n "__fish_pitool_using_subcommand cert; and not __fish_seen_subcommand_from issue renew status list import" -l json -d 'Print JSON for programs'
complete -c pitool -n "__fish_pitool_using_subcommand cert; and not __fish_seen_subcommand_from issue renew status list import" -s q -l quiet -d 'Say only what matters'
complete -c pitool -n "__fish_pitool_using_subcommand cert; and not __fish_seen_subcommand_from issue renew status list import" -s v -l verbose -d 'Say more: every package, every promise'
complete -c pitool -n "__fish_pitool_using_subcommand cert; and not __fish_seen_subcommand_from issue renew status list import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pitool -n "__fish_pitool_using_subcommand cert; and not __fish_seen_subcommand_from issue renew status list import" -f -a "issue" -d 'Ask for the certificate now, if there is none that is good'
complete -c pitool -n "__fish_pitool_using_subcommand cert; and not __fish_seen_subcommand_from issue renew status list import" -f -a "renew" -d 'Do what is due: renew, load, run hooks that failed'
complete -c pitool -n "__fish_pitool_using_subcommand cert; and not __fish_seen_subcommand_from issue renew status list import" -f -a "status" -d 'Show the certificates, as stored and as served'
complete -c pitool -n "__fish_pitool_using_subcommand cert; and not __fish_seen_subcommand_from issue renew status list import" -f -a "list" -d 'List every stored certificate with its generations'
complete -c pitool -n "__fish_pitool_using_subcommand cert; and not __fish_seen_subcommand_from issue renew status list import" -f -a "import" -d 'Take over certbot\'s certificate and account, without asking for a new one'
complete -c pitool -n "__fish_pitool_using_subcommand cert; and __fish_seen_subcommand_from issue" -l config -d 'Read this config file only, instead of those in /etc/pitool' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand cert; and __fish_seen_subcommand_from issue" -l root -d 'Work on the machine whose root directory this is: a mounted card or image' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand cert; and __fish_seen_subcommand_from issue" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pitool -n "__fish_pitool_using_subcommand cert; and __fish_seen_subcommand_from issue" -l json -d 'Print JSON for programs'
complete -c pitool -n "__fish_pitool_using_subcommand cert; and __fish_seen_subcommand_from issue" -s q -l quiet -d 'Say only what matters'
complete -c pitool -n "__fish_pitool_using_subcommand cert; and __fish_seen_subcommand_from issue" -s v -l verbose -d 'Say more: every package, every promise'
complete -c pitool -n "__fish_pitool_using_subcommand cert; and __fish_seen_subcommand_from issue" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pitool -n "__fish_pitool_using_subcommand cert; and __fish_seen_subcommand_from renew" -l config -d 'Read this config file only, instead of those in /etc/pitool' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand cert; and __fish_seen_subcommand_from renew" -l root -d 'Work on the machine whose root directory this is: a mounted card or image' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand cert; and __fish_seen_subcommand_from renew" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pitool -n "__fish_pitool_using_subcommand cert; and __fish_seen_subcommand_from renew" -l force -d 'Renew even if it is not due'
complete -c pitool -n "__fish_pitool_using_subcommand cert; and __fish_seen_subcommand_from renew" -l json -d 'Print JSON for programs'
complete -c pitool -n "__fish_pitool_using_subcommand cert; and __fish_seen_subcommand_from renew" -s q -l quiet -d 'Say only what matters'
complete -c pitool -n "__fish_pitool_using_subcommand cert; and __fish_seen_subcommand_from renew" -s v -l verbose -d 'Say more: every package, every promise'
complete -c pitool -n "__fish_pitool_using_subcommand cert; and __fish_seen_subcommand_from renew" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pitool -n "__fish_pitool_using_subcommand cert; and __fish_seen_subcommand_from status" -l config -d 'Read this config file only, instead of those in /etc/pitool' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand cert; and __fish_seen_subcommand_from status" -l root -d 'Work on the machine whose root directory this is: a mounted card or image' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand cert; and __fish_seen_subcommand_from status" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pitool -n "__fish_pitool_using_subcommand cert; and __fish_seen_subcommand_from status" -l json -d 'Print JSON for programs'
complete -c pitool -n "__fish_pitool_using_subcommand cert; and __fish_seen_subcommand_from status" -s q -l quiet -d 'Say only what matters'
complete -c pitool -n "__fish_pitool_using_subcommand cert; and __fish_seen_subcommand_from status" -s v -l verbose -d 'Say more: every package, every promise'
complete -c pitool -n "__fish_pitool_using_subcommand cert; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pitool -n "__fish_pitool_using_subcommand cert; and __fish_seen_subcommand_from list" -l config -d 'Read this config file only, instead of those in /etc/pitool' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand cert; and __fish_seen_subcommand_from list" -l root -d 'Work on the machine whose root directory this is: a mounted card or image' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand cert; and __fish_seen_subcommand_from list" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pitool -n "__fish_pitool_using_subcommand cert; and __fish_seen_subcommand_from list" -l json -d 'Print JSON for programs'
complete -c pitool -n "__fish_pitool_using_subcommand cert; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Say only what matters'
complete -c pitool -n "__fish_pitool_using_subcommand cert; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Say more: every package, every promise'
complete -c pitool -n "__fish_pitool_using_subcommand cert; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pitool -n "__fish_pitool_using_subcommand cert; and __fish_seen_subcommand_from import" -l from -d 'Where certbot\'s files are' -r
complete -c pitool -n "__fish_pitool_using_subcommand cert; and __fish_seen_subcommand_from import" -l config -d 'Read this config file only, instead of those in /etc/pitool' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand cert; and __fish_seen_subcommand_from import" -l root -d 'Work on the machine whose root directory this is: a mounted card or image' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand cert; and __fish_seen_subcommand_from import" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pitool -n "__fish_pitool_using_subcommand cert; and __fish_seen_subcommand_from import" -l json -d 'Print JSON for programs'
complete -c pitool -n "__fish_pitool_using_subcommand cert; and __fish_seen_subcommand_from import" -s q -l quiet -d 'Say only what matters'
complete -c pitool -n "__fish_pitool_using_subcommand cert; and __fish_seen_subcommand_from import" -s v -l verbose -d 'Say more: every package, every promise'
complete -c pitool -n "__fish_pitool_using_subcommand cert; and __fish_seen_subcommand_from import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and not __fish_seen_subcommand_from run list verify restore prune drill stats recover" -l config -d 'Read this config file only, instead of those in /etc/pitool' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand backup; and not __fish_seen_subcommand_from run list verify restore prune drill stats recover" -l root -d 'Work on the machine whose root directory this is: a mounted card or image' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand backup; and not __fish_seen_subcommand_from run list verify restore prune drill stats recover" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pitool -n "__fish_pitool_using_subcommand backup; and not __fish_seen_subcommand_from run list verify restore prune drill stats recover" -l json -d 'Print JSON for programs'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and not __fish_seen_subcommand_from run list verify restore prune drill stats recover" -s q -l quiet -d 'Say only what matters'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and not __fish_seen_subcommand_from run list verify restore prune drill stats recover" -s v -l verbose -d 'Say more: every package, every promise'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and not __fish_seen_subcommand_from run list verify restore prune drill stats recover" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and not __fish_seen_subcommand_from run list verify restore prune drill stats recover" -f -a "run" -d 'Save sets, copy the archives to their targets, delete old ones'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and not __fish_seen_subcommand_from run list verify restore prune drill stats recover" -f -a "list" -d 'Show what is saved, where, when next, and what is overdue'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and not __fish_seen_subcommand_from run list verify restore prune drill stats recover" -f -a "verify" -d 'Look whether archives are as they were written'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and not __fish_seen_subcommand_from run list verify restore prune drill stats recover" -f -a "restore" -d 'Bring files back'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and not __fish_seen_subcommand_from run list verify restore prune drill stats recover" -f -a "prune" -d 'Delete archives that no rule wants'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and not __fish_seen_subcommand_from run list verify restore prune drill stats recover" -f -a "drill" -d 'Restore the newest archives on trial, and compare every hash and open every database'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and not __fish_seen_subcommand_from run list verify restore prune drill stats recover" -f -a "stats" -d 'Show sizes, counts and times'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and not __fish_seen_subcommand_from run list verify restore prune drill stats recover" -f -a "recover" -d 'Start what a backup that was cut off had stopped'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from run" -l config -d 'Read this config file only, instead of those in /etc/pitool' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from run" -l root -d 'Work on the machine whose root directory this is: a mounted card or image' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from run" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from run" -l adopt -d 'Take a target that lost its marker, or has another one: a new disk'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from run" -l json -d 'Print JSON for programs'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from run" -s q -l quiet -d 'Say only what matters'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from run" -s v -l verbose -d 'Say more: every package, every promise'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from list" -l target -d 'Ask this target what it has, instead of what is known of it' -r
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from list" -l config -d 'Read this config file only, instead of those in /etc/pitool' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from list" -l root -d 'Work on the machine whose root directory this is: a mounted card or image' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from list" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from list" -l json -d 'Print JSON for programs'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Say only what matters'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Say more: every package, every promise'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from verify" -l target -d 'At this target instead of here' -r
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from verify" -l config -d 'Read this config file only, instead of those in /etc/pitool' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from verify" -l root -d 'Work on the machine whose root directory this is: a mounted card or image' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from verify" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from verify" -l full -d 'Decode everything and compare every entry, not only the whole file'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from verify" -l all -d 'Every archive of the sets, not only the newest'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from verify" -l json -d 'Print JSON for programs'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from verify" -s q -l quiet -d 'Say only what matters'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from verify" -s v -l verbose -d 'Say more: every package, every promise'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from restore" -l to -d 'Into this directory instead of where it was' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from restore" -l target -d 'From this target instead of from here' -r
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from restore" -l config -d 'Read this config file only, instead of those in /etc/pitool' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from restore" -l root -d 'Work on the machine whose root directory this is: a mounted card or image' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from restore" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from restore" -l exact -d 'Delete what is in restored directories and not in the archive'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from restore" -l unlisted-paths -d 'Also restore paths of the archive that its set in the config does not have'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from restore" -l no-copy -d 'Keep no copy of what is replaced'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from restore" -s y -l yes -d 'Do not ask'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from restore" -l json -d 'Print JSON for programs'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from restore" -s q -l quiet -d 'Say only what matters'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from restore" -s v -l verbose -d 'Say more: every package, every promise'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from restore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from prune" -l target -d 'At this target instead of everywhere' -r
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from prune" -l config -d 'Read this config file only, instead of those in /etc/pitool' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from prune" -l root -d 'Work on the machine whose root directory this is: a mounted card or image' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from prune" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from prune" -l dry-run -d 'Only show what would stay and what would go, with the reasons'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from prune" -s y -l yes -d 'Do not ask'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from prune" -l json -d 'Print JSON for programs'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from prune" -s q -l quiet -d 'Say only what matters'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from prune" -s v -l verbose -d 'Say more: every package, every promise'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from prune" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from drill" -l config -d 'Read this config file only, instead of those in /etc/pitool' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from drill" -l root -d 'Work on the machine whose root directory this is: a mounted card or image' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from drill" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from drill" -l json -d 'Print JSON for programs'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from drill" -s q -l quiet -d 'Say only what matters'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from drill" -s v -l verbose -d 'Say more: every package, every promise'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from drill" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from stats" -l config -d 'Read this config file only, instead of those in /etc/pitool' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from stats" -l root -d 'Work on the machine whose root directory this is: a mounted card or image' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from stats" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from stats" -l json -d 'Print JSON for programs'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from stats" -s q -l quiet -d 'Say only what matters'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from stats" -s v -l verbose -d 'Say more: every package, every promise'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from stats" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from recover" -l config -d 'Read this config file only, instead of those in /etc/pitool' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from recover" -l root -d 'Work on the machine whose root directory this is: a mounted card or image' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from recover" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from recover" -l json -d 'Print JSON for programs'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from recover" -s q -l quiet -d 'Say only what matters'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from recover" -s v -l verbose -d 'Say more: every package, every promise'
complete -c pitool -n "__fish_pitool_using_subcommand backup; and __fish_seen_subcommand_from recover" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pitool -n "__fish_pitool_using_subcommand health" -l config -d 'Read this config file only, instead of those in /etc/pitool' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand health" -l root -d 'Work on the machine whose root directory this is: a mounted card or image' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand health" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pitool -n "__fish_pitool_using_subcommand health" -l json -d 'Print JSON for programs'
complete -c pitool -n "__fish_pitool_using_subcommand health" -s q -l quiet -d 'Say only what matters'
complete -c pitool -n "__fish_pitool_using_subcommand health" -s v -l verbose -d 'Say more: every package, every promise'
complete -c pitool -n "__fish_pitool_using_subcommand health" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pitool -n "__fish_pitool_using_subcommand status" -l config -d 'Read this config file only, instead of those in /etc/pitool' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand status" -l root -d 'Work on the machine whose root directory this is: a mounted card or image' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand status" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pitool -n "__fish_pitool_using_subcommand status" -l html -d 'Print the status page instead'
complete -c pitool -n "__fish_pitool_using_subcommand status" -l json -d 'Print JSON for programs'
complete -c pitool -n "__fish_pitool_using_subcommand status" -s q -l quiet -d 'Say only what matters'
complete -c pitool -n "__fish_pitool_using_subcommand status" -s v -l verbose -d 'Say more: every package, every promise'
complete -c pitool -n "__fish_pitool_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pitool -n "__fish_pitool_using_subcommand monitor" -l setup -d 'Watch what this file says, instead of what the config says' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand monitor" -l config -d 'Read this config file only, instead of those in /etc/pitool' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand monitor" -l root -d 'Work on the machine whose root directory this is: a mounted card or image' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand monitor" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pitool -n "__fish_pitool_using_subcommand monitor" -l json -d 'Print JSON for programs'
complete -c pitool -n "__fish_pitool_using_subcommand monitor" -s q -l quiet -d 'Say only what matters'
complete -c pitool -n "__fish_pitool_using_subcommand monitor" -s v -l verbose -d 'Say more: every package, every promise'
complete -c pitool -n "__fish_pitool_using_subcommand monitor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pitool -n "__fish_pitool_using_subcommand alert; and not __fish_seen_subcommand_from test ping" -l config -d 'Read this config file only, instead of those in /etc/pitool' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand alert; and not __fish_seen_subcommand_from test ping" -l root -d 'Work on the machine whose root directory this is: a mounted card or image' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand alert; and not __fish_seen_subcommand_from test ping" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pitool -n "__fish_pitool_using_subcommand alert; and not __fish_seen_subcommand_from test ping" -l json -d 'Print JSON for programs'
complete -c pitool -n "__fish_pitool_using_subcommand alert; and not __fish_seen_subcommand_from test ping" -s q -l quiet -d 'Say only what matters'
complete -c pitool -n "__fish_pitool_using_subcommand alert; and not __fish_seen_subcommand_from test ping" -s v -l verbose -d 'Say more: every package, every promise'
complete -c pitool -n "__fish_pitool_using_subcommand alert; and not __fish_seen_subcommand_from test ping" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pitool -n "__fish_pitool_using_subcommand alert; and not __fish_seen_subcommand_from test ping" -f -a "test" -d 'Send a test message through every sink, or through one'
complete -c pitool -n "__fish_pitool_using_subcommand alert; and not __fish_seen_subcommand_from test ping" -f -a "ping" -d 'Ping the dead-man switch of a job'
complete -c pitool -n "__fish_pitool_using_subcommand alert; and __fish_seen_subcommand_from test" -l config -d 'Read this config file only, instead of those in /etc/pitool' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand alert; and __fish_seen_subcommand_from test" -l root -d 'Work on the machine whose root directory this is: a mounted card or image' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand alert; and __fish_seen_subcommand_from test" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pitool -n "__fish_pitool_using_subcommand alert; and __fish_seen_subcommand_from test" -l json -d 'Print JSON for programs'
complete -c pitool -n "__fish_pitool_using_subcommand alert; and __fish_seen_subcommand_from test" -s q -l quiet -d 'Say only what matters'
complete -c pitool -n "__fish_pitool_using_subcommand alert; and __fish_seen_subcommand_from test" -s v -l verbose -d 'Say more: every package, every promise'
complete -c pitool -n "__fish_pitool_using_subcommand alert; and __fish_seen_subcommand_from test" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pitool -n "__fish_pitool_using_subcommand alert; and __fish_seen_subcommand_from ping" -l config -d 'Read this config file only, instead of those in /etc/pitool' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand alert; and __fish_seen_subcommand_from ping" -l root -d 'Work on the machine whose root directory this is: a mounted card or image' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand alert; and __fish_seen_subcommand_from ping" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pitool -n "__fish_pitool_using_subcommand alert; and __fish_seen_subcommand_from ping" -l json -d 'Print JSON for programs'
complete -c pitool -n "__fish_pitool_using_subcommand alert; and __fish_seen_subcommand_from ping" -s q -l quiet -d 'Say only what matters'
complete -c pitool -n "__fish_pitool_using_subcommand alert; and __fish_seen_subcommand_from ping" -s v -l verbose -d 'Say more: every package, every promise'
complete -c pitool -n "__fish_pitool_using_subcommand alert; and __fish_seen_subcommand_from ping" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pitool -n "__fish_pitool_using_subcommand doctor" -l config -d 'Read this config file only, instead of those in /etc/pitool' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand doctor" -l root -d 'Work on the machine whose root directory this is: a mounted card or image' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand doctor" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pitool -n "__fish_pitool_using_subcommand doctor" -l json -d 'Print JSON for programs'
complete -c pitool -n "__fish_pitool_using_subcommand doctor" -s q -l quiet -d 'Say only what matters'
complete -c pitool -n "__fish_pitool_using_subcommand doctor" -s v -l verbose -d 'Say more: every package, every promise'
complete -c pitool -n "__fish_pitool_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pitool -n "__fish_pitool_using_subcommand config; and not __fish_seen_subcommand_from init check show schema forward import" -l config -d 'Read this config file only, instead of those in /etc/pitool' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand config; and not __fish_seen_subcommand_from init check show schema forward import" -l root -d 'Work on the machine whose root directory this is: a mounted card or image' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand config; and not __fish_seen_subcommand_from init check show schema forward import" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pitool -n "__fish_pitool_using_subcommand config; and not __fish_seen_subcommand_from init check show schema forward import" -l json -d 'Print JSON for programs'
complete -c pitool -n "__fish_pitool_using_subcommand config; and not __fish_seen_subcommand_from init check show schema forward import" -s q -l quiet -d 'Say only what matters'
complete -c pitool -n "__fish_pitool_using_subcommand config; and not __fish_seen_subcommand_from init check show schema forward import" -s v -l verbose -d 'Say more: every package, every promise'
complete -c pitool -n "__fish_pitool_using_subcommand config; and not __fish_seen_subcommand_from init check show schema forward import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pitool -n "__fish_pitool_using_subcommand config; and not __fish_seen_subcommand_from init check show schema forward import" -f -a "init" -d 'Write an annotated config to /etc/pitool/pitool.toml'
complete -c pitool -n "__fish_pitool_using_subcommand config; and not __fish_seen_subcommand_from init check show schema forward import" -f -a "check" -d 'Say what is wrong with the config'
complete -c pitool -n "__fish_pitool_using_subcommand config; and not __fish_seen_subcommand_from init check show schema forward import" -f -a "show" -d 'Show the config in effect, defaults included'
complete -c pitool -n "__fish_pitool_using_subcommand config; and not __fish_seen_subcommand_from init check show schema forward import" -f -a "schema" -d 'Print the JSON schema of the config'
complete -c pitool -n "__fish_pitool_using_subcommand config; and not __fish_seen_subcommand_from init check show schema forward import" -f -a "forward" -d 'Print a config for a program that sends this machine\'s logs to Loki'
complete -c pitool -n "__fish_pitool_using_subcommand config; and not __fish_seen_subcommand_from init check show schema forward import" -f -a "import" -d 'Turn an Ansible inventory or vars files into a config'
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
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from forward" -l config -d 'Read this config file only, instead of those in /etc/pitool' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from forward" -l root -d 'Work on the machine whose root directory this is: a mounted card or image' -r -F
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from forward" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from forward" -l json -d 'Print JSON for programs'
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from forward" -s q -l quiet -d 'Say only what matters'
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from forward" -s v -l verbose -d 'Say more: every package, every promise'
complete -c pitool -n "__fish_pitool_using_subcommand config; and __fish_seen_subcommand_from forward" -s h -l help -d 'Print help (see more with \'--help\')'
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
