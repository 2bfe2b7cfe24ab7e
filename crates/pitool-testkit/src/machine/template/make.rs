//! Making a template: a box that is prepared once and shut down.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};

use super::{Template, lock_file};
use crate::machine::base::Suite;
use crate::machine::files::Root;
use crate::machine::guest::{BoxOptions, Machine};
use crate::machine::lab::{Lab, lock_exclusive};
use crate::machine::talk::say;

/// Raised whenever the steps below change, so that templates of the old recipe are made again.
const RECIPE: &str = "1";

/// How many templates of one name and release stay: those of other packages that are tested on this host, too.
const KEPT: usize = 4;

impl Lab {
    /// Hands out the template of a name and a key, preparing a box for it first if there is none.
    ///
    /// `key` names everything that `prepare` puts into the box: another key is another template.
    pub fn template(
        &self,
        suite: Suite,
        name: &str,
        key: &str,
        prepare: impl FnOnce(&Machine) -> Result<()>,
    ) -> Result<Template> {
        let base = self.base(suite)?;
        let stamp = format!("{RECIPE} {} {key}", base.file_name().unwrap_or_default().to_string_lossy());
        let stamp = &blake3::hash(stamp.as_bytes()).to_hex()[..8];
        let tree = self.state().join(format!("template-{suite}-{name}-{stamp}"));
        let template = Template { suite, tree };
        let _lock = lock_exclusive(&template.lock_file())?;
        if template.tree.is_dir() {
            return Ok(template);
        }
        let started = Instant::now();
        say(&format!("making the {suite} template {name}, once"));
        self.remove_old_templates(&format!("template-{suite}-{name}-"))?;
        let mut machine = Machine::up(self, suite, &BoxOptions::named("template"))?;
        prepare(&machine).with_context(|| format!("making the {suite} template {name}"))?;
        machine.shut_down()?;
        forget(&machine.dir())?;
        // Its packages go where each copy gets them from.
        if let Some(archives) = machine.archives() {
            self.collect(archives, suite.codename(), &machine.dir())?;
        }
        fs::rename(machine.dir(), &template.tree)
            .with_context(|| format!("renaming {}", machine.dir().display()))?;
        machine.down()?;
        say(&format!("made the {suite} template {name} in {:.0} s", started.elapsed().as_secs_f64()));
        Ok(template)
    }

    /// Removes all but the youngest templates of a name, as long as nobody copies them.
    fn remove_old_templates(&self, prefix: &str) -> Result<()> {
        let mut found: Vec<(SystemTime, PathBuf)> = Vec::new();
        for entry in fs::read_dir(self.state())? {
            let path = entry?.path();
            let ours = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix));
            if ours && path.is_dir() {
                found.push((path.metadata()?.modified()?, path));
            }
        }
        found.sort();
        let surplus = (found.len() + 1).saturating_sub(KEPT);
        for (_, path) in found.into_iter().take(surplus) {
            let file = fs::OpenOptions::new().create(true).append(true).open(lock_file(&path))?;
            if let Ok(_lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                fs::remove_dir_all(&path).with_context(|| format!("removing {}", path.display()))?;
            }
        }
        Ok(())
    }
}

/// Removes from a box that is off what belongs to this one boot of this one machine.
fn forget(tree: &Path) -> Result<()> {
    for folder in ["var/log/journal", "var/tmp", "tmp", "var/cache/apt/archives"] {
        for entry in fs::read_dir(tree.join(folder)).into_iter().flatten() {
            let path = entry?.path();
            let removed = if path.is_dir() && !path.is_symlink() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.with_context(|| format!("removing {}", path.display()))?;
        }
    }
    let root = Root::open(tree)?;
    root.remove("/var/lib/systemd/random-seed")
}
