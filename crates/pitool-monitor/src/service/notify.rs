//! What the service tells its manager: sd_notify(3).

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// It serves: `systemctl start` may return.
pub(super) const READY: &str = "READY=1";

/// It still looks: the watchdog waits anew.
pub(super) const ALIVE: &str = "WATCHDOG=1";

/// It was asked to stop.
pub(super) const STOPPING: &str = "STOPPING=1";

/// Tells the manager, where one started us and wants to hear it. A word that is lost is not worth an error: without
/// READY the start fails in time, and of the others the next one counts.
pub(super) fn notify(word: &str) {
    if let Some(socket) = std::env::var_os("NOTIFY_SOCKET") {
        let _ = send(&socket, word);
    }
}

fn send(socket: &OsStr, word: &str) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    let sent = UnixDatagram::unbound()?.send_to_addr(word.as_bytes(), &address)?;
    if sent == word.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manager_hears_it_on_a_path_and_in_the_abstract() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("notify");
        let name = format!("@pitool-notify-{}", std::process::id());
        let heard = |receiver: UnixDatagram, socket: &OsStr| {
            send(socket, READY).unwrap();
            let mut bytes = [0; 64];
            let length = receiver.recv(&mut bytes).unwrap();
            assert_eq!(&bytes[..length], b"READY=1");
        };
        heard(UnixDatagram::bind(&path).unwrap(), path.as_os_str());
        let abstract_name = SocketAddr::from_abstract_name(&name.as_bytes()[1..]).unwrap();
        heard(UnixDatagram::bind_addr(&abstract_name).unwrap(), OsStr::new(&name));
        assert!(send(OsStr::new("/nowhere/at/all"), READY).is_err());
    }
}
