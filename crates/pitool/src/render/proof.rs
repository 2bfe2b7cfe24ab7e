//! Promises and whether they are in force.

use pitool_engine::{Proved, Tally, Verdict};

use crate::render::{Terminal, count, wrap};

/// `41 promises checked: 38 in force, 2 wait, 1 unknown.`
fn sentence(tally: &Tally) -> String {
    let all = tally.in_force + tally.not_in_force + tally.pending + tally.unknown;
    let checked = format!("{} checked", count(all, "promise"));
    if all == tally.in_force {
        let words = if all == 1 { "in force" } else { "all in force" };
        return format!("{checked}, {words}.");
    }
    let parts = [
        (tally.in_force, "in force"),
        (tally.not_in_force, "NOT in force"),
        (tally.pending, "still to come"),
        (tally.unknown, "unknown"),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(n, _)| *n > 0).map(|(n, words)| format!("{n} {words}")).collect();
    format!("{checked}: {}.", parts.join(", "))
}
/// Shows what is not in force or not known, everything if the person wants more, and a line that counts.
pub fn show(terminal: &Terminal<'_>, proved: &[Proved]) {
    if proved.is_empty() {
        return;
    }
    let paint = terminal.paint;
    for one in proved {
        let (sign, id) = (|text: String| text, one.id.name());
        let entry = match &one.verdict {
            Verdict::InForce { answer } if terminal.verbose => {
                Some((sign(paint.good("ok")), 2, id.to_owned(), vec![answer.clone()]))
            }
            Verdict::InForce { .. } => None,
            Verdict::NotInForce { expected, answer, hint } => Some((
                paint.bad("NOT IN FORCE"),
                12,
                id.to_owned(),
                vec![format!("promised: {expected}"), format!("found: {answer}"), format!("hint: {hint}")],
            )),
            Verdict::Pending { until } => Some((
                paint.notable("later"),
                5,
                id.to_owned(),
                vec![format!("comes into force with {until}")],
            )),
            Verdict::Unknown { why } => Some((paint.notable("unknown"), 7, id.to_owned(), vec![why.clone()])),
        };
        if let Some((word, width, id, lines)) = entry {
            terminal.line(format!("  {word}  {}", wrap(&id, terminal.width, width + 4, 6)));
            for line in lines.iter().filter(|line| !line.is_empty()) {
                terminal.line(format!("      {}", wrap(line, terminal.width, 6, 8)));
            }
        }
    }
    terminal.line(sentence(&Tally::new(proved)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_when_all_is_well() {
        let tally = Tally { in_force: 41, ..Tally::default() };
        assert_eq!(sentence(&tally), "41 promises checked, all in force.");
        let tally = Tally { in_force: 1, pending: 2, unknown: 1, not_in_force: 1 };
        assert_eq!(
            sentence(&tally),
            "5 promises checked: 1 in force, 1 NOT in force, 2 still to come, 1 unknown."
        );
    }
}
