//! Makes the trees that `cargo xtask bench backup` measures on, the same bytes on every machine:
//! `trees make KIND DIR SCALE`, and `trees change KIND DIR SCALE` that changes one percent of them.
//!
//! `mixed` is 1 GiB in 20,000 files, `database` one SQLite file of 2 GiB, `tiny` 200,000 files of up to 2 KiB, each
//! divided by the scale.

#![expect(clippy::print_stdout, reason = "a program for measurements")]
#![expect(clippy::disallowed_methods, reason = "a program for measurements")]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

type Done = Result<(), Box<dyn Error>>;

fn main() -> Done {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let [what, kind, directory, scale] = args.as_slice() else {
        return Err("trees make|change mixed|database|tiny DIR SCALE".into());
    };
    let (directory, scale) = (Path::new(directory), scale.parse::<u64>()?);
    match (*what, *kind) {
        ("make", "mixed") => files(directory, &sizes(20_000 / scale, (1 << 30) / scale), 100),
        ("make", "tiny") => files(directory, &tiny(200_000 / scale), 500),
        ("make", "database") => database(directory, (2 << 30) / scale),
        ("change", "mixed") => change(directory, 20_000 / scale, 100),
        ("change", "tiny") => change(directory, 200_000 / scale, 500),
        ("change", "database") => change_database(directory),
        _ => Err("unknown tree".into()),
    }
}

/// A generator of numbers that are the same everywhere (xorshift64*, Vigna 2016).
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// About normally distributed, with deviation 1.
    fn normal(&mut self) -> f64 {
        let sum: f64 = (0..12).map(|_| (self.next() >> 11) as f64 / (1u64 << 53) as f64).sum();
        sum - 6.0
    }
}

/// Sizes as files have them: many small ones, few large ones, that together have this total.
fn sizes(count: u64, total: u64) -> Vec<u64> {
    let mut random = Random::new(1);
    let raw: Vec<f64> = (0..count).map(|_| (1.9 * random.normal()).exp()).collect();
    let unit = total as f64 / raw.iter().sum::<f64>();
    raw.iter().map(|size| (size * unit) as u64 + 1).collect()
}

fn tiny(count: u64) -> Vec<u64> {
    let mut random = Random::new(2);
    (0..count).map(|_| 16 + random.next() % 2032).collect()
}

fn path(directory: &Path, number: u64, per_directory: u64) -> PathBuf {
    let group = number / per_directory;
    directory.join(format!("d{:02}/d{group:04}/f{number:06}", group % 16))
}

fn files(directory: &Path, sizes: &[u64], per_directory: u64) -> Done {
    for (number, size) in sizes.iter().enumerate() {
        let path = path(directory, number as u64, per_directory);
        fs::create_dir_all(path.parent().ok_or("no parent")?)?;
        fs::write(&path, content(number as u64, *size))?;
    }
    println!("{} files, {} bytes", sizes.len(), sizes.iter().sum::<u64>());
    Ok(())
}

/// A quarter cannot be compressed, as pictures and archives cannot; the rest is text of words.
fn content(seed: u64, size: u64) -> Vec<u8> {
    let mut random = Random::new(seed + 1000);
    let size = size as usize;
    let mut bytes = Vec::with_capacity(size + 16);
    if seed % 4 == 0 {
        while bytes.len() < size {
            bytes.extend_from_slice(&random.next().to_le_bytes());
        }
    } else {
        while bytes.len() < size {
            // Few words are frequent, as in text and in tables.
            let word = (random.next() % 64) * (random.next() % 64);
            let mut letters = Random::new(word);
            for _ in 0..2 + word % 9 {
                bytes.push(b'a' + (letters.next() % 26) as u8);
            }
            bytes.push(if random.next() % 12 == 0 { b'\n' } else { b' ' });
        }
    }
    bytes.truncate(size);
    bytes
}

fn change(directory: &Path, count: u64, per_directory: u64) -> Done {
    let mut random = Random::new(3);
    for _ in 0..count.div_ceil(100) {
        let number = random.next() % count;
        let path = path(directory, number, per_directory);
        let size = fs::metadata(&path)?.len();
        fs::write(&path, content(number + 1_000_000 + random.next() % 1000 * 4, size))?;
    }
    Ok(())
}

fn database(directory: &Path, size: u64) -> Done {
    fs::create_dir_all(directory)?;
    let mut database = rusqlite::Connection::open(directory.join("data.grist"))?;
    database.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;
         CREATE TABLE readings (id INTEGER PRIMARY KEY, at TEXT, sensor TEXT, value REAL, note BLOB);
         CREATE INDEX by_sensor ON readings (sensor);",
    )?;
    let rows = size / 560;
    let transaction = database.transaction()?;
    {
        let mut insert =
            transaction.prepare("INSERT INTO readings (at, sensor, value, note) VALUES (?, ?, ?, ?)")?;
        for row in 0..rows {
            let value = (row % 977) as f64 / 3.0;
            insert.execute((
                format!("2026-{:02}-{:02} {:06}", row % 12 + 1, row % 28 + 1, row),
                format!("sensor-{}", row % 40),
                value,
                content(row, 470),
            ))?;
        }
    }
    transaction.commit()?;
    println!("{rows} rows");
    Ok(())
}

/// The newest percent of the rows, as a program that measures and corrects changes them.
fn change_database(directory: &Path) -> Done {
    let database = rusqlite::Connection::open(directory.join("data.grist"))?;
    database.execute_batch(
        "PRAGMA synchronous = OFF;
         UPDATE readings SET value = value + 1 WHERE id > (SELECT max(id) * 99 / 100 FROM readings);
         PRAGMA wal_checkpoint(TRUNCATE);",
    )?;
    Ok(())
}
