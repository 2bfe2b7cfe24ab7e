//! The web server with all of its sites: what the roles app and ssl both want, in the same words.
//!
//! A site whose names the certificate has is served over HTTPS, and port 80 sends there once there is a certificate of an
//! authority for the name; until then both serve it. Everything that nginx reads for that is settled here, with a
//! placeholder for the certificate, so that `apply app` alone leaves a sound web server and no role undoes what the other
//! did. Asking for the certificate is the role ssl's.
//!
//! What this nginx and this OpenSSL understand decides what is written: `http2 on` is an unknown directive before nginx
//! 1.25.1, and a curve that OpenSSL does not know keeps nginx from starting.

use askama::Template;
use pitool_acme::Store;
use pitool_config::Settings;
use pitool_config::settings::{Site, Ssl, Tls};
use pitool_config::values::AppName;
use pitool_engine::{Id, Resource};
use pitool_host::Facts;
use pitool_kinds::Kind;
use pitool_resources::{Check, Directory, File, Link, Package, Placeholder, Unit};

use crate::Wishes;
use crate::monitoring;
use crate::proofs::{SiteConfigured, SiteHealthy, UnitRunning};
use crate::templates::text;

const SITES: &str = "/etc/nginx/sites-available";
const ENABLED: &str = "/etc/nginx/sites-enabled";

/// The site of the bare address; no app may have this name.
const BARE: &str = "pitool";

/// Files of ours below /etc/nginx besides the sites.
pub(crate) const SNIPPETS: [&str; 6] = [
    "pitool-acme.conf",
    "pitool-default.conf",
    "pitool-headers.conf",
    "pitool-issued.conf",
    "pitool-status.conf",
    "pitool-tls.conf",
];

/// What a site's server block for HTTPS has besides the site's own.
struct SiteTls {
    names: String,
    certificate: String,
    key: String,
    http2_directive: bool,
    status: bool,
}

/// What decides which words nginx understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Software {
    http2_directive: bool,
    mlkem: bool,
    tickets: bool,
    /// Whether sockets of IPv6 can be had.
    ipv6: bool,
    /// Whether no other site answers for every name on port 80, and on 443.
    free: [bool; 2],
}

impl Software {
    /// Of what is installed, else of what this release of Debian will install.
    fn of(facts: &Facts) -> Self {
        let shipped = if facts.release == 12 { ("1.22.1", "3.0") } else { ("1.26.3", "3.5") };
        let nginx = if facts.nginx.is_empty() { shipped.0 } else { &facts.nginx };
        let openssl = if facts.openssl.is_empty() { shipped.1 } else { &facts.openssl };
        Self {
            http2_directive: at_least(nginx, &[1, 25, 1]),
            mlkem: at_least(openssl, &[3, 5]),
            // Before that, one key for tickets is used as long as nginx runs.
            tickets: at_least(nginx, &[1, 23, 2]),
            ipv6: !facts.ipv6_disabled,
            free: [80, 443].map(|port| !facts.default_sites.contains_key(&port)),
        }
    }
}

/// Whether a version is this one or a later one.
fn at_least(version: &str, wanted: &[u32]) -> bool {
    let numbers: Vec<u32> = version.split('.').map_while(|number| number.parse().ok()).collect();
    numbers.as_slice() >= wanted
}

#[derive(Template)]
#[template(path = "app/site.conf", escape = "none")]
struct SiteConf<'a> {
    ipv6: bool,
    free: bool,
    plain: Option<String>,
    default: bool,
    challenge: bool,
    status: bool,
    tls: Option<SiteTls>,
    upstream: Option<String>,
    root: Option<&'a str>,
    /// The beginning of the root whose links are root's own.
    trusted: Option<String>,
    body_size: u64,
    timeout: u64,
    websocket: bool,
}

#[derive(Template)]
#[template(path = "app/bare.conf", escape = "none")]
struct BareConf {
    ipv6: bool,
    free: bool,
    challenge: bool,
    status: bool,
    tls: Option<SiteTls>,
}

/// Which names which site has over HTTPS.
struct Sites<'a> {
    settings: &'a Settings,
    software: Software,
    store: Store,
}

impl Sites<'_> {
    fn secured(&self) -> bool {
        !self.settings.ssl.domains.is_empty()
    }

    /// Whether some site shows the status page: over HTTPS under the certificate's first name, because a password
    /// comes with it, and on the bare address where there is no certificate.
    fn status(&self) -> bool {
        self.settings.monitoring.page.enabled && self.settings.monitoring.service.enabled
    }

    fn tls(&self, names: Vec<&str>) -> Option<SiteTls> {
        let name = self.settings.ssl.name()?;
        let first = self.settings.ssl.domains.first()?.as_str();
        (!names.is_empty()).then(|| SiteTls {
            names: names.join(" "),
            certificate: self.store.live(name, "fullchain.pem"),
            key: self.store.live(name, "privkey.pem"),
            http2_directive: self.software.http2_directive,
            status: self.status() && names.contains(&first),
        })
    }

    /// The names of the certificate that no app has: the app that answers to any name gets them, or the bare site.
    fn left_over(&self) -> Vec<&str> {
        left_over(self.settings)
    }

    fn of(&self, app: &AppName, site: &Site) -> String {
        let ssl = &self.settings.ssl;
        let default = site.server_name.is_empty();
        let (secured, open): (Vec<_>, Vec<_>) = site.server_name.iter().partition(|name| ssl.covers(name));
        let words = |names: Vec<&pitool_config::values::ServerName>| -> Vec<String> {
            names.into_iter().map(ToString::to_string).collect()
        };
        let secured = words(secured);
        let secured: Vec<&str> =
            if default { self.left_over() } else { secured.iter().map(String::as_str).collect() };
        let open = words(open).join(" ");
        text(&SiteConf {
            ipv6: self.software.ipv6,
            free: self.software.free[0],
            plain: if default { Some("_".to_owned()) } else { Some(open).filter(|open| !open.is_empty()) },
            default,
            challenge: self.secured(),
            status: default && self.status() && !self.secured(),
            tls: self.tls(secured),
            upstream: site.upstream.then(|| format!("http://127.0.0.1:{}", site.upstream_port)),
            root: site.root.as_ref().map(|root| root.as_str()),
            trusted: site.root.as_ref().and_then(|root| trusted(site.home(app).as_str(), root.as_str())),
            body_size: site.body_size.bytes(),
            timeout: site.timeout.as_secs(),
            websocket: site.websocket,
        })
    }

    fn bare(&self) -> String {
        text(&BareConf {
            ipv6: self.software.ipv6,
            free: self.software.free[0],
            challenge: self.secured(),
            status: self.status() && !self.secured(),
            tls: self.tls(self.left_over()),
        })
    }
}

/// How far links of a root are followed whoever owns them: to the first name below the app's home, which is root's own, so
/// that a `current` there may lead to a release of the app's user.
fn trusted(home: &str, root: &str) -> Option<String> {
    let first = root.strip_prefix(home)?.strip_prefix('/')?.split('/').find(|name| !name.is_empty())?;
    (first != "..").then(|| format!("{home}/{first}"))
}

fn left_over(settings: &Settings) -> Vec<&str> {
    let taken = |name: &str| {
        settings.apps.values().flat_map(|site| &site.server_name).any(|own| own.as_str() == name)
    };
    settings.ssl.domains.iter().map(|name| name.as_str()).filter(|name| !taken(name)).collect()
}

/// Wants the web server and its sites, where the config does.
pub(crate) fn server(settings: &Settings, facts: &Facts, wishes: &mut Wishes) {
    if !settings.app.enabled {
        return;
    }
    wishes.want(Package::new("nginx").keeping("/etc/nginx"));
    // For the questions afterwards.
    wishes.want(Package::new("curl"));
    let sites = Sites { settings, software: Software::of(facts), store: Store::default() };
    if let Some(other) = facts.default_sites.get(&80) {
        wishes.note(format!(
            "{other} answers for every name that no site has, and goes on doing so: nginx takes one such site only"
        ));
    }
    let mut live: Vec<Id> = Vec::new();
    let mut go_live = |resource: Kind, wishes: &mut Wishes| {
        live.push(resource.id());
        wishes.want(resource);
    };
    let common = include_str!("../templates/app/pitool.conf");
    let common = File::new("/etc/nginx/conf.d/pitool.conf", common).checked_by(Check::Nginx);
    go_live(common.into(), wishes);
    if sites.status() {
        // Before the site that includes it; nginx is told of it with that site.
        go_live(monitoring::status_snippet(&settings.monitoring).into(), wishes);
    }
    // nginx-common makes this link when it is first installed.
    let shipped = Link::absent(format!("{ENABLED}/default"))
        .shipped_by("nginx", &format!("{SITES}/default"))
        .checked_by(Check::Nginx);
    go_live(shipped.into(), wishes);
    if sites.secured() {
        store(&settings.ssl, wishes);
        for file in snippets(&settings.ssl, &sites) {
            go_live(file.checked_by(Check::Nginx).into(), wishes);
        }
    }

    // nginx refuses a configuration with two default servers, so whoever is the default goes last: by then whoever
    // was it before is not any more.
    let (default, named): (Vec<_>, Vec<_>) =
        settings.apps.iter().partition(|(_, site)| site.server_name.is_empty());
    for (name, site) in named {
        for part in site_of(name.as_str(), sites.of(name, site)) {
            go_live(part, wishes);
        }
    }
    if default.is_empty() {
        for part in site_of(BARE, sites.bare()) {
            go_live(part, wishes);
        }
    } else {
        go_live(Link::absent(format!("{ENABLED}/{BARE}")).checked_by(Check::Nginx).into(), wishes);
    }
    for (name, site) in default {
        for part in site_of(name.as_str(), sites.of(name, site)) {
            go_live(part, wishes);
        }
    }

    wishes.want(Unit::new("nginx.service").reloaded().reads(live));
}

/// Wants the places for certificates, and one to start with.
pub(crate) fn store(ssl: &Ssl, wishes: &mut Wishes) {
    for (path, mode) in Store::default().directories() {
        wishes.want(Directory::new(path).mode(mode));
    }
    if let Some(name) = ssl.name() {
        wishes.want(Placeholder::new(name, ssl.domains.iter().map(ToString::to_string)));
    }
}

#[derive(Template)]
#[template(path = "ssl/acme.conf", escape = "none")]
struct Acme {
    root: String,
}

#[derive(Template)]
#[template(path = "ssl/issued.conf", escape = "none")]
struct Issued {
    markers: String,
    hsts: Option<String>,
}

#[derive(Template)]
#[template(path = "ssl/tls.conf", escape = "none")]
struct TlsConf<'a> {
    modern: bool,
    nginx: &'a str,
    openssl: &'a str,
    mlkem: bool,
    tickets: bool,
}

#[derive(Template)]
#[template(path = "ssl/headers.conf", escape = "none")]
struct Headers {
    hsts: bool,
}

#[derive(Template)]
#[template(path = "ssl/default.conf", escape = "none")]
struct DefaultConf {
    http2_directive: bool,
    ipv6: bool,
    free: bool,
}

/// What the sites include, in the order in which it may go live.
fn snippets(ssl: &Ssl, sites: &Sites<'_>) -> Vec<File> {
    let snippet = |name: &str, content: String| File::new(format!("/etc/nginx/snippets/{name}"), content);
    let software = sites.software;
    let root = format!("{}/challenges", sites.store.root());
    let markers = sites.store.markers(ssl.name().unwrap_or_default());
    let hsts = ssl.hsts.then(|| {
        let mut hsts = format!("max-age={}", ssl.hsts_max_age.as_secs());
        if ssl.hsts_subdomains {
            hsts.push_str("; includeSubDomains");
        }
        if ssl.hsts_preload {
            hsts.push_str("; preload");
        }
        hsts
    });
    let tls = TlsConf {
        modern: ssl.tls == Tls::Modern,
        nginx: if software.http2_directive { "from 1.25.1" } else { "before 1.25.1" },
        openssl: if software.mlkem { "from 3.5" } else { "before 3.5" },
        mlkem: software.mlkem,
        tickets: software.tickets,
    };
    let default = DefaultConf {
        http2_directive: software.http2_directive,
        ipv6: software.ipv6,
        free: software.free[1],
    };
    vec![
        snippet("pitool-acme.conf", text(&Acme { root })),
        snippet("pitool-issued.conf", text(&Issued { markers, hsts })),
        snippet("pitool-tls.conf", text(&tls)),
        snippet("pitool-headers.conf", text(&Headers { hsts: ssl.hsts })),
        File::new("/etc/nginx/conf.d/pitool-default.conf", text(&default)),
    ]
}

/// A site: its file, then the link that makes it live.
fn site_of(name: &str, content: String) -> [Kind; 2] {
    let file = format!("{SITES}/{name}");
    [
        File::new(&file, content).checked_by(Check::Nginx).into(),
        Link::new(format!("{ENABLED}/{name}"), &file).checked_by(Check::Nginx).into(),
    ]
}

/// Asks whether the web server is what its sites say.
pub(crate) fn prove(settings: &Settings, facts: &Facts, wishes: &mut Wishes) {
    if !settings.app.enabled {
        return;
    }
    wishes.prove(UnitRunning { name: "nginx.service".into() });
    for (name, site) in &settings.apps {
        wishes.prove(SiteConfigured { path: format!("{ENABLED}/{name}") });
        if let Some(domain) = site.server_name.first() {
            let secured = settings.ssl.covers(domain);
            wishes.prove(SiteHealthy { name: Some(example(domain.as_str())), secured });
        }
    }
    if settings.apps.values().all(|site| !site.server_name.is_empty()) {
        wishes.prove(SiteConfigured { path: format!("{ENABLED}/{BARE}") });
    }
    for name in left_over(settings) {
        wishes.prove(SiteHealthy { name: Some(example(name)), secured: true });
    }
    if !facts.default_sites.contains_key(&80) {
        wishes.prove(SiteHealthy { name: None, secured: false });
    }
}

/// Of a pattern any name will do.
fn example(name: &str) -> String {
    name.replacen('*', "pitool", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_whoever_owns_them_only_where_root_made_them() {
        for (root, from) in [
            ("/opt/shop/current/public", Some("/opt/shop/current")),
            ("/opt/shop/public", Some("/opt/shop/public")),
            ("/opt/shop", None),
            ("/opt/shopping/public", None),
            ("/opt/shop/../other", None),
            ("/var/www/shop", None),
        ] {
            assert_eq!(trusted("/opt/shop", root).as_deref(), from, "{root}");
        }
    }

    #[test]
    fn versions_decide_what_is_written() {
        let of = |release, nginx: &str, openssl: &str| {
            let facts = Facts { release, nginx: nginx.into(), openssl: openssl.into(), ..Facts::default() };
            let software = Software::of(&facts);
            (software.http2_directive, software.mlkem, software.tickets)
        };
        assert_eq!(of(12, "", ""), (false, false, false), "what bookworm ships");
        assert_eq!(of(13, "", ""), (true, true, true), "what trixie ships");
        assert_eq!(of(12, "1.28.0", "3.0.17"), (true, false, true), "nginx.org's on bookworm");
        assert_eq!(of(13, "1.25.0", "3.4.9"), (false, false, true));
        assert_eq!(of(13, "1.25.1", "3.5.0"), (true, true, true));
        assert_eq!(of(13, "2.0", "4.0"), (true, true, true));
    }
}
