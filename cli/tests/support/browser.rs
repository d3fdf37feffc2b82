//! A chromium without a window, driven with the DevTools protocol through two named pipes.

use super::Folder;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Browser {
    child: Child,
    _folder: Folder,
    to: File,
    from: BufReader<File>,
    session: Option<String>,
    next: u64,
    /// What the page has complained of: errors, and violations of its Content-Security-Policy.
    pub complaints: Vec<String>,
}

/// `None` where there is no chromium. `.ci/run` sets SELVEDGE_NEED_BROWSER, and then that is an error.
pub fn start() -> Option<Browser> {
    let is_there = |name: &&str| {
        let run = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        run.is_ok_and(|status| status.success())
    };
    let Some(name) = ["chromium", "chromium-browser", "google-chrome"].iter().find(|name| is_there(name)) else {
        assert!(std::env::var_os("SELVEDGE_NEED_BROWSER").is_none(), "there is no chromium; install it");
        eprintln!("there is no chromium, so the page is not tested");
        return None;
    };
    let folder = Folder::new();
    let pipes = ["to", "from"].map(|name| folder.0.join(name));
    assert!(Command::new("mkfifo").args(&pipes).status().unwrap().success());
    // The shell opens the pipes as the two descriptors that chromium takes.
    let script = format!(
        "exec {name} --headless=new --no-sandbox --disable-gpu --no-first-run --disable-dev-shm-usage \
         --remote-debugging-pipe --user-data-dir=\"$1/data\" about:blank 3<\"$1/to\" 4>\"$1/from\""
    );
    let mut command = Command::new("sh");
    let command = command.args(["-c", &script, "sh"]).arg(&folder.0).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().unwrap();
    let to = File::options().write(true).open(&pipes[0]).unwrap();
    let from = BufReader::new(File::open(&pipes[1]).unwrap());
    let mut browser = Browser { child, _folder: folder, to, from, session: None, next: 0, complaints: Vec::new() };
    let target = browser.call("Target.createTarget", json!({"url": "about:blank"}))["targetId"].clone();
    let attached = browser.call("Target.attachToTarget", json!({"targetId": target, "flatten": true}));
    browser.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
    for domain in ["Page", "Runtime", "Log"] {
        browser.call(&format!("{domain}.enable"), json!({}));
    }
    Some(browser)
}

impl Browser {
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.next += 1;
        let mut message = json!({"id": self.next, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.to.write_all(format!("{message}\0").as_bytes()).unwrap();
        loop {
            let mut answer = Vec::new();
            self.from.read_until(0, &mut answer).unwrap();
            answer.pop().expect("chromium has ended");
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            if answer["id"] == self.next {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].clone();
            }
            let entry = &answer["params"]["entry"];
            let is_error = answer["method"] == "Log.entryAdded" && entry["level"] == "error";
            // The program has not taken a connection of `selvedge open` in time, as on a busy machine. The page
            // asks again.
            let text = entry["text"].as_str().unwrap_or_default();
            let is_late = ["status of 502", "status of 504"].iter().any(|status| text.contains(status));
            if answer["method"] == "Runtime.exceptionThrown" || (is_error && !is_late) {
                self.complaints.push(answer["params"].to_string());
            }
        }
    }

    pub fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({"url": url}));
    }

    /// The value of an expression in the page.
    #[track_caller]
    pub fn eval(&mut self, expression: &str) -> Value {
        let answer = self.call("Runtime.evaluate", json!({"expression": expression, "returnByValue": true}));
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    #[track_caller]
    pub fn text(&mut self, selector: &str) -> String {
        let text = self.eval(&format!("document.querySelector({selector:?})?.innerText ?? ''"));
        text.as_str().unwrap().to_owned()
    }

    /// Waits until the expression is true in the page. Where it throws it is not true yet: the page may draw an
    /// element anew.
    #[track_caller]
    pub fn until(&mut self, expression: &str) {
        let is_true = self.holds_within(expression, Duration::from_secs(60));
        assert!(is_true, "waited in vain until {expression} in the page");
    }

    /// The same, for at most this time. Returns `false` if it does not become true.
    #[track_caller]
    pub fn holds_within(&mut self, expression: &str, time: Duration) -> bool {
        let tried = format!("(() => {{ try {{ return {expression} }} catch {{ return false }} }})()");
        let deadline = Instant::now() + time;
        loop {
            if self.eval(&tried) == true {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn press(&mut self, key: &str) {
        let text = if key.chars().count() == 1 { json!(key) } else { json!("") };
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { text.clone() } else { json!("") };
            self.call("Input.dispatchKeyEvent", json!({"type": kind, "key": key, "text": text}));
        }
    }

    pub fn look(&mut self, width: u32, height: u32, scheme: &str) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", size);
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", features);
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
