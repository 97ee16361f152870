//! Latency percentiles as an SVG picture: ever more nines to the right, a logarithmic scale of time upwards.
//!
//! Plain text made of numbers; no fonts, scripts or other files are needed to look at it.

use crate::latency::Latencies;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 480.0;
const LEFT: f64 = 90.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 60.0;
const BOTTOM: f64 = 60.0;
const COLOURS: [&str; 2] = ["#1f6feb", "#d1741f"];

/// A picture with a few curves.
#[derive(Clone, Debug)]
pub struct Picture {
    title: String,
    curves: Vec<(String, Vec<(f64, u64)>)>,
}

impl Picture {
    /// A picture without curves.
    pub fn new(title: &str) -> Self {
        Self { title: title.to_owned(), curves: Vec::new() }
    }

    /// Adds a curve, unless nothing was recorded. Two at the most have colours of their own.
    pub fn curve(&mut self, name: &str, latencies: &Latencies) {
        let points = latencies.curve();
        if !points.is_empty() {
            self.curves.push((name.to_owned(), points));
        }
    }

    /// The picture.
    pub fn to_svg(&self) -> String {
        let scale = Scale::over(&self.curves);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
             font-size=\"13\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n\
             <text x=\"{LEFT}\" y=\"26\" font-size=\"16\">{}</text>\n",
            escape(&self.title)
        );
        svg += &scale.grid();
        for (at, (name, points)) in self.curves.iter().enumerate() {
            let colour = COLOURS[at % COLOURS.len()];
            let line: Vec<String> = points
                .iter()
                .map(|&(percent, value)| format!("{:.1},{:.1}", scale.x(percent), scale.y(value)))
                .collect();
            svg += &format!(
                "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>\n",
                line.join(" ")
            );
            let x = LEFT + 180.0 * at as f64;
            svg += &format!("<rect x=\"{x}\" y=\"38\" width=\"14\" height=\"4\" fill=\"{colour}\"/>\n");
            svg += &format!("<text x=\"{}\" y=\"46\">{}</text>\n", x + 20.0, escape(name));
        }
        svg + "</svg>\n"
    }
}

/// From percentiles and nanoseconds to places in the picture.
struct Scale {
    nines: f64,
    low: f64,
    high: f64,
}

impl Scale {
    fn over(curves: &[(String, Vec<(f64, u64)>)]) -> Self {
        let values = || curves.iter().flat_map(|(_, points)| points.iter().map(|&(_, value)| value as f64));
        let nines = curves.iter().flat_map(|(_, points)| points.iter().map(|&(percent, _)| nines(percent)));
        let low = values().fold(f64::INFINITY, f64::min).max(100.0);
        let high = values().fold(1000.0, f64::max);
        let low = if low.is_finite() { low } else { 100.0 };
        Self { nines: nines.fold(2.0, f64::max).ceil(), low: low.log10().floor(), high: high.log10().ceil() }
    }

    fn x(&self, percent: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * (nines(percent) / self.nines).clamp(0.0, 1.0)
    }

    fn y(&self, nanoseconds: u64) -> f64 {
        let part = ((nanoseconds.max(1) as f64).log10() - self.low) / (self.high - self.low).max(1.0);
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * part.clamp(0.0, 1.0)
    }

    fn grid(&self) -> String {
        let mut svg = String::new();
        let (floor, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for power in self.low as i32..=self.high as i32 {
            let y = self.y(10u64.pow(power.clamp(0, 18) as u32));
            svg += &format!("<path d=\"M{LEFT} {y:.1}H{right}\" stroke=\"#d0d0d0\"/>\n");
            let label = duration(10f64.powi(power));
            svg += &format!("<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>\n", LEFT - 8.0, y + 4.0);
        }
        let mut percents = vec![0.0, 50.0];
        percents.extend((1..=self.nines as i32).map(|count| 100.0 - 10f64.powi(2 - count)));
        for percent in percents {
            let x = self.x(percent);
            svg += &format!("<path d=\"M{x:.1} {TOP}V{floor}\" stroke=\"#d0d0d0\"/>\n");
            svg += &format!("<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{percent}%</text>\n", floor + 20.0);
        }
        let middle = (LEFT + right) / 2.0;
        svg + &format!("<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">percentile</text>\n", HEIGHT - 14.0)
    }
}

/// 90 is one nine, 99 two, 99.9 three.
fn nines(percent: f64) -> f64 {
    -(1.0 - percent.min(99.999_999_9) / 100.0).log10()
}

fn duration(nanoseconds: f64) -> String {
    match nanoseconds {
        value if value < 1e3 => format!("{value} ns"),
        value if value < 1e6 => format!("{} µs", value / 1e3),
        value if value < 1e9 => format!("{} ms", value / 1e6),
        value => format!("{} s", value / 1e9),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Recorder;

    #[test]
    fn a_picture_is_well_formed_and_finite() {
        let mut recorder = Recorder::new();
        (1..10_000).for_each(|value| recorder.record(value * 1000));
        let mut picture = Picture::new("a < b");
        picture.curve("one", &recorder.finish());
        let svg = picture.to_svg();
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && svg.contains("a &lt; b"));
        assert!(svg.contains("<polyline") && !svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn a_picture_without_curves_is_still_one() {
        let svg = Picture::new("").to_svg();
        assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN"));
    }
}
