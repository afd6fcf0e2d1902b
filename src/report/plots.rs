//! Plots as SVG text, drawn by `kuva`.

use kuva::prelude::*;

/// Colours in the order series are drawn: blue, orange, green, red, purple, grey.
pub const COLORS: [&str; 6] = [
    "#3b6fd4", "#e08a2c", "#3d9a50", "#c8423b", "#7d55b5", "#808080",
];

/// One line of a plot.
pub struct Series {
    /// Legend text.
    pub name: String,
    /// `(x, y)` points.
    pub points: Vec<(f64, f64)>,
    /// Lower and upper bound at each point, where known.
    pub band: Option<(Vec<f64>, Vec<f64>)>,
}

impl Series {
    /// A line without a band.
    pub fn new(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self {
            name: name.into(),
            points,
            band: None,
        }
    }

    /// `values` over their index times `step`.
    pub fn over_time(name: impl Into<String>, values: &[f64], step: f64) -> Self {
        Self::new(
            name,
            values
                .iter()
                .enumerate()
                .map(|(i, &v)| (i as f64 * step, v))
                .collect(),
        )
    }
}

/// What stands around the lines.
pub struct Axes<'a> {
    /// Title.
    pub title: &'a str,
    /// Below.
    pub x: &'a str,
    /// At the left.
    pub y: &'a str,
    /// Vertical lines with no label (step boundaries), in x.
    pub marks: &'a [f64],
}

/// A line plot as SVG.
pub fn lines(axes: &Axes, series: &[Series]) -> String {
    let mut plots = Vec::new();
    for (i, s) in series.iter().enumerate() {
        let color = COLORS[i % COLORS.len()];
        let mut line = LinePlot::new()
            .with_data(s.points.clone())
            .with_color(color)
            .with_stroke_width(2.0);
        if series.len() > 1 {
            line = line.with_legend(s.name.clone());
        }
        if let Some((low, high)) = &s.band {
            line = line.with_band(low.clone(), high.clone());
        }
        plots.push(Plot::Line(line));
    }
    let mut layout = Layout::auto_from_plots(&plots)
        .with_title(axes.title)
        .with_x_label(axes.x)
        .with_y_label(axes.y)
        .with_width(520.0)
        .with_height(320.0)
        .with_title_size(14)
        .with_label_size(12)
        .with_tick_size(10)
        .with_legend_position(LegendPosition::OutsideRightTop);
    for &x in axes.marks {
        layout = layout.with_reference_line(ReferenceLine::vertical(x).with_color("#999999"));
    }
    SvgBackend.render_scene(&render_multiple(plots, layout))
}

/// Bars with error bars as SVG: `(label, value, low, high)`.
pub fn bars(title: &str, y: &str, rows: &[(String, f64, f64, f64)]) -> String {
    let mut plot = BarPlot::new();
    for (i, (label, value, ..)) in rows.iter().enumerate() {
        plot = plot.with_colored_bar(label.clone(), *value, COLORS[i % COLORS.len()]);
    }
    plot = plot.with_asymmetric_error(
        rows.iter()
            .map(|(_, v, low, high)| ((v - low).max(0.0), (high - v).max(0.0))),
    );
    let plots = vec![Plot::Bar(plot)];
    let layout = Layout::auto_from_plots(&plots)
        .with_title(title)
        .with_y_label(y)
        .with_width(560.0)
        .with_height(340.0)
        .with_title_size(14)
        .with_label_size(12)
        .with_tick_size(10);
    SvgBackend.render_scene(&render_multiple(plots, layout))
}

/// One line of a [`Panel`].
pub struct Curve {
    /// Legend text.
    pub name: String,
    /// `(x, y)` points.
    pub points: Vec<(f64, f64)>,
    /// Lower and upper bound at each point, where known.
    pub band: Option<(Vec<f64>, Vec<f64>)>,
    /// Colour, `#rrggbb`.
    pub color: &'static str,
    /// How it is drawn.
    pub stroke: Stroke,
}

/// How a [`Curve`] is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stroke {
    /// A line that matters.
    Solid,
    /// A line to compare with.
    Dashed,
}

/// One plot of a grid.
pub struct Panel {
    /// Title.
    pub title: String,
    /// Below.
    pub x: String,
    /// At the left.
    pub y: String,
    /// Lines.
    pub curves: Vec<Curve>,
    /// Least and greatest y shown.
    pub range: (f64, f64),
    /// Vertical lines with no label, in x.
    pub marks: Vec<f64>,
}

/// Plots in rows of equal size, with one legend below.
pub struct Grid {
    scene: kuva::render::render::Scene,
}

impl Grid {
    /// Rows of panels, all of one length.
    pub fn new(title: &str, rows: Vec<Vec<Panel>>) -> Self {
        let columns = rows.first().map_or(0, Vec::len);
        let (mut plots, mut layouts) = (Vec::new(), Vec::new());
        let count = rows.len();
        for panel in rows.into_iter().flatten() {
            let lines: Vec<Plot> = panel.curves.into_iter().map(curve).collect();
            let mut layout = Layout::auto_from_plots(&lines)
                .with_title(panel.title)
                .with_x_label(panel.x)
                .with_y_label(panel.y)
                .with_y_axis_min(panel.range.0)
                .with_y_axis_max(panel.range.1)
                .with_title_size(14)
                .with_label_size(12)
                .with_tick_size(11);
            for x in panel.marks {
                layout =
                    layout.with_reference_line(ReferenceLine::vertical(x).with_color("#999999"));
            }
            plots.push(lines);
            layouts.push(layout);
        }
        let figure = Figure::new(count, columns)
            .with_plots(plots)
            .with_layouts(layouts)
            .with_title(title)
            .with_title_size(17)
            .with_cell_size(300.0, 250.0)
            .with_shared_legend_bottom();
        Self {
            scene: figure.render(),
        }
    }

    /// As SVG text.
    pub fn svg(&self) -> String {
        SvgBackend.render_scene(&self.scene)
    }

    /// As a PNG file's bytes.
    pub fn png(&self) -> anyhow::Result<Vec<u8>> {
        PngBackend::new()
            .with_scale(1.6)
            .render_scene(&self.scene)
            .map_err(|error| anyhow::anyhow!("a plot cannot be drawn: {error}"))
    }
}

fn curve(curve: Curve) -> Plot {
    let mut line = LinePlot::new()
        .with_data(curve.points)
        .with_color(curve.color)
        .with_legend(curve.name);
    line = match curve.stroke {
        Stroke::Solid => line.with_stroke_width(2.5),
        Stroke::Dashed => line.with_stroke_width(1.6).with_dashed(),
    };
    if let Some((low, high)) = curve.band {
        line = line.with_band(low, high);
    }
    Plot::Line(line)
}

/// Many bars, the largest first, with slanted labels: `(label, value)`. The one called `chosen` is set off.
pub fn ranking(title: &str, y: &str, rows: &[(String, f64)], chosen: &str) -> String {
    let mut rows: Vec<_> = rows.iter().collect();
    rows.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
    let mut plot = BarPlot::new();
    for (label, value) in rows {
        let color = COLORS[if label == chosen { 2 } else { 0 }];
        plot = plot.with_colored_bar(label.clone(), *value, color);
    }
    let plots = vec![Plot::Bar(plot)];
    let layout = Layout::auto_from_plots(&plots)
        .with_title(title)
        .with_y_label(y)
        .with_width(540.0)
        .with_height(400.0)
        .with_title_size(14)
        .with_label_size(12)
        .with_tick_size(10)
        .with_x_tick_rotate(-45.0);
    SvgBackend.render_scene(&render_multiple(plots, layout))
}
