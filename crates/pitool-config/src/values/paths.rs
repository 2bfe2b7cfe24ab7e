//! Paths.

use std::path::Path;

use super::{Invalid, text};

text! {
    /// An absolute path without `..`, and without spaces or anything that nginx, systemd or a shell would read.
    AbsolutePath, "an absolute path", "path", "/opt/app/current", absolute
}
text! {
    /// The path of a login shell.
    UnixShell, "the path of a shell", "path", "/bin/bash", shell
}

impl AbsolutePath {
    /// The path.
    pub fn as_path(&self) -> &Path {
        Path::new(self.as_str())
    }

    /// The path of something in this directory; the name has no `/`.
    pub(crate) fn join(&self, name: &str) -> Self {
        Self(format!("{}/{name}", self.0.trim_end_matches('/')))
    }

    /// Where archives of backups are kept on the machine.
    pub(crate) fn backups() -> Self {
        Self("/var/backups/pitool".to_owned())
    }

    /// Where the replaced roles had Grist's documents.
    pub(crate) fn grist() -> Self {
        Self("/opt/grist/data".to_owned())
    }

    /// The file with the key of a bucket whose config names none.
    pub(crate) fn s3_key_of(target: &super::BackupName) -> Self {
        Self(format!("/etc/pitool/s3-{target}.key"))
    }

    /// The directory of an app whose config names none.
    pub(crate) fn home_of(app: &super::AppName) -> Self {
        Self(format!("/opt/{app}"))
    }
}

impl UnixShell {
    /// The shell of a user whose config names none.
    pub(crate) fn bash() -> Self {
        Self("/bin/bash".to_owned())
    }
}

fn absolute(text: &str) -> Result<String, Invalid> {
    if !text.starts_with('/') {
        return Err(Invalid::new(format!("{text:?} is not an absolute path")).hint("start it with `/`"));
    }
    let good = |c: char| c.is_ascii_alphanumeric() || "/._-+@,=".contains(c);
    if let Some(c) = text.chars().find(|c| !good(*c)) {
        return Err(Invalid::new(format!("{c:?} is not allowed in this path"))
            .hint("letters, digits and `/ . _ - + @ , =`"));
    }
    if text.split('/').any(|part| part == ".." || part == ".") {
        return Err(Invalid::new("a path here has no `.` and no `..`"));
    }
    if text.len() > 4000 {
        return Err(Invalid::new("this path is too long"));
    }
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty()).collect();
    Ok(format!("/{}", parts.join("/")))
}

fn shell(text: &str) -> Result<String, Invalid> {
    match absolute(text)? {
        path if path == "/" => Err(Invalid::new("`/` is not a shell")),
        path => Ok(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_absolute_and_plain() {
        assert_eq!("/opt//x/".parse::<AbsolutePath>().unwrap().as_str(), "/opt/x");
        for bad in
            ["", "opt/x", "/opt/../etc", "/opt/./x", "/opt/x;", "/opt/a b", "/opt/$x", "/opt/x\n", "~/x"]
        {
            assert!(bad.parse::<AbsolutePath>().is_err(), "{bad:?}");
        }
    }
}
