//! Role ssl, which replaces the Ansible role `ssl` (tag ssl) and certbot: a certificate by ACME, and HTTPS for the sites.
//!
//! Where it differs on purpose:
//! - The sites are the role app's own ([`web`]): the same text from both roles, so that none undoes the other.
//! - Asking a CA is no step. A step can be planned, repeated and taken back; an answer of a CA cannot. The role settles
//!   everything around it, a placeholder included, and a unit that asks: `apply` starts that unit once after its run, a
//!   timer from then on. A CA that says no leaves a machine that works, with a placeholder or with the certificate that
//!   was there.
//! - No dhparam and no stapling: nobody uses DHE any more, and no CA answers OCSP.
//! - Renewal by fractions of the lifetime and the CA's own suggestion, four times a day at a random second, instead of fixed
//!   days; no second renewer beside it.

use pitool_config::Settings;
use pitool_engine::Resource;
use pitool_host::Facts;
use pitool_resources::{File, Unit};

use crate::proofs::{CertificateServed, UnitRunning};
use crate::{Wishes, web};

/// The unit that asks for certificates.
pub const SERVICE: &str = "pitool-certificates.service";

/// The timer that starts it.
pub const TIMER: &str = "pitool-certificates.timer";

/// What the role wants.
pub fn wishes(settings: &Settings, facts: &Facts) -> Wishes {
    let mut wishes = Wishes::default();
    let Some(name) = settings.ssl.name() else {
        wishes.note("no certificate: [ssl] in the config names no domain");
        return wishes;
    };
    if settings.app.enabled {
        web::server(settings, facts, &mut wishes);
    } else {
        web::store(&settings.ssl, &mut wishes);
    }
    let mut reads = Vec::new();
    for (unit, content) in [
        (SERVICE, include_str!("../templates/ssl/certificates.service")),
        (TIMER, include_str!("../templates/ssl/certificates.timer")),
    ] {
        let file = File::new(format!("/etc/systemd/system/{unit}"), content);
        if unit == TIMER {
            reads.push(file.id());
        }
        wishes.want(file);
    }
    wishes.want(Unit::new(TIMER).reads(reads));
    let names: Vec<&str> = settings.ssl.domains.iter().map(|name| name.as_str()).collect();
    wishes.note(format!(
        "a certificate for {} is asked of {} by {SERVICE}, after this run and whenever it is due",
        names.join(", "),
        settings.ssl.directory
    ));
    web::prove(settings, facts, &mut wishes);
    wishes.prove(UnitRunning { name: TIMER.into() });
    if settings.app.enabled {
        for domain in &names {
            wishes.prove(CertificateServed {
                certificate: name.to_owned(),
                name: domain.replacen('*', "pitool", 1),
            });
        }
    }
    wishes
}
