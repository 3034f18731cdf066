//! The median of some samples, and how far they lie apart.

/// The median, the least and the greatest of some samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The one in the middle; between the two in the middle where their number is even.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// Of `samples`; `None` where there is none, or one is no finite number.
    pub fn of(samples: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = samples.into_iter().collect();
        if sorted.iter().any(|sample| !sample.is_finite()) {
            return None;
        }
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
            _ => sorted[middle],
        };
        Some(Self { median, min, max })
    }

    /// Whether `value` lies between the least and the greatest.
    pub fn holds(&self, value: f64) -> bool {
        (self.min..=self.max).contains(&value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_number_of_samples_has_the_middle_one_as_median() {
        let spread = Spread::of([9.0, 1.0, 4.0]);
        assert_eq!(spread, Some(Spread { median: 4.0, min: 1.0, max: 9.0 }));
    }

    #[test]
    fn even_number_of_samples_has_a_median_between_the_middle_ones() {
        assert_eq!(Spread::of([8.0, 1.0, 2.0, 4.0]).map(|spread| spread.median), Some(3.0));
    }

    #[test]
    fn nothing_and_what_is_not_finite_have_no_spread() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([1.0, f64::NAN]), None);
        assert_eq!(Spread::of([f64::INFINITY]), None);
    }

    #[test]
    fn holds_takes_the_ends_in() {
        let spread = Spread { median: 2.0, min: 1.0, max: 3.0 };
        assert!(spread.holds(1.0) && spread.holds(3.0) && !spread.holds(3.1) && !spread.holds(0.9));
    }
}
