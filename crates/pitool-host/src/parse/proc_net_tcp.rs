//! /proc/net/tcp and /proc/net/tcp6, proc_net_tcp.txt of the kernel's documentation.

/// Reads the inodes of the sockets that listen on a port.
pub fn listeners(text: &str, port: u16) -> Vec<u64> {
    // include/net/tcp_states.h
    const LISTEN: &str = "0A";
    let listener = |line: &str| {
        let mut fields = line.split_whitespace();
        let local = fields.nth(1)?;
        let state = fields.nth(1)?;
        let inode = fields.nth(5)?.parse().ok()?;
        let own = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
        (own == port && state == LISTEN).then_some(inode)
    };
    text.lines().skip(1).filter_map(listener).collect()
}

#[cfg(test)]
mod tests {
    use super::listeners;

    #[test]
    fn only_who_listens_on_the_port() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            \x20  0: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1 0000000000000000 100 0 0 10 0\n\
            \x20  1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 23456 1 0000000000000000 100 0 0 10 0\n\
            \x20  2: 0100007F:0050 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 34567 1 0000000000000000 20 4 30 10 -1\n";
        assert_eq!(listeners(text, 80), [12345]);
        assert_eq!(listeners(text, 8080), [23456]);
        assert_eq!(listeners(text, 443), [] as [u64; 0]);
        assert_eq!(listeners("", 80), [] as [u64; 0]);
    }
}
