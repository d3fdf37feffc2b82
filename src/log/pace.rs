//! How long the writer lets records gather between two batches. A caller that puts a record while
//! the writer takes the one before waits for cache lines of the writer; and a sleeping writer costs
//! a caller the wake-up. So the writer sleeps with a time limit while records come, and a shorter
//! time the faster they come, so that the queue does not fill up meanwhile.

use std::time::{Duration, Instant};

/// The longest pause while records come.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_micros(500);
/// The system wakes a thread about this much later than asked for. A pause that would be shorter is
/// left out.
const LATENESS: Duration = Duration::from_micros(60);

pub(super) struct Pace {
    /// A part of the queue that may fill during a pause.
    room: u32,
    last: Instant,
}

impl Pace {
    pub(super) fn new(capacity: usize) -> Pace {
        Pace { room: u32::try_from(capacity / 4).unwrap_or(u32::MAX), last: Instant::now() }
    }

    /// The pause after a batch of `count` records. `None`: the next batch is due.
    pub(super) fn pause(&mut self, count: usize) -> Option<Duration> {
        let now = Instant::now();
        let since = now.saturating_duration_since(std::mem::replace(&mut self.last, now));
        pause(since, count, self.room)
    }
}

/// `count` records have come within `since`.
fn pause(since: Duration, count: usize, room: u32) -> Option<Duration> {
    let fills_in = match u32::try_from(count) {
        Ok(0) => LONGEST_PAUSE + LATENESS,
        Ok(count) if count <= room => since.checked_mul(room).map_or(Duration::MAX, |product| product / count),
        _ => return None,
    };
    let pause = fills_in.saturating_sub(LATENESS).min(LONGEST_PAUSE);
    (pause >= LATENESS).then_some(pause)
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;

    #[test]
    fn the_queue_does_not_fill_within_a_pause() {
        let micros = Duration::from_micros;
        // Nothing, or little: the longest pause.
        assert_eq!(pause(micros(10), 0, 2048), Some(LONGEST_PAUSE));
        assert_eq!(pause(micros(550), 100, 2048), Some(LONGEST_PAUSE));
        assert_eq!(pause(Duration::MAX, 1, 2048), Some(LONGEST_PAUSE));
        // 8 records in a microsecond fill the room in 256.
        assert_eq!(pause(micros(200), 1600, 2048), Some(micros(256) - LATENESS));
        // 20 in a microsecond: the pause would be too short.
        assert_eq!(pause(micros(100), 2000, 2048), None);
        assert_eq!(pause(micros(500), 2049, 2048), None);
        // A queue for one record.
        assert_eq!((pause(micros(500), 1, 0), pause(micros(500), 0, 0)), (None, Some(LONGEST_PAUSE)));
    }
}
