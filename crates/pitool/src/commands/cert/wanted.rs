//! The certificate that the config wants, in the words of `pitool-acme`.

use pitool_acme::account::External;
use pitool_acme::authority::Method;
use pitool_acme::issue::KeyType;
use pitool_acme::renew::Wanted;
use pitool_config::Settings;
use pitool_config::settings;
use pitool_config::values::Argument;

/// What is wanted; `None` where the config names no domain.
pub(super) fn wanted(settings: &Settings) -> Option<Wanted> {
    let ssl = &settings.ssl;
    let words = |words: &[Argument]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    Some(Wanted {
        name: ssl.name()?.to_owned(),
        names: ssl.domains.iter().map(ToString::to_string).collect(),
        directory: ssl.directory.to_string(),
        rehearsal: ssl.rehearsal_directory.as_ref().map(ToString::to_string),
        ca_file: ssl.ca_file.as_ref().map(ToString::to_string),
        email: ssl.email.as_ref().map(ToString::to_string),
        method: match ssl.challenge {
            settings::Challenge::Http01 => Method::Http01,
            settings::Challenge::Dns01 => Method::Dns01,
        },
        dns_hook: words(&ssl.dns_hook),
        dns_cleanup_hook: Some(words(&ssl.dns_cleanup_hook)).filter(|hook| !hook.is_empty()),
        profile: ssl.profile.as_ref().map(ToString::to_string),
        key_type: match ssl.key_type {
            settings::KeyType::P256 => KeyType::EcP256,
            settings::KeyType::P384 => KeyType::EcP384,
            settings::KeyType::Rsa2048 => KeyType::Rsa2048,
            settings::KeyType::Rsa4096 => KeyType::Rsa4096,
        },
        external: ssl
            .eab_kid
            .as_ref()
            .zip(ssl.eab_hmac_file.as_ref())
            .map(|(kid, file)| External { kid: kid.to_string(), hmac_file: file.to_string() }),
        group: ssl.key_group.to_string(),
        hooks: ssl.deploy_hooks.iter().map(|hook| words(hook)).collect(),
    })
}
