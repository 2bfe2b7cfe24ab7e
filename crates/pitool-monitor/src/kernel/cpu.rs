//! Processors and processes: /proc/stat, /proc/loadavg, /proc/pressure, /proc/vmstat, proc(5).

/// Time that processors spent, in seconds since boot, in the order of /proc/stat.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Times {
    /// Ordinary programs, without guests.
    pub user: f64,
    /// Programs of low priority.
    pub nice: f64,
    /// The kernel.
    pub system: f64,
    /// Nothing to do.
    pub idle: f64,
    /// Nothing to do but waiting for a disk.
    pub iowait: f64,
    /// Interrupts.
    pub irq: f64,
    /// Soft interrupts.
    pub softirq: f64,
    /// Taken by the hypervisor.
    pub steal: f64,
    /// Guests.
    pub guest: f64,
    /// Guests of low priority.
    pub guest_nice: f64,
}

impl Times {
    /// Time of every kind; guests are part of `user` already.
    pub fn total(&self) -> f64 {
        self.user + self.nice + self.system + self.idle + self.iowait + self.irq + self.softirq + self.steal
    }

    /// The share of the time since `before` in which there was work, 0 to 1; `None` where no time has passed.
    pub fn busy_since(&self, before: &Self) -> Option<f64> {
        let total = self.total() - before.total();
        let idle = (self.idle + self.iowait) - (before.idle + before.iowait);
        (total > 0.0).then(|| (1.0 - idle / total).clamp(0.0, 1.0))
    }
}

/// /proc/stat.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stat {
    /// All processors together.
    pub all: Times,
    /// Each processor by its number.
    pub each: Vec<(String, Times)>,
    /// Interrupts since boot.
    pub interrupts: Option<u64>,
    /// Context switches since boot.
    pub context_switches: Option<u64>,
    /// Forks since boot.
    pub forks: Option<u64>,
    /// When the machine booted, in seconds since 1970.
    pub boot_time: Option<u64>,
    /// Processes that run or could run.
    pub running: Option<u64>,
    /// Processes that wait for a disk.
    pub blocked: Option<u64>,
}

/// Ticks of the clock per second in /proc, `USER_HZ`: 100 on every architecture that Debian's Pis run.
pub const TICKS: f64 = 100.0;

/// Reads /proc/stat.
pub fn stat(text: &str) -> Stat {
    let mut stat = Stat::default();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(name), rest) = (words.next(), words) else { continue };
        let mut rest = rest.map(|word| word.parse::<u64>().ok());
        if let Some(number) = name.strip_prefix("cpu") {
            let mut next = || rest.next().flatten().map_or(0.0, |ticks| ticks as f64 / TICKS);
            let times = Times {
                user: next(),
                nice: next(),
                system: next(),
                idle: next(),
                iowait: next(),
                irq: next(),
                softirq: next(),
                steal: next(),
                guest: next(),
                guest_nice: next(),
            };
            match number {
                "" => stat.all = times,
                number => stat.each.push((number.to_owned(), times)),
            }
            continue;
        }
        let first = rest.next().flatten();
        match name {
            "intr" => stat.interrupts = first,
            "ctxt" => stat.context_switches = first,
            "processes" => stat.forks = first,
            "btime" => stat.boot_time = first,
            "procs_running" => stat.running = first,
            "procs_blocked" => stat.blocked = first,
            _ => {}
        }
    }
    stat
}

/// Load of one, five and fifteen minutes.
pub fn load(text: &str) -> Option<[f64; 3]> {
    let mut words = text.split_ascii_whitespace().map_while(|word| word.parse().ok());
    Some([words.next()?, words.next()?, words.next()?])
}

/// Time lost waiting, in seconds since boot: `some` and `full` of /proc/pressure.
pub fn pressure(text: &str) -> (Option<f64>, Option<f64>) {
    let total = |kind: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind))?;
        let total = line.split_ascii_whitespace().find_map(|word| word.strip_prefix("total="))?;
        Some(total.parse::<u64>().ok()? as f64 / 1e6)
    };
    (total("some "), total("full "))
}

/// Pairs of a name and a number, as /proc/vmstat has them.
pub fn pairs(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (name, value) = line.split_once(' ')?;
        Some((name, value.trim().parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_is_what_is_not_idle() {
        let before = stat("cpu  100 0 100 800 0 0 0 0 0 0\n").all;
        let after = stat("cpu  150 0 150 880 20 0 0 0 0 0\n").all;
        assert_eq!(after.busy_since(&before), Some(0.5));
        assert_eq!(before.busy_since(&before), None);
        // The counters of a processor that was switched off and on may go back.
        assert_eq!(before.busy_since(&after), None);
    }

    #[test]
    fn everything_of_proc_stat() {
        let stat = stat(
            "cpu  1 2 3 4\ncpu0 100 0 0 50 5 1 2 3 4 6\nintr 77 1 2\nctxt 5\nbtime 1700000000\nprocesses 9\nprocs_running 2\nprocs_blocked 1\nnew thing\n",
        );
        assert_eq!(stat.each[0].0, "0");
        assert_eq!((stat.each[0].1.user, stat.each[0].1.guest_nice), (1.0, 0.06));
        assert_eq!((stat.interrupts, stat.context_switches, stat.forks), (Some(77), Some(5), Some(9)));
        assert_eq!((stat.boot_time, stat.running, stat.blocked), (Some(1_700_000_000), Some(2), Some(1)));
    }

    #[test]
    fn load_and_pressure() {
        assert_eq!(load("0.20 0.18 0.12 1/80 11206\n"), Some([0.2, 0.18, 0.12]));
        assert_eq!(load(""), None);
        let text = "some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=3\n";
        assert_eq!(pressure(text), (Some(1.5), Some(3e-6)));
        assert_eq!(pressure("full avg10=0 total=2000000\n"), (None, Some(2.0)));
    }
}
