//! Two looks at a program tell how much CPU time each thread uses now.

use crate::connect::Place;
use crate::fault::Fault;
use crate::http;
use crate::model::Threads;
use std::collections::HashMap;
use std::time::Duration;

/// Between the first look and the second, where only one picture is wanted.
const BETWEEN: Duration = Duration::from_millis(250);

#[derive(Default)]
pub(crate) struct Looks {
    uptime: f64,
    cpu: HashMap<u64, f64>,
    other_cpu: HashMap<i64, f64>,
    pub(crate) other_shares: HashMap<i64, f64>,
    popped: HashMap<u64, u64>,
    /// Values that left each queue, per second. By the queue's number: several queues may have one name.
    pub(crate) rates: HashMap<u64, f64>,
}

impl Looks {
    /// Looks at the threads. Their shares refer to the time since the look before. At the first
    /// look there are none.
    pub(crate) fn look(&mut self, place: &Place) -> Result<Threads, Fault> {
        let answer = http::get(place, "/threads", http::PATIENCE)?;
        let mut threads = read(place, &answer.body)?;
        let elapsed = threads.uptime_s - self.uptime;
        let is_first = self.cpu.is_empty() || elapsed <= 0.0;
        let share = |now: f64, before: Option<&f64>, age: f64| {
            // A thread that is new has used all of it since it began.
            let span = before.map_or(age.min(elapsed), |_| elapsed);
            if is_first || span <= 0.0 { None } else { Some((now - before.copied().unwrap_or(0.0)).max(0.0) / span) }
        };
        for thread in &mut threads.threads {
            thread.cpu_share = thread.cpu_s.and_then(|now| share(now, self.cpu.get(&thread.id), thread.age_s));
        }
        let others = threads.others.iter();
        self.other_shares = others
            .filter_map(|other| {
                let now = other.cpu_s?;
                let share = share(now, self.other_cpu.get(&other.os_thread), other.age_s.unwrap_or(f64::MAX))?;
                Some((other.os_thread, share))
            })
            .collect();
        let per_second =
            |now: u64, before: Option<&u64>| now.saturating_sub(before.copied().unwrap_or(now)) as f64 / elapsed;
        let queues = threads.queues.iter().filter(|_| !is_first);
        self.rates = queues.map(|queue| (queue.id, per_second(queue.popped, self.popped.get(&queue.id)))).collect();
        self.uptime = threads.uptime_s;
        self.cpu = threads.threads.iter().filter_map(|thread| Some((thread.id, thread.cpu_s?))).collect();
        self.other_cpu = threads.others.iter().filter_map(|other| Some((other.os_thread, other.cpu_s?))).collect();
        self.popped = threads.queues.iter().map(|queue| (queue.id, queue.popped)).collect();
        Ok(threads)
    }

    /// Looks twice, so that there are shares.
    pub(crate) fn look_twice(place: &Place) -> Result<(Looks, Threads), Fault> {
        let mut looks = Looks::default();
        looks.look(place)?;
        std::thread::sleep(BETWEEN);
        let threads = looks.look(place)?;
        Ok((looks, threads))
    }
}

pub(crate) fn read(place: &Place, json: &[u8]) -> Result<Threads, Fault> {
    serde_json::from_slice(json)
        .map_err(|error| Fault::failed(format!("the answer of {place} cannot be read: {error}")))
}
