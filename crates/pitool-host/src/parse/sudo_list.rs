//! What `sudo -l -U USER` prints: sudo(8), with the words of sudoers(5).

/// What a user may do as root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Any command, without a password.
    Free,
    /// Any command, with the user's own password.
    WithPassword,
    /// Any command, with the password of root (`rootpw`, `runaspw`, `targetpw`).
    WithRootsPassword,
    /// Some commands, or only under conditions.
    Some,
    /// Nothing.
    None,
}

/// Tags after which any command is still any command.
const HARMLESS: [&str; 14] = [
    "EXEC",
    "FOLLOW",
    "NOFOLLOW",
    "LOG_INPUT",
    "NOLOG_INPUT",
    "LOG_OUTPUT",
    "NOLOG_OUTPUT",
    "MAIL",
    "NOMAIL",
    "SETENV",
    "NOSETENV",
    "NOINTERCEPT",
    "PASSWD",
    "NOPASSWD",
];

/// Reads the list. sudo(8) prints each rule that holds for the user on this host on a line of its own, in the order of
/// the files; the last one that fits a command decides (sudoers(5), "the last match").
pub fn parse(output: &str) -> Right {
    let mut right = Right::None;
    let mut defaults = Vec::new();
    let mut part = "";
    for line in output.lines() {
        if !line.starts_with([' ', '\t']) {
            part = line;
        } else if part.starts_with("Matching Defaults entries") {
            defaults.extend(line.split(',').map(|entry| entry.trim().to_owned()));
        } else if part.contains(" may run the following commands") {
            right = rule(line.trim(), right);
        }
    }
    let set = |name: &str| {
        let last = defaults.iter().rev().find(|entry| entry.trim_start_matches('!') == name);
        last.is_some_and(|entry| !entry.starts_with('!'))
    };
    let never = |name: &str| defaults.iter().rev().find(|entry| entry.trim_start_matches('!') == name);
    match right {
        // A shell that may start nothing is of no use, nor is a prompt that nobody may answer.
        Right::Free | Right::WithPassword if set("noexec") || set("intercept") => Right::Some,
        Right::WithPassword if never("authenticate").is_some_and(|entry| entry.starts_with('!')) => {
            Right::Free
        }
        Right::WithPassword if set("rootpw") || set("runaspw") || set("targetpw") => Right::WithRootsPassword,
        Right::WithPassword if defaults.iter().any(|entry| entry == "passwd_tries=0") => Right::Some,
        right => right,
    }
}

/// What is allowed after one more rule: `(ALL : ALL) NOPASSWD: ALL, !/bin/su`.
fn rule(line: &str, before: Right) -> Right {
    let some = |right: Right| if right == Right::None { Right::Some } else { right };
    let Some((runas, commands)) = line.strip_prefix('(').and_then(|rest| rest.split_once(')')) else {
        return some(before);
    };
    let users = runas.split(':').next().unwrap_or_default();
    let mut users = users.split(',').map(str::trim).filter(|user| !user.is_empty()).peekable();
    let as_root = users.peek().is_some() && {
        let users: Vec<&str> = users.collect();
        users.iter().any(|user| matches!(*user, "ALL" | "root" | "#0"))
            && !users.iter().any(|user| user.starts_with('!'))
    };
    if !as_root {
        return some(before);
    }
    let (mut right, mut free, mut plain) = (before, false, true);
    for command in commands.split(',').map(str::trim) {
        let mut command = command;
        // Tags stay in force for the rest of the rule; `NOTBEFORE=`, `CWD=`, `ROLE=` and the like are conditions.
        while let Some((word, rest)) = command.split_once([' ', '\t']) {
            match word.strip_suffix(':') {
                Some("NOPASSWD") => free = true,
                Some("PASSWD") => free = false,
                Some(tag) if HARMLESS.contains(&tag) => {}
                Some(_) => plain = false,
                None if word.contains('=') && !word.starts_with('/') => plain = false,
                None => break,
            }
            command = rest.trim_start();
        }
        right = match command {
            "ALL" if plain && free => Right::Free,
            "ALL" if plain => Right::WithPassword,
            // What is taken out again may be the very shell.
            _ if command.starts_with('!') => Right::Some,
            _ => some(right),
        };
    }
    right
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(defaults: &str, rules: &[&str]) -> Right {
        let rules: Vec<String> = rules.iter().map(|rule| format!("    {rule}\n")).collect();
        parse(&format!(
            "Matching Defaults entries for ada on pi:\n    env_reset, mail_badpass,\n    secure_path=/usr/sbin\\:/usr/bin{defaults}\n\n\
             User ada may run the following commands on pi:\n{}",
            rules.concat()
        ))
    }

    #[test]
    fn what_a_list_allows() {
        for (rules, expected) in [
            (&["(ALL : ALL) ALL"][..], Right::WithPassword),
            (&["(ALL) NOPASSWD: ALL"], Right::Free),
            (&["(root) NOPASSWD: ALL"], Right::Free),
            (&["(root) NOPASSWD: /usr/sbin/reboot"], Right::Some),
            (&["(www-data) NOPASSWD: ALL"], Right::Some),
            (&["(ALL, !root) NOPASSWD: ALL"], Right::Some),
            (&["(: adm) NOPASSWD: ALL"], Right::Some),
            (&["(ALL : ALL) ALL", "(ALL) NOPASSWD: ALL"], Right::Free),
            // The last match decides.
            (&["(ALL) NOPASSWD: ALL", "(ALL : ALL) ALL"], Right::WithPassword),
            (&["(ALL) NOPASSWD: ALL", "(ALL) !ALL"], Right::Some),
            (&["(ALL) NOPASSWD: ALL, !/usr/bin/su"], Right::Some),
            (&["(ALL) NOPASSWD: ALL", "(root) PASSWD: /usr/bin/apt"], Right::Free),
            (&["(ALL) NOPASSWD: SETENV: ALL"], Right::Free),
            (&["(ALL) NOEXEC: NOPASSWD: ALL"], Right::Some),
            (&["(ALL) NOTAFTER=20300101000000Z NOPASSWD: ALL"], Right::Some),
            (&["(root) /usr/bin/apt, NOPASSWD: /usr/bin/id"], Right::Some),
            (&["(root) sha224:abc= ALL"], Right::Some),
            (&[], Right::None),
        ] {
            assert_eq!(list("", rules), expected, "{rules:?}");
        }
        assert_eq!(parse("User ada is not allowed to run sudo on pi.\n"), Right::None);
        assert_eq!(parse(""), Right::None);
    }

    #[test]
    fn defaults_that_decide() {
        let all = &["(ALL : ALL) ALL"][..];
        assert_eq!(list(", rootpw", all), Right::WithRootsPassword);
        assert_eq!(list(", targetpw, !targetpw", all), Right::WithPassword);
        assert_eq!(list(", !authenticate", all), Right::Free);
        assert_eq!(list(", noexec", &["(ALL) NOPASSWD: ALL"]), Right::Some);
        assert_eq!(list(", passwd_tries=0", all), Right::Some);
    }
}
