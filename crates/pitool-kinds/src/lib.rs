//! The one list of kinds: a closed enum, so that the journal is ordinary serde and every match is exhaustive.
//!
//! Each kind is a type of `pitool-resources`; [`Kind`] is any of them, and itself a [`Resource`]. The crates that produce
//! resources, such as the roles, depend on this one. A new kind is one line in `kinds!(…)`.

use pitool_engine::{Change, Id, Move, Resource, Reversal, Risk, Stage, Turn, Upcoming};
use pitool_host::{Candidate, Digest, Error, Host, Inspect, Result};
use pitool_resources::{
    Directory, File, Firewall, Hostname, InstalledSet, Link, Locale, Package, Part, Placeholder,
    PublishedPorts, Seed, SwapFile, Sysctl, Unit, Upgrade, User,
};
use serde::{Deserialize, Serialize};

macro_rules! kinds {
    ($($kind:ident),* $(,)?) => {
        /// Any kind of resource.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Kind {
            $(#[doc = concat!("A [`", stringify!($kind), "`].")] $kind($kind),)*
        }

        /// The state of any kind of resource.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum KindState {
            $(#[doc = concat!("The state of a [`", stringify!($kind), "`].")] $kind(<$kind as Resource>::State),)*
        }

        $(impl From<$kind> for Kind {
            fn from(kind: $kind) -> Self {
                Self::$kind(kind)
            }
        })*

        impl Resource for Kind {
            type State = KindState;

            fn id(&self) -> Id {
                match self { $(Self::$kind(kind) => kind.id(),)* }
            }

            fn observe(&self, host: &dyn Inspect) -> Result<KindState> {
                match self { $(Self::$kind(kind) => kind.observe(host).map(KindState::$kind),)* }
            }

            fn desired(&self, observed: &KindState) -> KindState {
                match (self, observed) {
                    $((Self::$kind(kind), KindState::$kind(state)) => KindState::$kind(kind.desired(state)),)*
                    // A journal that mixes kinds is damaged; leaving things as they are is the safe answer.
                    (_, state) => state.clone(),
                }
            }

            fn enact(&self, host: &dyn Host, from: &KindState, to: &KindState) -> Result<()> {
                match (self, from, to) {
                    $((Self::$kind(kind), KindState::$kind(from), KindState::$kind(to)) => kind.enact(host, from, to),)*
                    _ => Err(mixed(self)),
                }
            }

            fn change(&self, from: &KindState, to: &KindState) -> Change {
                match (self, from, to) {
                    $((Self::$kind(kind), KindState::$kind(from), KindState::$kind(to)) => kind.change(from, to),)*
                    _ => Change::default(),
                }
            }

            fn stage(&self) -> Stage {
                match self { $(Self::$kind(kind) => kind.stage(),)* }
            }

            fn watches(&self) -> Vec<Id> {
                match self { $(Self::$kind(kind) => kind.watches(),)* }
            }

            fn risk(&self) -> Risk {
                match self { $(Self::$kind(kind) => kind.risk(),)* }
            }

            fn reversal(&self) -> Reversal {
                match self { $(Self::$kind(kind) => kind.reversal(),)* }
            }

            fn refusal(&self, observed: &KindState) -> Option<String> {
                match (self, observed) {
                    $((Self::$kind(kind), KindState::$kind(state)) => kind.refusal(state),)*
                    _ => None,
                }
            }

            fn objection(
                &self,
                host: &dyn Inspect,
                from: &KindState,
                to: &KindState,
                turn: &Turn<'_>,
            ) -> Result<Option<String>> {
                match (self, from, to) {
                    $((Self::$kind(kind), KindState::$kind(from), KindState::$kind(to)) => kind.objection(host, from, to, turn),)*
                    _ => Ok(None),
                }
            }

            fn decides_logins(&self, host: &dyn Inspect, to: &KindState) -> Result<Vec<Candidate>> {
                match (self, to) {
                    $((Self::$kind(kind), KindState::$kind(state)) => kind.decides_logins(host, state),)*
                    _ => Ok(Vec::new()),
                }
            }

            fn foresee(&self, observed: &KindState, upcoming: &Upcoming) -> KindState {
                match (self, observed) {
                    $((Self::$kind(kind), KindState::$kind(state)) => KindState::$kind(kind.foresee(state, upcoming)),)*
                    (_, state) => state.clone(),
                }
            }

            fn fingerprint(&self, state: &KindState) -> Option<Digest> {
                match (self, state) {
                    $((Self::$kind(kind), KindState::$kind(state)) => kind.fingerprint(state),)*
                    _ => None,
                }
            }

            fn restored(&self, before: &KindState, now: &KindState) -> KindState {
                match (self, before, now) {
                    $((Self::$kind(kind), KindState::$kind(before), KindState::$kind(now)) => KindState::$kind(kind.restored(before, now)),)*
                    (_, _, now) => now.clone(),
                }
            }

            fn remains(&self, before: &KindState, now: &KindState) -> Option<String> {
                match (self, before, now) {
                    $((Self::$kind(kind), KindState::$kind(before), KindState::$kind(now)) => kind.remains(before, now),)*
                    _ => Some("the journal's record of it is of another kind".to_owned()),
                }
            }

            fn objections(host: &dyn Inspect, moves: &[Move<Self>]) -> Vec<(Id, String)> {
                objections(host, moves)
            }

            fn departs(&self, to: &KindState) -> bool {
                match (self, to) {
                    $((Self::$kind(kind), KindState::$kind(state)) => kind.departs(state),)*
                    _ => false,
                }
            }

            fn adopt(&self, host: &dyn Host, observed: &KindState, settled: bool) -> Result<()> {
                match (self, observed) {
                    $((Self::$kind(kind), KindState::$kind(state)) => kind.adopt(host, state, settled),)*
                    _ => Ok(()),
                }
            }

            fn expect(resources: &[&Self], host: &dyn Inspect) {
                $({
                    let of_kind: Vec<&$kind> =
                        resources.iter().filter_map(|kind| if let Self::$kind(kind) = kind { Some(kind) } else { None }).collect();
                    if !of_kind.is_empty() {
                        $kind::expect(&of_kind, host);
                    }
                })*
            }

            fn preflight(host: &dyn Host, moves: &[Move<Self>]) -> std::result::Result<(), (Vec<Id>, Error)> {
                $({
                    let of_kind: Vec<Move<$kind>> = moves
                        .iter()
                        .filter_map(|step| match (&step.resource, &step.from, &step.to) {
                            (Self::$kind(resource), KindState::$kind(from), KindState::$kind(to)) => {
                                Some(Move { resource: resource.clone(), from: from.clone(), to: to.clone() })
                            }
                            _ => None,
                        })
                        .collect();
                    if !of_kind.is_empty() {
                        $kind::preflight(host, &of_kind)?;
                    }
                })*
                Ok(())
            }

            fn group(&self) -> Option<&'static str> {
                match self { $(Self::$kind(kind) => kind.group(),)* }
            }

            fn enact_group(host: &dyn Host, moves: &[Move<Self>]) -> Result<()> {
                $({
                    let of_kind: Vec<Move<$kind>> = moves
                        .iter()
                        .filter_map(|step| match (&step.resource, &step.from, &step.to) {
                            (Self::$kind(resource), KindState::$kind(from), KindState::$kind(to)) => {
                                Some(Move { resource: resource.clone(), from: from.clone(), to: to.clone() })
                            }
                            _ => None,
                        })
                        .collect();
                    if !of_kind.is_empty() {
                        $kind::enact_group(host, &of_kind)?;
                    }
                })*
                Ok(())
            }
        }
    };
}

kinds!(
    Directory,
    File,
    Firewall,
    Hostname,
    InstalledSet,
    Link,
    Locale,
    Package,
    Part,
    Placeholder,
    PublishedPorts,
    Seed,
    SwapFile,
    Sysctl,
    Unit,
    Upgrade,
    User,
);

/// What must not go back, because the program that reads it refuses what would come of it.
fn objections(host: &dyn Inspect, moves: &[Move<Kind>]) -> Vec<(Id, String)> {
    let mut returning = Vec::new();
    let mut readers = Vec::new();
    for step in moves {
        match (&step.resource, &step.from, &step.to) {
            (Kind::File(file), KindState::File(from), KindState::File(to)) => {
                returning.push(file.returning(from, to));
            }
            (Kind::Link(link), KindState::Link(from), KindState::Link(to)) => {
                returning.push(link.returning(from, to));
            }
            (Kind::Part(part), KindState::Part(from), KindState::Part(to)) => {
                returning.push(part.returning(from, to));
            }
            (Kind::Unit(unit), _, KindState::Unit(to)) => readers.push(unit.reader(to)),
            _ => {}
        }
    }
    pitool_resources::objections(host, &returning, &readers)
}

fn mixed(kind: &Kind) -> Error {
    Error::Parse {
        what: format!("the journal's record of {}", kind.id()),
        why: "its state is of another kind".into(),
    }
}
