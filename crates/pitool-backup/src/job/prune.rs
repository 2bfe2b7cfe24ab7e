//! Deleting archives that no rule wants.

use pitool_host::text::chain;

use super::error::Result;
use super::event::Event;
use super::jobs::Jobs;
use super::outcome::Plan;
use super::place::Place;
use super::reached::Reached;

impl<'a> Jobs<'a> {
    /// Reaches targets and decides which archives of these sets stay there and which go; deletes nothing. What cannot be
    /// reached is reported, and is not among those given.
    pub fn plan_prune(&mut self, places: &'a [Place], sets: &[&str]) -> (Vec<Reached<'a>>, Vec<Plan>) {
        let mut reached = Vec::new();
        for place in places {
            match self.reach(place, false) {
                Ok(there) => reached.push(there),
                Err(why) => self.listener.hear(Event::Failed { target: &place.name, why: &why }),
            }
        }
        let mut plans = Vec::new();
        for there in &reached {
            for set in sets.iter().filter(|set| there.place.takes(set)) {
                plans.push(Plan {
                    target: there.place.name.clone(),
                    set: (*set).to_owned(),
                    decisions: there.decide(set, &self.record, &self.now, self.synchronized),
                    append_only: there.place.append_only,
                });
            }
        }
        (reached, plans)
    }

    /// Deletes what was decided to go, and records it; gives whether all of it could be.
    ///
    /// # Errors
    /// The record cannot be written.
    pub fn prune(&mut self, mut reached: Vec<Reached<'a>>, plans: &[Plan]) -> Result<bool> {
        let mut all = true;
        for there in &mut reached {
            let target = &there.place.name;
            for plan in plans.iter().filter(|plan| plan.target == *target) {
                match there.delete(&plan.decisions, &mut self.record) {
                    Ok((0, _)) => {}
                    Ok((archives, bytes)) => {
                        self.listener.hear(Event::Deleted { target, set: &plan.set, archives, bytes });
                    }
                    Err(error) => {
                        all = false;
                        self.listener.hear(Event::Failed { target, why: &chain(&error) });
                    }
                }
            }
        }
        self.remember()?;
        Ok(all)
    }
}
