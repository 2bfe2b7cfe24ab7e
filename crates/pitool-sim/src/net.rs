//! Who listens on the simulated machine: /proc/net and the processes that have its sockets.

use std::net::IpAddr;

use crate::world::World;

impl World {
    /// Has a process listen on a port, on every address of IPv4.
    pub fn listen(&mut self, port: u16, udp: bool, uid: u32, program: &str, cgroup: &str) -> &mut Self {
        self.listen_on("0.0.0.0", port, udp, uid, program, cgroup)
    }

    /// Has a process listen on a port of an address; without a program the socket is the kernel's own.
    #[expect(clippy::missing_panics_doc, reason = "a test that names no address is wrong")]
    pub fn listen_on(
        &mut self,
        address: &str,
        port: u16,
        udp: bool,
        uid: u32,
        program: &str,
        cgroup: &str,
    ) -> &mut Self {
        let hex = |bytes: &[u8]| -> String {
            let words = bytes.chunks(4).map(|word| match *word {
                [a, b, c, d] => u32::from_ne_bytes([a, b, c, d]),
                _ => 0,
            });
            words.map(|word| format!("{word:08X}")).collect()
        };
        #[expect(clippy::expect_used, reason = "a test that names no address is wrong")]
        let address: IpAddr = address.trim_matches(['[', ']']).parse().expect("an address");
        let (local, remote) = match address {
            IpAddr::V4(v4) => (hex(&v4.octets()), "00000000"),
            IpAddr::V6(v6) => (hex(&v6.octets()), "00000000000000000000000000000000"),
        };
        let (table, state) = if udp { ("udp", "07") } else { ("tcp", "0A") };
        let path = format!("/proc/net/{table}{}", if address.is_ipv6() { "6" } else { "" });
        let mut text = self.text(&path).to_owned();
        if text.is_empty() {
            text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
                .to_owned();
        }
        // Of its own, also where several sockets share a port.
        let table = u64::from(udp) * 2 + u64::from(address.is_ipv6());
        let inode = 20_000 + (u64::from(port) * 4 + table) * 16 + text.lines().count() as u64 % 16;
        text += &format!(
            "   0: {local}:{port:04X} {remote}:0000 {state} 00000000:00000000 00:00000000 00000000 {uid:5}        0 {inode} 1\n"
        );
        self.put(&path, text);
        if !program.is_empty() {
            let pid = self.process(program, uid, cgroup);
            self.put_link(&format!("/proc/{pid}/fd/5"), &format!("socket:[{inode}]"));
        }
        self
    }

    /// Nobody listens any more.
    pub fn hang_up(&mut self) -> &mut Self {
        for table in ["tcp", "tcp6", "udp", "udp6"] {
            self.erase(&format!("/proc/net/{table}"));
        }
        self
    }

    /// Starts a process in a control group; gives its number. The first one of a service is its main process.
    pub fn process(&mut self, program: &str, uid: u32, cgroup: &str) -> u32 {
        let pid = (600..).find(|pid| !self.exists(&format!("/proc/{pid}"))).unwrap_or(600);
        self.put_dir(&format!("/proc/{pid}/fd"));
        self.put(&format!("/proc/{pid}/comm"), format!("{program}\n"));
        self.put(&format!("/proc/{pid}/cgroup"), format!("0::{cgroup}\n"));
        self.put(
            &format!("/proc/{pid}/status"),
            format!("Name:\t{program}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n"),
        );
        pid
    }

    /// The main process of a service, 0 for none.
    pub(crate) fn main_process(&self, unit: &str) -> u32 {
        let ending = format!("/{unit}\n");
        let pids = self.names("/proc").unwrap_or_default().into_iter().filter_map(|name| name.parse().ok());
        let mut pids: Vec<u32> = pids.collect();
        pids.sort_unstable();
        let inside = |pid: &u32| self.text(&format!("/proc/{pid}/cgroup")).ends_with(&ending);
        pids.into_iter().find(inside).unwrap_or(0)
    }
}
