//! Archives from outside: what stock tools, power cuts, damage and other programs make of them.

#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests make and look at real files")]

mod changing;
mod damage;
mod databases;
mod everything;
mod hostile;
mod killed;
mod mounts;
mod place;
mod upgrade;

/// The process that reads databases: this very program, called again by the run that is tested.
mod internal {
    #[test]
    fn sqlite_pages() {
        let arguments: Vec<_> = std::env::args_os().collect();
        if pitool_backup::is_database_reader(&arguments) {
            let _ = pitool_backup::serve_databases();
        }
    }
}
