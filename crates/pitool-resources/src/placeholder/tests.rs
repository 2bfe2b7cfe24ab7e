use jiff::SignedDuration;
use jiff::tz::TimeZone;
use pitool_acme::issue::Material;
use pitool_acme::storage::Generation;
use pitool_sim::{Sim, World};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

use super::*;

const LIVE: &str = "/etc/letsencrypt/live/pi.test";

/// A certificate that an authority signed, good for so many days from now, with its key.
fn signed(sim: &Sim, names: &[&str], days: i64) -> Material {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "an authority");
    let issuer = Issuer::new(authority, KeyPair::generate().unwrap());
    let mut params =
        CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    let day = |days: i64| {
        let date = (sim.now() + SignedDuration::from_hours(24 * days)).to_zoned(TimeZone::UTC).date();
        date_time_ymd(
            i32::from(date.year()),
            u8::try_from(date.month()).unwrap(),
            u8::try_from(date.day()).unwrap(),
        )
    };
    (params.not_before, params.not_after) = (day(-30), day(days));
    let key = KeyPair::generate().unwrap();
    Material { fullchain: params.signed_by(&key, &issuer).unwrap().pem(), key: key.serialize_pem() }
}

fn put(sim: &Sim, certificate: &str, key: &str, material: &Material) {
    let mut world = sim.snapshot();
    for path in [certificate, key] {
        let parts: Vec<&str> = path.split('/').collect();
        for length in 2..parts.len() {
            world.put_dir(&parts[..length].join("/"));
        }
    }
    world.put(certificate, material.fullchain.as_str()).put(key, material.key.as_str());
    sim.reset(world);
}

fn certbots(sim: &Sim, lineage: &str, material: &Material) {
    let live = format!("/etc/letsencrypt/live/{lineage}");
    put(sim, &format!("{live}/fullchain.pem"), &format!("{live}/privkey.pem"), material);
}

fn settle(sim: &Sim, wanted: &Placeholder) -> Kept {
    let before = wanted.observe(sim).unwrap();
    let to = wanted.desired(&before);
    assert_eq!(wanted.desired(&to), to, "a fixed point");
    if before != to {
        wanted.enact(sim, &before, &to).unwrap();
    }
    let now = wanted.observe(sim).unwrap();
    assert_eq!(wanted.desired(&now), now, "twice is once");
    now
}

fn machine() -> (Sim, Placeholder, Store) {
    let sim = Sim::of(World::debian(13, "arm64"));
    let store = Store::default();
    store.prepare(&sim).unwrap();
    (sim, Placeholder::new("pi.test", ["pi.test".to_owned(), "www.pi.test".to_owned()]), store)
}

fn live(sim: &Sim, store: &Store) -> Generation {
    store.generation(sim, "pi.test", store.current(sim, "pi.test").unwrap().unwrap()).unwrap()
}

#[test]
fn a_certificate_of_certbots_is_taken_over_and_stays_where_it_is() {
    for placeholder_first in [false, true] {
        let (sim, wanted, store) = machine();
        if placeholder_first {
            assert_eq!(settle(&sim, &wanted), Kept::of(Stored::Placeholder));
            assert!(!store.marked(&sim, "pi.test").unwrap(), "a placeholder sends nobody to HTTPS");
        }
        let material = signed(&sim, &["pi.test", "www.pi.test"], 60);
        certbots(&sim, "pi.test", &material);
        let before = wanted.observe(&sim).unwrap();
        let words = wanted.change(&before, &wanted.desired(&before)).summary;
        assert!(words.ends_with(&format!("a copy of the one in {LIVE}/fullchain.pem")), "{words}");
        assert_eq!(settle(&sim, &wanted), Kept::of(Stored::Certificate));
        let taken = live(&sim, &store);
        assert_eq!(taken.about.source, Source::Imported);
        assert_eq!(taken.certificate.names, ["pi.test", "www.pi.test"]);
        for name in ["pi.test", "www.pi.test"] {
            assert!(sim.stat(&format!("{}/{name}", store.markers("pi.test"))).unwrap().is_some(), "{name}");
        }
        let theirs = sim.read(&format!("{LIVE}/fullchain.pem")).unwrap().unwrap();
        assert_eq!(theirs.text(), Some(material.fullchain.as_str()));
        // Going back leaves it, and takes nothing else.
        let now = wanted.observe(&sim).unwrap();
        assert_eq!(wanted.restored(&before, &now), now);
    }
}

#[test]
fn the_certificate_of_a_site_is_taken_over() {
    let (sim, wanted, store) = machine();
    let material = signed(&sim, &["*.pi.test", "pi.test"], 10);
    put(&sim, "/srv/tls/cert", "/srv/tls/key", &material);
    let mut world = sim.snapshot();
    for directory in ["/etc/nginx", "/etc/nginx/sites-enabled", "/etc/nginx/snippets"] {
        world.put_dir(directory);
    }
    world.put("/etc/nginx/sites-enabled/blog", "server { listen 443 ssl; include snippets/blog.conf; }\n");
    world.put(
        "/etc/nginx/snippets/blog.conf",
        "ssl_certificate /srv/tls/cert; # ours\nssl_certificate_key /srv/tls/key;\n",
    );
    sim.reset(world);
    assert_eq!(settle(&sim, &wanted), Kept::of(Stored::Certificate));
    assert_eq!(live(&sim, &store).certificate.names, ["*.pi.test", "pi.test"]);
}

#[test]
fn what_nobody_could_use_is_not_taken_over() {
    type Prepare<'a> = &'a dyn Fn(&Sim);
    let unusable: [(&str, Prepare<'_>); 4] = [
        ("expired", &|sim| certbots(sim, "pi.test", &signed(sim, &["pi.test"], 0))),
        ("another name", &|sim| certbots(sim, "pi.test", &signed(sim, &["other.test"], 60))),
        ("another key", &|sim| {
            let (one, other) = (signed(sim, &["pi.test"], 60), signed(sim, &["pi.test"], 60));
            certbots(sim, "pi.test", &Material { key: other.key, ..one });
        }),
        ("signed by itself", &|sim| {
            let key = KeyPair::generate().unwrap();
            let certificate = CertificateParams::new(["pi.test".to_owned()]).unwrap().self_signed(&key);
            let (fullchain, key) = (certificate.unwrap().pem(), key.serialize_pem());
            certbots(sim, "pi.test", &Material { fullchain, key });
        }),
    ];
    for (what, prepare) in unusable {
        let (sim, wanted, _) = machine();
        prepare(&sim);
        assert_eq!(settle(&sim, &wanted), Kept::of(Stored::Placeholder), "{what}");
    }
}

#[test]
fn of_several_the_one_for_most_names_is_taken() {
    let (sim, wanted, store) = machine();
    certbots(&sim, "a", &signed(&sim, &["pi.test"], 80));
    certbots(&sim, "b", &signed(&sim, &["pi.test", "www.pi.test"], 20));
    certbots(&sim, "c", &signed(&sim, &["pi.test", "www.pi.test"], 40));
    settle(&sim, &wanted);
    let days = live(&sim, &store).certificate.not_after.duration_since(sim.now()).as_hours() / 24;
    assert!((39..=40).contains(&days), "{days}");
}

#[test]
fn a_certificate_without_marks_gets_them() {
    let (sim, wanted, store) = machine();
    certbots(&sim, "pi.test", &signed(&sim, &["pi.test", "www.pi.test"], 60));
    settle(&sim, &wanted);
    for name in ["pi.test", "www.pi.test"] {
        sim.remove(&format!("{}/{name}", store.markers("pi.test"))).unwrap();
    }
    sim.remove_dir(&store.markers("pi.test")).unwrap();
    let before = wanted.observe(&sim).unwrap();
    assert!(!wanted.change(&before, &wanted.desired(&before)).summary.is_empty());
    assert_eq!(settle(&sim, &wanted), Kept::of(Stored::Certificate));
    assert!(store.marked(&sim, "pi.test").unwrap());
}

#[test]
fn a_state_of_an_old_journal_is_read() {
    let read: Kept = serde_json::from_str("\"placeholder\"").unwrap();
    assert_eq!(read, Kept::of(Stored::Placeholder));
    let kept = Kept { elsewhere: Some("/x".into()), ..Kept::of(Stored::Nothing) };
    let text = serde_json::to_string(&kept).unwrap();
    assert_eq!(serde_json::from_str::<Kept>(&text).unwrap(), kept);
}
