//! The rows of all benches, and how a command in a box is timed.

use anyhow::Result;
use pitool_testkit::machine::Machine;

/// A row of the table: what, the figure, its target, and what it is measured against.
pub(super) struct Row {
    pub(super) what: String,
    pub(super) value: String,
    pub(super) target: String,
    pub(super) beside: String,
    pub(super) met: bool,
}

/// The median wall time of a command in seconds, timed inside the box without the way into it.
pub(super) fn median(machine: &Machine, command: &str, rounds: u32) -> Result<f64> {
    let script = format!(
        "import shlex,subprocess,time\n\
         times=[]\n\
         for _ in range({rounds}):\n\
         \tstart=time.monotonic()\n\
         \tstatus=subprocess.run(shlex.split({command:?}),stdout=subprocess.DEVNULL,stderr=subprocess.DEVNULL).returncode\n\
         \ttimes.append(time.monotonic()-start)\n\
         \tassert status in (0,2),status\n\
         print(sorted(times)[len(times)//2])\n"
    );
    machine.write_file("/root/median.py", script, 0o644)?;
    Ok(machine.check("python3 /root/median.py")?.stdout.trim().parse()?)
}

pub(super) fn table(rows: &[Row]) {
    println!("| row | measured | target | beside | |\n|---|---|---|---|---|");
    for row in rows {
        let verdict = if row.met { "met" } else { "MISSED" };
        println!("| {} | {} | {} | {} | {verdict} |", row.what, row.value, row.target, row.beside);
    }
}
