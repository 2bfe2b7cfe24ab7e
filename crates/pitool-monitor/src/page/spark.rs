//! Sparklines: a day as the path of an SVG.

use std::fmt::Write;

/// The most points of a path: a phone has no more pixels for it, and the page stays small.
const POINTS: usize = 144;

/// Points of 24 hours.
const DAY: usize = crate::history::POINTS;

/// A line of 24 hours, ready to be drawn in a box 40 high.
pub(super) struct Spark {
    /// The width of the box.
    pub(super) width: usize,
    /// The line.
    pub(super) line: String,
    /// The area below it.
    pub(super) area: String,
    /// Where the last point is, in percent from the top.
    pub(super) top: Option<String>,
    /// From where to where, in words.
    pub(super) range: String,
}

impl Spark {
    /// Draws values, oldest first, in a box that spans at least `span`, so that noise does not look like mountains.
    pub(super) fn of(values: &[Option<f32>], unit: &str, span: f32) -> Option<Self> {
        let known = || values.iter().flatten().copied();
        let low = known().reduce(f32::min)?;
        let high = known().reduce(f32::max)?;
        let middle = f32::midpoint(low, high);
        let half = ((high - low) / 2.0).max(span / 2.0) * 1.1;
        let (floor, ceiling) = (middle - half, middle + half);
        let y = |value: f32| 40.0 - 40.0 * (value - floor) / (ceiling - floor);
        // A day has its full width, also when only its last hours are known.
        let mut day: Vec<Option<f32>> = vec![None; DAY.saturating_sub(values.len())];
        day.extend(values.iter().skip(values.len().saturating_sub(DAY)));
        let points: Vec<Option<f32>> = day.chunks(DAY.div_ceil(POINTS)).map(mean).collect();
        let (mut line, mut area) = (String::new(), String::new());
        let mut begun: Option<usize> = None;
        for (x, point) in points.iter().enumerate() {
            match (point, begun) {
                (Some(value), None) => {
                    // Writing to a string cannot fail.
                    let _ = write!(line, "M{x} {:.1}", y(*value));
                    let _ = write!(area, "M{x} 40V{:.1}", y(*value));
                    begun = Some(x);
                }
                (Some(value), Some(_)) => {
                    let _ = write!(line, "L{x} {:.1}", y(*value));
                    let _ = write!(area, "L{x} {:.1}", y(*value));
                }
                (None, Some(_)) => {
                    let _ = write!(area, "V40Z");
                    begun = None;
                }
                (None, None) => {}
            }
        }
        if begun.is_some() {
            let _ = write!(area, "V40Z");
        }
        let words = |value: f32| if span < 5.0 { format!("{value:.1}") } else { format!("{value:.0}") };
        let space = if unit.is_empty() { "" } else { " " };
        Some(Self {
            width: points.len() - 1,
            line,
            area,
            top: points.last().copied().flatten().map(|value| format!("{:.1}", y(value) / 40.0 * 100.0)),
            range: format!("{} to {}{space}{unit}", words(low), words(high)),
        })
    }
}

fn mean(values: &[Option<f32>]) -> Option<f32> {
    let known: Vec<f32> = values.iter().flatten().copied().collect();
    (!known.is_empty()).then(|| known.iter().sum::<f32>() / known.len() as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_a_gap() {
        let spark = Spark::of(&[Some(1.0), Some(1.0), None, None, Some(3.0), Some(3.0)], "°C", 1.0).unwrap();
        assert_eq!(spark.line.matches('M').count(), 2, "{}", spark.line);
        assert_eq!(spark.area.matches('Z').count(), 2);
        assert_eq!((spark.range.as_str(), spark.width), ("1.0 to 3.0 °C", POINTS - 1));
        assert!(Spark::of(&[None, None], "", 1.0).is_none());
        let flat = Spark::of(&[Some(50.0); 288], "%", 20.0).unwrap();
        assert_eq!(flat.top.as_deref(), Some("50.0"));
    }
}
