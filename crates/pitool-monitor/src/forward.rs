//! Configs for programs that send this machine's logs to Loki. pitool ships no logs itself: these do it well, and cost what they cost.

/// Where Loki takes lines.
struct Loki<'a> {
    tls: bool,
    name: &'a str,
    port: Option<u16>,
    path: &'a str,
}

impl<'a> Loki<'a> {
    /// Reads `https://NAME[:PORT][/PATH]`; without a path it is the one that Loki itself has.
    fn parse(address: &'a str) -> Result<Self, String> {
        let rest = address.strip_prefix("https://").map(|rest| (rest, true));
        let Some((rest, tls)) = rest.or_else(|| address.strip_prefix("http://").map(|rest| (rest, false)))
        else {
            return Err(
                "Loki's address begins with https:// or http://, such as https://loki.example.org".to_owned()
            );
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        // Neither echoed nor written: what stands before the @ is a secret.
        if authority.contains('@') {
            return Err("Loki's address has no user and password in it here: add them to the config that is printed, in \
                        the program's own way"
                .to_owned());
        }
        let bracketed = authority.ends_with(']');
        let (name, port) = match authority.rsplit_once(':').filter(|_| !bracketed) {
            Some((name, number)) => {
                (name, Some(number.parse().map_err(|_| format!("{number:?} is not a port"))?))
            }
            None => (authority, None),
        };
        let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "-._[]:/".contains(c));
        if name.is_empty() || !plain(name) || !plain(path) {
            return Err(format!("{address:?} is not an address"));
        }
        let path = if path.is_empty() { "loki/api/v1/push" } else { path };
        Ok(Self { tls, name, port, path })
    }
}

/// A config for Grafana Alloy: the journal, with the unit as a label.
///
/// # Errors
/// The address is none, in words for a person.
pub fn alloy(host: &str, loki: &str) -> Result<String, String> {
    let Loki { tls, name, port, path } = Loki::parse(loki)?;
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let loki = format!("http{}://{name}{port}/{path}", if tls { "s" } else { "" });
    let (host, loki) = (quoted(host), quoted(&loki));
    Ok(format!(
        "// Made by `pitool config forward alloy`. Put it at /etc/alloy/config.alloy; user alloy must be in the groups adm and\n\
         // systemd-journal. Where the journal is in memory (Storage=volatile), the path is /run/log/journal.\n\
         loki.relabel \"journal\" {{\n\
         \x20 forward_to = []\n\
         \x20 rule {{\n    source_labels = [\"__journal__systemd_unit\"]\n    target_label  = \"unit\"\n  }}\n\
         \x20 rule {{\n    source_labels = [\"__journal_priority_keyword\"]\n    target_label  = \"level\"\n  }}\n\
         }}\n\n\
         loki.source.journal \"machine\" {{\n\
         \x20 max_age       = \"24h\"\n\
         \x20 path          = \"/var/log/journal\"\n\
         \x20 relabel_rules = loki.relabel.journal.rules\n\
         \x20 labels        = {{ host = {host}, job = \"journal\" }}\n\
         \x20 forward_to    = [loki.write.target.receiver]\n\
         }}\n\n\
         loki.write \"target\" {{\n\
         \x20 endpoint {{\n    url = {loki}\n  }}\n\
         }}\n"
    ))
}

/// A config for Fluent Bit: the journal, with a position that outlives a restart and a bounded buffer on disk.
///
/// # Errors
/// The address is none, in words for a person.
pub fn fluent_bit(host: &str, loki: &str) -> Result<String, String> {
    let Loki { tls, name, port, path } = Loki::parse(loki)?;
    let port = port.unwrap_or(if tls { 443 } else { 80 });
    let tls = if tls { "on" } else { "off" };
    Ok(format!(
        "# Made by `pitool config forward fluent-bit`. Put it at /etc/fluent-bit/fluent-bit.conf.\n\
         [SERVICE]\n    flush         5\n    log_level     warning\n    storage.path  /var/lib/fluent-bit/buffer\n\n\
         [INPUT]\n    name            systemd\n    tag             journal\n    db              /var/lib/fluent-bit/journal.db\n    \
         read_from_tail  on\n    strip_underscores on\n    storage.type    filesystem\n\n\
         [OUTPUT]\n    name         loki\n    match        journal\n    host         {name}\n    port         {port}\n    \
         uri          /{path}\n    tls          {tls}\n    labels       job=journal, host={}\n    label_keys   $SYSTEMD_UNIT\n    \
         storage.total_limit_size 64M\n",
        host.replace([',', '\n'], "-")
    ))
}

fn quoted(text: &str) -> String {
    // Alloy's strings have JSON's escapes.
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_in_it() {
        let text = alloy("pi\"x", "https://loki.example.org").unwrap();
        assert!(
            text.contains("url = \"https://loki.example.org/loki/api/v1/push\"")
                && text.contains("host = \"pi\\\"x\"")
        );
        assert_eq!(text.matches('{').count(), text.matches('}').count());
        let text = fluent_bit("pi", "http://192.168.1.2:3100/loki/api/v1/push").unwrap();
        assert!(
            text.contains("host         192.168.1.2\n    port         3100\n")
                && text.contains("tls          off")
        );
        let text = fluent_bit("pi", "https://loki.example.org/").unwrap();
        assert!(text.contains("port         443\n    uri          /loki/api/v1/push\n"), "{text}");
        for wrong in ["loki:3100", "http://a b/", "http://a:b", "https://"] {
            assert!(fluent_bit("pi", wrong).is_err() && alloy("pi", wrong).is_err(), "{wrong}");
        }
        let secret = alloy("pi", "https://1234:glc_secret@logs.example.org/loki/api/v1/push").unwrap_err();
        assert!(!secret.contains("glc_secret"), "{secret}");
    }
}
