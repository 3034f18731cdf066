//! Bars below each other, one block for each unit.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{
    Area, Dash, Drawn, LARGE, LETTER, SMALL, TEXT, WIDTH, said, short, stroke, text, ticks,
};
use super::data;
use crate::printer::figure;
use crate::spread::Spread;

/// A figure.
#[derive(Debug, PartialEq)]
pub(super) struct Bar {
    pub(super) what: String,
    pub(super) who: String,
    pub(super) unit: String,
    pub(super) spread: Spread,
}

impl Bar {
    fn label(&self) -> String {
        format!("{}: {}", self.what, self.who)
    }
}

/// The picture as SVG.
pub(super) fn draw(bars: &[Bar]) -> Result<String, String> {
    let units = data::distinct(bars.iter().map(|bar| bar.unit.as_str()));
    let height = bars.len() as i32 * ROW + units.len() as i32 * (ABOVE + BELOW);
    let mut svg = String::new();
    {
        let size = (WIDTH as u32, height as u32);
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE).map_err(said)?;
        let longest = bars.iter().map(|bar| bar.label().chars().count()).max().unwrap_or(0);
        let left = (longest as i32 * LETTER + 20).min(WIDTH * 6 / 10);
        let whos = data::distinct(bars.iter().map(|bar| bar.who.as_str()));
        let mut y = 0;
        for unit in units {
            let block: Vec<&Bar> = bars.iter().filter(|bar| bar.unit == unit).collect();
            draw_block(&area, &block, (y, left, &whos))?;
            y += block.len() as i32 * ROW + ABOVE + BELOW;
        }
        area.present().map_err(said)?;
    }
    Ok(svg)
}

/// The bars of one unit, from `y` on.
fn draw_block(area: &Area<'_>, bars: &[&Bar], (y, left, whos): (i32, i32, &[&str])) -> Drawn {
    let most = bars.iter().map(|bar| bar.spread.max).fold(0.0, f64::max);
    let most = if most > 0.0 { most } else { 1.0 };
    let right = WIDTH - END;
    let x_at = |value: f64| left + ((right - left) as f64 * value / most).round() as i32;
    let unit = bars.first().map_or("", |bar| bar.unit.as_str());
    text(area, (left, y + 8), (unit, LARGE, HPos::Left, VPos::Top))?;
    let (top, bottom) = (y + ABOVE, y + ABOVE + bars.len() as i32 * ROW);
    for tick in ticks((0.0, most), false) {
        let at = (x_at(tick), bottom + 6);
        text(area, at, (&short(tick), SMALL, HPos::Center, VPos::Top))?;
        stroke(area, &[(at.0, bottom), (at.0, bottom + 5)], (TEXT, Dash::Solid))?;
    }
    for (n, bar) in bars.iter().enumerate() {
        let at = top + n as i32 * ROW;
        let middle = at + ROW / 2;
        text(area, (left - 8, middle), (&bar.label(), SMALL, HPos::Right, VPos::Center))?;
        let corners = [(left, at + 4), (x_at(bar.spread.median), at + ROW - 4)];
        let colour = data::colour(&bar.who, whos);
        area.draw(&Rectangle::new(corners, colour.filled())).map_err(said)?;
        let ends = [(x_at(bar.spread.min), middle), (x_at(bar.spread.max), middle)];
        stroke(area, &ends, (TEXT, Dash::Solid))?;
        let words = figure(bar.spread.median);
        text(area, (ends[1].0 + 6, middle), (&words, SMALL, HPos::Left, VPos::Center))?;
    }
    stroke(area, &[(left, top), (left, bottom), (right, bottom)], (TEXT, Dash::Solid))
}

/// A bar with what lies between it and the next.
const ROW: i32 = 24;
/// The unit above a block, and the axis below it.
const ABOVE: i32 = 36;
const BELOW: i32 = 34;
/// Room for the figure behind the longest bar.
const END: i32 = 90;
