//! Containers, from one question to Docker: `GET /containers/json?all=1` (Engine API).

use pitool_host::Inspect;
use pitool_host::text::chain;
use serde::Deserialize;

use crate::kernel::text;
use crate::system::System;

/// The question.
const QUESTION: &str = "/containers/json?all=1";

/// A container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// The image's name.
    pub image: String,
    /// `running`, `exited`, `restarting`, `paused`, `created`, `dead`, `removing`.
    pub state: String,
    /// In Docker's words: `Up 2 hours (unhealthy)`.
    pub status: String,
    /// The memory that it may have, in bytes: what the kernel holds it to, not what was asked for. `None`: no limit.
    pub memory_limit: Option<u64>,
}

impl Container {
    /// Whether its own check says that it is unhealthy.
    pub fn unhealthy(&self) -> bool {
        self.status.contains("(unhealthy)")
    }

    /// The code with which it ended, of one that ended.
    pub fn exit_code(&self) -> Option<i32> {
        let rest = self.status.strip_prefix("Exited (")?;
        rest.split(')').next()?.parse().ok()
    }
}

/// What Docker said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Docker {
    /// There is no Docker here.
    Absent,
    /// It did not answer, and why.
    Silent(String),
    /// It answered.
    Answers(Vec<Container>),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    image: String,
    state: String,
    status: String,
}

/// Asks Docker.
pub fn ask(host: &dyn Inspect, system: &dyn System) -> Docker {
    let answer = match system.docker(QUESTION) {
        Ok(None) => return Docker::Absent,
        Err(why) => return Docker::Silent(why),
        Ok(Some(answer)) => answer,
    };
    if answer.status != 200 {
        return Docker::Silent(format!("it answered with status {}", answer.status));
    }
    match serde_json::from_slice::<Vec<Listed>>(&answer.body) {
        Ok(listed) => Docker::Answers(listed.into_iter().map(|listed| container(host, listed)).collect()),
        Err(error) => Docker::Silent(format!("its answer makes no sense: {}", chain(&error))),
    }
}

fn container(host: &dyn Inspect, listed: Listed) -> Container {
    let name = listed.names.first().map(|name| name.trim_start_matches('/').to_owned());
    Container {
        memory_limit: memory_limit(host, &listed.id),
        name: name.unwrap_or_else(|| listed.id.chars().take(12).collect()),
        image: listed.image,
        state: listed.state,
        status: listed.status,
    }
}

/// The limit in force, from the container's control group: with systemd's driver or Docker's own, version 2 or 1.
fn memory_limit(host: &dyn Inspect, id: &str) -> Option<u64> {
    // The id becomes part of a path.
    if id.is_empty() || !id.bytes().all(|c| c.is_ascii_hexdigit()) {
        return None;
    }
    let found = [
        format!("/sys/fs/cgroup/system.slice/docker-{id}.scope/memory.max"),
        format!("/sys/fs/cgroup/docker/{id}/memory.max"),
        format!("/sys/fs/cgroup/memory/docker/{id}/memory.limit_in_bytes"),
        format!("/sys/fs/cgroup/memory/system.slice/docker-{id}.scope/memory.limit_in_bytes"),
    ];
    let limit: u64 = found.iter().find_map(|path| text(host, path))?.trim().parse().ok()?;
    // Version 1 says "none" as the largest number of whole pages.
    (limit < 1 << 60).then_some(limit)
}

/// Whether the kernel can limit the memory of containers at all.
pub fn can_limit_memory(host: &dyn Inspect) -> bool {
    let controllers = text(host, "/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    controllers.split_ascii_whitespace().any(|name| name == "memory")
        || matches!(host.stat("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Ok(Some(_)))
        || matches!(host.stat("/sys/fs/cgroup/memory/cgroup.procs"), Ok(Some(_)))
}
