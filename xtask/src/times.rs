//! What each part of a run took: one table at its end.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};

/// Names the file that the rows of earlier tasks stand in, so that one table has those of a whole run (`.ci/run`).
const FILE: &str = "PITOOL_TIMES";

/// A part of a run, how many of its checks passed, and how long it took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) part: String,
    pub(crate) passed: String,
    pub(crate) seconds: u64,
}

/// Does a part and records what it took, also if it failed.
pub(crate) fn timed<T>(part: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let (done, row) = measured(part, work);
    append(&[row])?;
    done
}

/// Does a part and says what it took, also if it failed.
pub(crate) fn measured<T>(part: &str, work: impl FnOnce() -> Result<T>) -> (Result<T>, Row) {
    let started = Instant::now();
    let done = work();
    let passed = if done.is_ok() { "yes" } else { "NO" }.to_owned();
    let row = Row { part: part.to_owned(), passed, seconds: started.elapsed().as_secs() };
    println!("== {}: {} in {} s", row.part, row.passed, row.seconds);
    (done, row)
}

/// Adds rows to the file of this run, if it has one.
pub(crate) fn append(rows: &[Row]) -> Result<()> {
    env::var_os(FILE).map_or(Ok(()), |path| add(rows, Path::new(&path)))
}

/// Adds rows to a file.
pub(crate) fn add(rows: &[Row], path: &Path) -> Result<()> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    let mut file = file.with_context(|| format!("cannot open {}", path.display()))?;
    for row in rows {
        writeln!(file, "{}\t{}\t{}", row.part, row.passed, row.seconds)?;
    }
    Ok(())
}

/// The rows of the tasks before this one.
pub(crate) fn earlier() -> Vec<Row> {
    env::var_os(FILE).map(|path| of(Path::new(&path))).unwrap_or_default()
}

/// The rows in a file; one that is not there has none.
pub(crate) fn of(file: &Path) -> Vec<Row> {
    fs::read_to_string(file).unwrap_or_default().lines().filter_map(parse).collect()
}

fn parse(line: &str) -> Option<Row> {
    let mut fields = line.split('\t');
    let (part, passed) = (fields.next()?.to_owned(), fields.next()?.to_owned());
    Some(Row { part, passed, seconds: fields.next()?.parse().ok()? })
}

/// Prints the rows as a table.
pub(crate) fn print(rows: &[Row]) {
    let width = rows.iter().map(|row| row.part.len()).max().unwrap_or_default().max(4);
    let passed = rows.iter().map(|row| row.passed.len()).max().unwrap_or_default().max(6);
    println!("{:width$}  {:>passed$}  seconds", "part", "passed");
    for row in rows {
        println!("{:width$}  {:>passed$}  {:>7}", row.part, row.passed, row.seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::{Row, parse};

    #[test]
    fn a_row_is_read_as_it_was_written() {
        let row = Row { part: "trixie: life".into(), passed: "12 of 13".into(), seconds: 95 };
        assert_eq!(parse("trixie: life\t12 of 13\t95"), Some(row));
        assert_eq!(parse("cut off"), None);
    }
}
