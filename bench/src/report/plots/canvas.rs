//! Panels of lines side by side, over one legend that lies below them and hides nothing.
//!
//! Owns axes, marks and the layout in pixels. The ground is opaque, so that a dark page leaves the text
//! readable.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::data::Point;

/// Lines over connections at once.
pub(super) struct Panel {
    pub(super) title: String,
    /// What the vertical axis counts.
    pub(super) y: String,
    /// Whether the vertical axis is logarithmic; else it begins at zero.
    pub(super) is_log: bool,
    pub(super) lines: Vec<Line>,
}

/// One line.
pub(super) struct Line {
    pub(super) colour: RGBColor,
    pub(super) dash: Dash,
    pub(super) mark: Mark,
    pub(super) points: Vec<Point>,
    /// Whether bars show the least and the greatest.
    pub(super) has_bars: bool,
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dash {
    Solid,
    Long,
    Short,
}

/// How its points are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Dot,
    Triangle,
    Cross,
}

/// An entry of the legend.
pub(super) struct Key {
    pub(super) text: String,
    pub(super) colour: RGBColor,
    pub(super) dash: Dash,
    pub(super) mark: Mark,
}

impl Key {
    /// A colour's meaning.
    pub(super) fn plain(text: &str, colour: RGBColor) -> Self {
        Self { text: text.into(), colour, dash: Dash::Solid, mark: Mark::Dot }
    }

    /// A kind of line, whatever its colour.
    pub(super) fn kind(text: &str, (dash, mark): (Dash, Mark)) -> Self {
        Self { text: text.into(), colour: TEXT, dash, mark }
    }
}

/// What is drawn on.
pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// A place in pixels.
type Place = (i32, i32);
/// Why something could not be drawn.
pub(super) type Drawn = Result<(), String>;

/// The picture as SVG.
pub(super) fn draw(panels: &[Panel], keys: &[Key]) -> Result<String, String> {
    let places = legend(keys);
    let below = places.last().map_or(0, |(_, y)| y + 2 * ROW);
    let width = (WIDTH / panels.len().max(1) as i32).min(WIDEST);
    let size = (WIDTH as u32, (HEIGHT + below) as u32);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE).map_err(said)?;
        for (n, panel) in panels.iter().enumerate() {
            panel.draw(&area, (n as i32 * width, width), bounds(panel, panels))?;
        }
        for (key, (x, y)) in keys.iter().zip(places) {
            let (x, y) = (x, HEIGHT + y + ROW / 2);
            let ends = [(x, y), (x + SWATCH, y)];
            stroke(&area, &ends, (key.colour, key.dash))?;
            mark(&area, (x + SWATCH / 2, y), (key.colour, key.mark))?;
            text(&area, (x + SWATCH + 6, y), (&key.text, SMALL, HPos::Left, VPos::Center))?;
        }
        area.present().map_err(said)?;
    }
    Ok(svg)
}

/// The ends of a panel's vertical axis: panels that count the same share theirs.
fn bounds(panel: &Panel, panels: &[Panel]) -> (f64, f64) {
    let alike = panels.iter().filter(|other| other.y == panel.y).map(Panel::bounds);
    alike.fold((f64::MAX, 0.0), |(low, high), (l, h)| (low.min(l), high.max(h)))
}

/// Where the entries of the legend stand, row by row.
fn legend(keys: &[Key]) -> Vec<Place> {
    let (mut x, mut y) = (LEFT, 0);
    let place = |key: &Key| {
        let width = SWATCH + 30 + key.text.chars().count() as i32 * LETTER;
        if x > LEFT && x + width > WIDTH {
            (x, y) = (LEFT, y + ROW);
        }
        let at = (x, y);
        x += width;
        at
    };
    keys.iter().map(place).collect()
}

impl Panel {
    /// Within `width` pixels from `from` on; the vertical axis goes from `low` to `high`.
    fn draw(&self, area: &Area<'_>, (from, width): (i32, i32), (low, high): (f64, f64)) -> Drawn {
        let (left, right) = (from + LEFT, from + width - RIGHT);
        let (top, bottom) = (TOP, HEIGHT - BOTTOM);
        let xs = self.xs();
        let x_at = |value: f64| {
            let (first, last) =
                (xs.first().copied().unwrap_or(1.0), xs.last().copied().unwrap_or(1.0));
            let share = if last > first { (value / first).ln() / (last / first).ln() } else { 0.5 };
            left + INSET + ((right - left - 2 * INSET) as f64 * share).round() as i32
        };
        let y_at = |value: f64| {
            let share = match self.is_log {
                true => (value.max(low) / low).ln() / (high / low).ln(),
                false => (value - low) / (high - low),
            };
            bottom - ((bottom - top) as f64 * share).round() as i32
        };
        let middle = (left + right) / 2;
        text(area, (middle, 8), (&self.title, LARGE, HPos::Center, VPos::Top))?;
        for value in ticks((low, high), self.is_log) {
            let y = y_at(value);
            stroke(area, &[(left, y), (right, y)], (GRID, Dash::Solid))?;
            text(area, (left - 6, y), (&short(value), SMALL, HPos::Right, VPos::Center))?;
        }
        for value in &xs {
            let x = x_at(*value);
            stroke(area, &[(x, top), (x, bottom)], (GRID, Dash::Solid))?;
            text(area, (x, bottom + 6), (&short(*value), SMALL, HPos::Center, VPos::Top))?;
        }
        stroke(area, &[(left, top), (left, bottom), (right, bottom)], (TEXT, Dash::Solid))?;
        let below = (middle, bottom + 26);
        text(area, below, ("connections at once", SMALL, HPos::Center, VPos::Top))?;
        upright(area, (from + 14, (top + bottom) / 2), &self.y)?;
        for line in &self.lines {
            line.draw(area, &|(x, spread)| {
                (x_at(x), [spread.median, spread.min, spread.max].map(y_at))
            })?;
        }
        Ok(())
    }

    /// All numbers of connections.
    fn xs(&self) -> Vec<f64> {
        let mut xs: Vec<f64> =
            self.lines.iter().flat_map(|line| line.points.iter().map(|point| point.0)).collect();
        xs.sort_by(f64::total_cmp);
        xs.dedup();
        xs
    }

    /// The ends of the vertical axis.
    fn bounds(&self) -> (f64, f64) {
        let values = self.lines.iter().flat_map(|line| {
            line.points.iter().flat_map(|(_, spread)| match line.has_bars {
                true => [spread.min, spread.max],
                false => [spread.median; 2],
            })
        });
        let (low, high) = values.fold((f64::MAX, 0.0), |(low, high): (f64, f64), value| {
            (low.min(value), high.max(value))
        });
        match self.is_log {
            true if high > 0.0 => (low.max(high / 1e6) / 1.4, high * 1.4),
            false if high > 0.0 => (0.0, high * 1.08),
            _ => (if self.is_log { 0.1 } else { 0.0 }, 1.0),
        }
    }
}

impl Line {
    fn draw(&self, area: &Area<'_>, place: &dyn Fn(Point) -> (i32, [i32; 3])) -> Drawn {
        let places: Vec<(i32, [i32; 3])> = self.points.iter().map(|point| place(*point)).collect();
        let medians: Vec<Place> = places.iter().map(|(x, [y, ..])| (*x, *y)).collect();
        stroke(area, &medians, (self.colour, self.dash))?;
        for (x, [y, low, high]) in places {
            if self.has_bars {
                stroke(area, &[(x, low), (x, high)], (self.colour, Dash::Solid))?;
            }
            mark(area, (x, y), (self.colour, self.mark))?;
        }
        Ok(())
    }
}

/// A line through these places.
pub(super) fn stroke(area: &Area<'_>, places: &[Place], (colour, dash): (RGBColor, Dash)) -> Drawn {
    let style = colour.stroke_width(if colour == GRID { 1 } else { 2 });
    let (on, off) = match dash {
        Dash::Solid => return area.draw(&PathElement::new(places, style)).map_err(said),
        Dash::Long => (9.0, 5.0),
        Dash::Short => (3.0, 4.0),
    };
    for pair in places.windows(2) {
        let [a, b] = [pair[0], pair[1]].map(|(x, y)| (f64::from(x), f64::from(y)));
        let length = (b.0 - a.0).hypot(b.1 - a.1);
        let at = |along: f64| {
            let share = (along / length).min(1.0);
            ((a.0 + (b.0 - a.0) * share).round() as i32, (a.1 + (b.1 - a.1) * share).round() as i32)
        };
        let mut along = 0.0;
        while along < length {
            let dash = [at(along), at(along + on)];
            area.draw(&PathElement::new(dash, style)).map_err(said)?;
            along += on + off;
        }
    }
    Ok(())
}

fn mark(area: &Area<'_>, place: Place, (colour, mark): (RGBColor, Mark)) -> Drawn {
    match mark {
        Mark::Dot => area.draw(&Circle::new(place, 4, colour.filled())),
        Mark::Triangle => area.draw(&TriangleMarker::new(place, 6, colour.filled())),
        Mark::Cross => area.draw(&Cross::new(place, 4, colour.stroke_width(2))),
    }
    .map_err(said)
}

/// What a text says, its size, and which of its points lies at the place.
type Words<'a> = (&'a str, i32, HPos, VPos);

pub(super) fn text(area: &Area<'_>, place: Place, (words, size, h, v): Words<'_>) -> Drawn {
    let style = (FONT, size).into_font().color(&TEXT).pos(Pos::new(h, v));
    area.draw(&Text::new(words, place, style)).map_err(said)
}

/// Text that is read from below.
fn upright(area: &Area<'_>, place: Place, words: &str) -> Drawn {
    let font = (FONT, SMALL).into_font().transform(FontTransform::Rotate270);
    let style = font.color(&TEXT).pos(Pos::new(HPos::Center, VPos::Center));
    area.draw(&Text::new(words, place, style)).map_err(said)
}

/// Round values between the ends of an axis.
pub(super) fn ticks((low, high): (f64, f64), is_log: bool) -> Vec<f64> {
    let mut ticks = Vec::new();
    if is_log {
        let steps: &[f64] = if high / low > 500.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
        for decade in first..=last {
            ticks.extend(steps.iter().map(|step| step * 10f64.powi(decade)));
        }
    } else {
        let rough = (high - low) / 5.0;
        let unit = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|n| n * unit).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(rough);
        ticks.extend((0..=10).map(|n| f64::from(n) * step));
    }
    ticks.retain(|tick| (low..=high).contains(tick));
    ticks
}

/// A round value: 1, 500, 20 k, 1.5 M.
pub(super) fn short(value: f64) -> String {
    let (value, suffix) = match value {
        v if v >= 1e6 => (v / 1e6, " M"),
        v if v >= 1e4 => (v / 1e3, " k"),
        v => (v, ""),
    };
    let rounded = (value * 1e3).round() / 1e3;
    format!("{rounded}{suffix}")
}

pub(super) fn said(error: impl std::fmt::Display) -> String {
    format!("it could not be drawn: {error}")
}

const FONT: &str = "sans-serif";
/// Sizes of text; the backend takes a fifth off.
pub(super) const SMALL: i32 = 15;
pub(super) const LARGE: i32 = 18;
/// What a letter of the smaller takes at most, on average.
pub(super) const LETTER: i32 = 7;
pub(super) const WIDTH: i32 = 1_000;
/// Of a lone panel.
const WIDEST: i32 = 640;
const HEIGHT: i32 = 400;
const LEFT: i32 = 78;
const RIGHT: i32 = 14;
const TOP: i32 = 36;
const BOTTOM: i32 = 54;
/// Between the axis and the first point.
const INSET: i32 = 16;
/// A row of the legend, and the line before its text.
const ROW: i32 = 22;
const SWATCH: i32 = 34;
const GRID: RGBColor = RGBColor(224, 224, 224);
pub(super) const TEXT: RGBColor = RGBColor(34, 34, 34);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within_the_axis() {
        assert_eq!(ticks((0.0, 108_000.0), false), [0.0, 50_000.0, 100_000.0]);
        assert_eq!(ticks((7.0, 60.0), true), [10.0, 20.0, 50.0]);
        assert_eq!(ticks((5.0, 50_000.0), true), [10.0, 100.0, 1_000.0, 10_000.0]);
    }

    #[test]
    fn values_are_short() {
        let shown = [1.0, 0.5, 1_000.0, 20_000.0, 1_500_000.0].map(short);
        assert_eq!(shown, ["1", "0.5", "1000", "20 k", "1.5 M"]);
    }

    #[test]
    fn legend_goes_on_in_a_row_of_its_own() {
        let keys: Vec<Key> = (0..12).map(|_| Key::plain("sluice busy-polling", TEXT)).collect();
        let places = legend(&keys);
        assert!(places.iter().all(|(x, _)| *x < WIDTH) && places.last().unwrap().1 > 0);
        let mut seen = places.clone();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), places.len());
    }
}
