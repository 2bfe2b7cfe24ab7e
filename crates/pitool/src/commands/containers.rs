//! Whether the containers that ran before a run still run when it is over, however it ended.

use pitool_engine::{PATIENCE, Plan, Proved, Resource};
use pitool_kinds::{Kind, KindState};
use pitool_roles::Question;
use pitool_roles::proofs::ContainersRun;

use crate::commands::promises::ask;
use crate::failure::Result;
use crate::session::Session;

/// What ran before a run.
pub(crate) struct Containers(Option<ContainersRun>);

impl Containers {
    /// Asks Docker what runs, where it runs and the plan has steps.
    pub(crate) fn note(session: &Session<'_, '_>, plan: &Plan<Kind>) -> Result<Self> {
        if plan.steps.is_empty() || !session.inspect().live() {
            return Ok(Self(None));
        }
        Ok(Self(ContainersRun::note(session.inspect())?))
    }

    /// What a plan that stops Docker stops with it, as a sentence.
    pub(crate) fn cut(&self, plan: &Plan<Kind>) -> Option<String> {
        let ran = self.0.as_ref().filter(|_| stops_docker(plan))?;
        Some(format!("Docker stops, and with it {}", ran.names().join(", ")))
    }

    /// The question after the run.
    pub(crate) fn question(&self) -> Option<Question> {
        self.0.clone().map(Question::from)
    }

    /// Asks it after a run that went back, unless Docker itself was to stop.
    pub(crate) fn ask(&self, session: &Session<'_, '_>, plan: Option<&Plan<Kind>>) -> Vec<Proved> {
        match self.question() {
            Some(question) if !plan.is_some_and(stops_docker) => ask(session, vec![question], PATIENCE),
            _ => vec![],
        }
    }
}

fn stops_docker(plan: &Plan<Kind>) -> bool {
    plan.steps.iter().any(|step| match &step.after {
        KindState::Unit(unit) => step.resource.id().name() == "docker.service" && !unit.runs(),
        _ => false,
    })
}
