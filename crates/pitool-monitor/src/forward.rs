//! Configs for programs that send this machine's logs to Loki. pitool ships no logs itself: these do it well, and cost what they cost.

/// A config for Grafana Alloy: the journal, with the unit as a label.
pub fn alloy(host: &str, loki: &str) -> String {
    let (host, loki) = (quoted(host), quoted(loki));
    format!(
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
    )
}

/// A config for Fluent Bit: the journal, with a position that outlives a restart and a bounded buffer on disk.
pub fn fluent_bit(host: &str, loki: &str) -> Result<String, String> {
    let rest = loki.strip_prefix("https://").map(|rest| (rest, true, 443));
    let parts = rest.or_else(|| loki.strip_prefix("http://").map(|rest| (rest, false, 80)));
    let Some((rest, tls, port)) = parts else {
        return Err(format!("{loki:?} does not begin with https:// or http://"));
    };
    let (authority, path) =
        rest.split_once('/').map_or((rest, "loki/api/v1/push"), |(authority, path)| (authority, path));
    let (name, port) = match authority.rsplit_once(':') {
        Some((name, number)) => (name, number.parse().map_err(|_| format!("{number:?} is not a port"))?),
        None => (authority, port),
    };
    let plain = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._[]:/".contains(c))
    };
    if !plain(name) || !plain(path) {
        return Err(format!("{loki:?} is not an address"));
    }
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
        let text = alloy("pi\"x", "https://loki.example.org/loki/api/v1/push");
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
        assert!(fluent_bit("pi", "loki:3100").is_err() && fluent_bit("pi", "http://a b/").is_err());
    }
}
