//! Whose packages of Docker a machine has, or can have.

use std::time::Duration;

use crate::parse::apt_sources;
use crate::{Command, DockerSource, Facts, Inspect, Result};

/// How long the repository may take to answer: a plan should not wait for a network that is not there.
const PATIENCE: Duration = Duration::from_secs(3);

impl DockerSource {
    /// Finds out: from dpkg, then from apt's sources, then by asking the repository, once and for three seconds at
    /// most. `repository` is the part of its address before the name of the distribution, `None` where there is no
    /// use in asking.
    ///
    /// # Errors
    /// dpkg's or apt's files could not be read. A network that is not there is an answer.
    pub fn of(inspect: &dyn Inspect, facts: &Facts, repository: Option<&str>) -> Result<Self> {
        let packages = inspect.packages()?;
        if packages.installed("docker-ce") {
            return Ok(Self::CeInstalled);
        }
        if packages.installed("docker.io") {
            return Ok(Self::DebianInstalled);
        }
        let Some(repository) = repository else { return Ok(Self::CeSilent) };
        let mut sources = apt_sources::read(inspect)?.into_iter();
        if sources
            .any(|(_, source)| source.enabled && source.uris.iter().any(|uri| uri.starts_with(repository)))
        {
            return Ok(Self::CeAnswers);
        }
        if !inspect.live() {
            return Ok(Self::CeSilent);
        }
        let answers = match question(inspect, facts, repository)? {
            Some(command) => inspect.ask(&command).is_ok_and(|output| output.ok()),
            None => false,
        };
        Ok(if answers { Self::CeAnswers } else { Self::CeSilent })
    }
}

/// The command that asks whether there is a release of this name: curl, or where that is missing a mere connection
/// by bash, which every Debian has.
fn question(inspect: &dyn Inspect, facts: &Facts, repository: &str) -> Result<Option<Command>> {
    // A second more, so that the program's own limit comes first.
    let limit = PATIENCE + Duration::from_secs(1);
    let url = format!("{repository}/{}/dists/{}/Release", facts.os, facts.codename);
    if inspect.stat("/usr/bin/curl")?.is_some() {
        let seconds = PATIENCE.as_secs().to_string();
        let quiet = ["-fsSIL", "-o", "/dev/null", "--max-time", &seconds, &url];
        return Ok(Some(Command::new("/usr/bin/curl").args(quiet).timeout(limit).online()));
    }
    let Some((host, port)) = endpoint(repository) else { return Ok(None) };
    // The address goes in as an argument, so that nothing in it is ever read as a script.
    let script = "exec 3<>\"/dev/tcp/$1/$2\"";
    Ok(Some(Command::new("/bin/bash").args(["-c", script, "bash", host, &port]).timeout(PATIENCE).online()))
}

/// Host and port of an address.
fn endpoint(url: &str) -> Option<(&str, String)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split('/').next()?;
    let default = if scheme == "http" { "80" } else { "443" };
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => Some((host, port.to_owned())),
        _ => Some((authority, default.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoint_of_a_repository() {
        let of = |url| endpoint(url).map(|(host, port)| format!("{host} {port}"));
        assert_eq!(of("https://download.docker.com/linux").as_deref(), Some("download.docker.com 443"));
        assert_eq!(of("http://10.0.0.1:8080/linux").as_deref(), Some("10.0.0.1 8080"));
        assert_eq!(of("http://mirror").as_deref(), Some("mirror 80"));
    }
}
