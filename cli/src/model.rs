//! What a program says of itself, as far as the command shows it. Unknown keys are passed over, and
//! each key may be missing, so that programs of other versions can be looked at.

use serde::Deserialize;

/// The newest format that this command knows.
pub(crate) const FORMAT: u64 = 1;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Info {
    pub(crate) format: u64,
    pub(crate) selvedge: String,
    pub(crate) name: String,
    pub(crate) pid: u32,
    pub(crate) uptime_s: f64,
    pub(crate) state: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Threads {
    pub(crate) selvedge: String,
    pub(crate) name: String,
    pub(crate) process: u32,
    pub(crate) uptime_s: f64,
    pub(crate) state: String,
    pub(crate) threads: Vec<Thread>,
    pub(crate) others: Vec<Other>,
    pub(crate) deadlocks: Vec<Deadlock>,
    pub(crate) queues: Vec<Queue>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Thread {
    pub(crate) path: String,
    pub(crate) id: u64,
    pub(crate) parent: Option<u64>,
    pub(crate) os_thread: Option<i64>,
    pub(crate) is_runtimes_own: bool,
    pub(crate) age_s: f64,
    pub(crate) state: String,
    pub(crate) own_code_has_ended: bool,
    pub(crate) cpu_s: Option<f64>,
    pub(crate) cpu_share: Option<f64>,
    pub(crate) waiting_for: Option<Wait>,
    pub(crate) spawned_at: Option<String>,
    pub(crate) stop: Option<Stop>,
    pub(crate) restarts: u64,
    pub(crate) failures: Vec<String>,
    pub(crate) busy: Option<String>,
    pub(crate) no_stack: Option<String>,
    pub(crate) stack: Option<Vec<Frame>>,
}

impl Thread {
    pub(crate) fn is_alive(&self) -> bool {
        self.state != "ended"
    }

    /// What it waits for, without its time: `waits for lock "savings", held by main/a`.
    pub(crate) fn wait(&self) -> Option<String> {
        let Wait { kind, name, held_by, .. } = self.waiting_for.as_ref()?;
        let mut text = match kind.as_str() {
            "thread" => format!("waits for the end of {name}"),
            "queue" => format!("waits for values of queue \"{name}\""),
            "room in queue" => format!("waits for room in queue \"{name}\""),
            "signal" if name.strip_suffix(" please_stop") == Some(&self.path) => "waits for its please_stop".to_owned(),
            kind => format!("waits for {kind} \"{name}\""),
        };
        if let Some(holder) = held_by {
            text += &format!(", held by {holder}");
        }
        Some(text)
    }

    /// What it waits for, or its state.
    pub(crate) fn doing(&self) -> String {
        self.wait().unwrap_or_else(|| format!("is {}", self.state))
    }

    /// Was asked to stop, and neither ends nor waits for its children.
    pub(crate) fn is_unstopped(&self) -> bool {
        self.stop.is_some() && self.is_alive() && !self.own_code_has_ended && !self.is_runtimes_own
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Other {
    pub(crate) path: String,
    pub(crate) os_thread: i64,
    pub(crate) age_s: Option<f64>,
    pub(crate) state: String,
    pub(crate) cpu_s: Option<f64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Wait {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) for_s: f64,
    pub(crate) held_by: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Stop {
    pub(crate) text: String,
    pub(crate) by: String,
    pub(crate) place: Option<String>,
    pub(crate) s_ago: f64,
    pub(crate) cause: Option<Box<Stop>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Frame {
    pub(crate) function: String,
    pub(crate) file: Option<String>,
    pub(crate) line: Option<u32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Deadlock {
    pub(crate) unless: Option<String>,
    pub(crate) threads: Vec<u64>,
    pub(crate) text: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Queue {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) len: u64,
    pub(crate) capacity: Option<u64>,
    pub(crate) closed: bool,
    pub(crate) popped: u64,
}
