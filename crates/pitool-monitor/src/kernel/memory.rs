//! Memory: /proc/meminfo, proc(5).

use pitool_host::parse::proc_meminfo;

/// One line of /proc/meminfo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The name as the kernel writes it: `Active(anon)`.
    pub name: String,
    /// In bytes where the kernel says kB, else a mere number.
    pub value: u64,
    /// Whether it is bytes.
    pub bytes: bool,
}

/// /proc/meminfo, in the kernel's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory(pub Vec<Line>);

impl Memory {
    /// Reads the text.
    pub fn parse(text: &str) -> Self {
        let line = |line: proc_meminfo::Line<'_>| Line {
            name: line.name.to_owned(),
            value: line.value,
            bytes: line.bytes,
        };
        Self(proc_meminfo::lines(text).map(line).collect())
    }

    /// A value by the kernel's name.
    pub fn get(&self, name: &str) -> Option<u64> {
        self.0.iter().find(|line| line.name == name).map(|line| line.value)
    }

    /// The share of memory that no program could get, 0 to 1.
    pub fn used(&self) -> Option<f64> {
        let (total, available) = (self.get("MemTotal")?, self.get("MemAvailable")?);
        (total > 0).then(|| 1.0 - available.min(total) as f64 / total as f64)
    }

    /// The share of swap in use, 0 to 1; `None` where there is no swap.
    pub fn swap_used(&self) -> Option<f64> {
        let (total, free) = (self.get("SwapTotal")?, self.get("SwapFree")?);
        (total > 0).then(|| 1.0 - free.min(total) as f64 / total as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_memory() {
        let memory = Memory::parse(
            "MemTotal:        1000 kB\nMemAvailable:     250 kB\nSwapTotal:          0 kB\nSwapFree: 0 kB\nHugePages_Total:    3\nrubbish\n",
        );
        assert_eq!((memory.used(), memory.swap_used()), (Some(0.75), None));
        assert_eq!(memory.0.last(), Some(&Line { name: "HugePages_Total".into(), value: 3, bytes: false }));
        assert_eq!(Memory::parse("MemTotal: 5 kB\n").used(), None);
    }
}
