//! The network: /proc/net/dev, /sys/class/net.

/// The kinds of numbers of a received packet in /proc/net/dev, then of a sent one.
pub const RECEIVED: [&str; 8] =
    ["bytes", "packets", "errs", "drop", "fifo", "frame", "compressed", "multicast"];
/// See [`RECEIVED`].
pub const SENT: [&str; 8] = ["bytes", "packets", "errs", "drop", "fifo", "colls", "carrier", "compressed"];

/// An interface's counters since boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// In the order of [`RECEIVED`].
    pub received: [u64; 8],
    /// In the order of [`SENT`].
    pub sent: [u64; 8],
}

/// Reads /proc/net/dev.
pub fn dev(text: &str) -> Vec<Interface> {
    let one = |line: &str| {
        let (name, rest) = line.rsplit_once(':')?;
        let numbers: Vec<u64> = rest.split_ascii_whitespace().map_while(|word| word.parse().ok()).collect();
        let (received, sent) = numbers.get(..16)?.split_at(8);
        Some(Interface {
            name: name.trim().to_owned(),
            received: received.try_into().ok()?,
            sent: sent.try_into().ok()?,
        })
    };
    text.lines().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_an_interface() {
        let text = "Inter-|   Receive |  Transmit\n face |bytes    packets\n  eth0: 10 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n    lo:1 2 3\n";
        let found = dev(text);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].name.as_str(), found[0].received[0], found[0].sent[7]), ("eth0", 10, 16));
    }
}
