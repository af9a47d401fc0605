//! Medians, quantiles, ratios and slopes.

use serde_json::{Value, json};

/// What one measurement of benches/measure.c gave.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Microseconds from the first command's begin to the last one's end.
    pub wall: f64,
    /// Microseconds of user time of all descendants.
    pub user: f64,
    /// Microseconds of system time of all descendants.
    pub system: f64,
    /// Largest resident set of any process, in KiB.
    pub resident: f64,
    pub minor_faults: f64,
    pub context_switches: f64,
}

impl Sample {
    pub fn parse(line: &str) -> Option<Self> {
        let words: Option<Vec<f64>> = line.split_whitespace().map(|word| word.parse().ok()).collect();
        let [wall, user, system, resident, minor_faults, context_switches] = words?.try_into().ok()?;
        Some(Self { wall: wall / 1000.0, user, system, resident, minor_faults, context_switches })
    }

    /// User and system time.
    pub fn cpu(&self) -> f64 {
        self.user + self.system
    }
}

/// One figure of a sample.
pub type Field = fn(&Sample) -> f64;

/// The value below which the share `part` of the values is; 0 without values.
pub fn quantile(values: impl IntoIterator<Item = f64>, part: f64) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let index = (part * sorted.len().saturating_sub(1) as f64).round() as usize;
    sorted.get(index).copied().unwrap_or_default()
}

pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    quantile(values, 0.5)
}

/// How often the rounds are drawn anew for the spread of a ratio.
const DRAWS: usize = 400;

/// A ratio of medians, with the interval in which 95 of 100 such ratios lie when the rounds are drawn anew (bootstrap).
#[derive(Clone, Copy, Debug)]
pub struct Ratio {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

impl Ratio {
    /// The ratio of two series whose entries were measured side by side.
    pub fn new(own: &[f64], other: &[f64]) -> Self {
        let length = own.len().min(other.len());
        let of = |rounds: &[usize]| {
            median(rounds.iter().map(|&round| own[round])) / median(rounds.iter().map(|&round| other[round]))
        };
        let every: Vec<usize> = (0..length).collect();
        // Any numbers will do, and the same ones give the same interval again (xorshift, Marsaglia 2003).
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut draw = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            usize::try_from(random >> 33).unwrap_or_default() % length.max(1)
        };
        let drawn: Vec<f64> =
            (0..DRAWS).map(|_| of(&every.iter().map(|_| draw()).collect::<Vec<_>>())).collect();
        Self {
            value: of(&every),
            low: quantile(drawn.iter().copied(), 0.025),
            high: quantile(drawn.iter().copied(), 0.975),
        }
    }

    pub fn json(self) -> Value {
        json!({ "ratio": rounded(self.value), "low": rounded(self.low), "high": rounded(self.high) })
    }
}

/// With as many digits as mean something.
pub fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// The slope of the straight line nearest to the points.
pub fn slope(points: &[(f64, f64)]) -> f64 {
    #[allow(clippy::cast_precision_loss)]
    let count = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / count, y + point.1 / count));
    let (over, under) = points.iter().fold((0.0, 0.0), |(over, under), point| {
        (over + (point.0 - x) * (point.1 - y), under + (point.0 - x) * (point.0 - x))
    });
    over / under
}
