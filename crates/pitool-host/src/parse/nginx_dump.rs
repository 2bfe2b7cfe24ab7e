//! `nginx -T`, nginx(8): after its own messages each file under a line `# configuration file PATH:`.

use std::collections::BTreeMap;

/// The files by path. One that is included twice is printed once.
pub fn parse(output: &str) -> BTreeMap<String, String> {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    let mut path = None;
    for line in output.split_inclusive('\n') {
        let header =
            line.trim_end().strip_prefix("# configuration file ").and_then(|rest| rest.strip_suffix(':'));
        if let Some(found) = header.filter(|found| found.starts_with('/')) {
            path = Some(found.to_owned());
            files.insert(found.to_owned(), String::new());
        } else if let Some(text) = path.as_ref().and_then(|path| files.get_mut(path)) {
            text.push_str(line);
        }
    }
    // nginx ends each file with one newline of its own.
    for text in files.values_mut() {
        if text.ends_with('\n') {
            text.pop();
        }
    }
    files
}
