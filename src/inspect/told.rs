//! The counters as clients have read them. A scraper takes a falling counter for a new one, and adds all
//! of it once more. Knows no metrics.

use crate::model::locks::Mutex;
use std::collections::HashMap;

/// The last value of each series, by its name and labels.
#[derive(Default)]
pub(super) struct Told(Mutex<HashMap<String, f64>>);

impl Told {
    /// The value to tell: `value`, or the value that was told before if that is more. A sum over threads may be
    /// less for a moment: a thread that ends is neither among the living nor among the ended.
    pub(super) fn at_least_before(&self, series: &str, value: f64) -> f64 {
        let mut told = self.0.lock();
        match told.get_mut(series) {
            Some(before) => {
                *before = before.max(value);
                *before
            }
            None => *told.entry(series.to_owned()).or_insert(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_series_falls() {
        let told = Told::default();
        let values = [3.0, 2.0, 4.0, 0.0].map(|value| told.at_least_before("waits_total{thread=\"main\"}", value));
        assert_eq!(values, [3.0, 3.0, 4.0, 4.0]);
        assert_eq!(told.at_least_before("waits_total{thread=\"other\"}", 1.0), 1.0);
    }
}
