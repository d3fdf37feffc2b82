//! The page of a running program, in a browser: what a person finds on it, by pointer and by keys,
//! on a desk and on a phone.

mod support;

use std::time::Duration;
use support::browser::{self, Browser};
use support::open::Open;
use support::watched::Watched;

/// A program, the way to it, and a browser that shows its page. `None` without a browser.
fn page() -> Option<(Watched, Open, Browser)> {
    let mut browser = browser::start()?;
    let watched = Watched::start();
    let open = Open::start(&watched.folder);
    browser.look(1280, 900, "light");
    browser.open(&open.address());
    browser.until("document.querySelector('#live')?.textContent === 'live'");
    Some((watched, open, browser))
}

#[test]
fn what_is_wrong_stands_on_top() {
    let Some((mut watched, _open, mut browser)) = page_of_a_stop() else { return };
    browser.until("/Deadlock/.test(document.querySelector('#problems').innerText)");
    let told = browser.text("#problems");
    for text in [
        "main/deposits is waiting for lock \"savings\"",
        "held by main/deposits",
        "\"everyone\" is no address",
        "main/deaf",
        "asked to stop by main (the test wants it)",
    ] {
        assert!(told.contains(text), "{text} is missing: {told}");
    }
    // A link leads to the thread, and opens its row.
    browser.eval("[...document.querySelectorAll('#problems a')].find((a) => a.textContent === 'main/deaf').click()");
    browser.until("document.activeElement.querySelector('.label')?.textContent === 'deaf'");
    assert!(browser.text("#tree .detail").contains("main/deaf"), "{}", browser.text("#tree"));
    // The last state stays when the program has gone.
    watched.kill();
    browser.until("document.querySelector('#live').className === 'off'");
    assert!(browser.text("#live").contains("last state"), "{}", browser.text("#live"));
    assert!(browser.text("#problems").contains("Deadlock"));
}

/// The same, with a thread that does not stop.
fn page_of_a_stop() -> Option<(Watched, Open, Browser)> {
    let (mut watched, open, mut browser) = page()?;
    watched.say("stop");
    browser.until("/Does not stop: main.deaf/.test(document.querySelector('#problems').innerText)");
    Some((watched, open, browser))
}

/// The same, with the place of that thread. The page asks for it once, and a thread that gets no processor does
/// not tell it. Then this starts over, at most twice.
fn page_with_place() -> Option<(Watched, Open, Browser)> {
    let is_told = "/at watched::/.test(document.querySelector('#problems').innerText)";
    for _ in 0..2 {
        let (watched, open, mut browser) = page_of_a_stop()?;
        if browser.holds_within(is_told, Duration::from_secs(15)) {
            return Some((watched, open, browser));
        }
    }
    let (watched, open, mut browser) = page_of_a_stop()?;
    browser.until(is_told);
    Some((watched, open, browser))
}

#[test]
fn the_place_of_a_thread_that_does_not_stop_stays() {
    let Some((mut watched, _open, mut browser)) = page_with_place() else { return };
    // Red comes with the runtime's own patience.
    let late = "isLate({ id: -1, state: 'running', stop: { s_ago: AGE }, at: known.uptime }, new Set())";
    assert_eq!(browser.eval(&late.replace("AGE", "2.5")), false);
    assert_eq!(browser.eval(&late.replace("AGE", "3.5")), true);
    let told = browser.text("#problems");
    assert!(told.contains("watched.rs:"), "{told}");
    // It is asked for once.
    assert_eq!(browser.eval("known.asked"), 1);
    watched.kill();
    browser.until("document.querySelector('#live').className === 'off'");
    assert!(browser.text("#problems").contains("at watched::"), "{}", browser.text("#problems"));
    // The moment of the first error stays, in the form of the log.
    let first = browser.text("#live");
    let since = first.split("no answer since ").nth(1).unwrap_or_default();
    assert!(since.len() > 8 && &since[2..3] == ":" && &since[5..6] == ":" && &since[8..9] == ":", "{first}");
    // Retries that fail write the line anew: each writes the same.
    browser.eval("document.querySelector('#live').textContent = ''");
    browser.until("document.querySelector('#live').textContent !== ''");
    assert_eq!(browser.text("#live"), first);
    // Nothing can be asked any more.
    for id in ["record", "count", "pause"] {
        assert_eq!(browser.eval(&format!("document.querySelector('#{id}').disabled")), true, "{id}");
    }
    assert_eq!(browser.eval("document.querySelector('#timeline').hasAttribute('href')"), false);
    browser.eval("reveal([...known.threads.values()].find((one) => one.path === 'main/deaf').id)");
    assert_eq!(browser.eval("document.querySelector('#tree .detail button').disabled"), true);
    // Its row has the stack that the problem shows.
    assert!(browser.text("#tree .detail").contains("watched::"), "{}", browser.text("#tree .detail"));
}

#[test]
fn a_stack_is_shown_as_in_the_log_and_stays() {
    let Some((mut watched, _open, mut browser)) = page() else { return };
    browser.until("[...known.threads.values()].some((one) => one.path === 'main/deposits' && one.waiting_for)");
    browser.eval("reveal([...known.threads.values()].find((one) => one.path === 'main/deposits').id)");
    // A thread that gets no processor tells no stack. Then it is asked again.
    browser.until(
        "(() => { const detail = document.querySelector('#tree .detail'); \
            if (/Stack again/.test(detail.innerText)) return true; \
            if (!/asking/.test(detail.innerText)) detail.querySelector('button').click(); \
            return false; })()",
    );
    browser.until("/watched::deadlock/.test(document.querySelector('#tree .detail').innerText)");
    let told = browser.text("#tree .detail");
    assert!(told.contains("watched.rs:"), "{told}");
    for strange in ["futex", "syscall", "/rustc/", "std::thread"] {
        assert!(!told.contains(strange), "{strange} is in it: {told}");
    }
    // All frames are behind a click.
    let all = browser.eval("document.querySelector('#tree .detail details').textContent");
    assert!(all.as_str().unwrap().contains("/rustc/"), "{all}");
    // On a phone no line is cut.
    browser.look(390, 844, "light");
    browser.eval("document.querySelector('#tree .detail details').open = true");
    let wide = browser.eval(
        "[...document.querySelectorAll('#tree .detail, #tree .detail pre')]\
            .every((one) => one.scrollWidth <= one.clientWidth)",
    );
    assert_eq!(wide, true);
    // Without an answer the old stack stays.
    watched.kill();
    browser.eval("fetchStack([...known.threads.values()].find((one) => one.path === 'main/deposits').id)");
    browser.until("/^(?!asking|Stack at)./.test(document.querySelector('#tree .detail p').innerText)");
    assert!(browser.text("#tree .detail").contains("watched::deadlock"), "{}", browser.text("#tree .detail"));
}

#[test]
fn a_long_record_is_whole_in_the_log() {
    let Some((mut watched, _open, mut browser)) = page() else { return };
    watched.say("long");
    browser.until("/a report[^]*watched.rs:1[^]*its end/.test(document.querySelector('#log-rows').innerText)");
}

#[test]
fn names_are_text_and_never_markup() {
    let Some((_watched, _open, mut browser)) = page() else { return };
    browser.until("/src=x/.test(document.querySelector('#tree').innerText)");
    assert_eq!(browser.eval("document.querySelector('#markup, #tree img')"), serde_json::Value::Null);
    let tree = browser.text("#tree");
    assert!(tree.contains("<img id=markup src=x>") && tree.contains("größe 名前"), "{tree}");
    // The library itself replaces control characters and marks that reorder a line; the page shows other
    // hidden ones as codes.
    assert!(tree.contains(r"[31mred_d\u{200b}er"), "{tree}");
    // Neither an error of the script, nor anything that the policy forbids.
    assert_eq!(browser.complaints, [""; 0]);
}

#[test]
fn keys_alone_are_enough() {
    let Some((_watched, _open, mut browser)) = page() else { return };
    browser.until("document.querySelectorAll('#tree .row').length > 5");
    browser.press("/");
    for c in ["r", "e", "a", "d", "e", "r", "-", "3"] {
        browser.press(c);
    }
    browser.until("document.querySelectorAll('#tree .row').length < 5");
    assert!(browser.text("#tree").contains("reader-3"), "{}", browser.text("#tree"));
    browser.eval("document.querySelector('#filter').value = ''; drawTree()");
    browser.eval("document.querySelector('#tree [tabindex=\"0\"]').focus()");
    browser.press("End");
    browser.press("Home");
    browser.press("ArrowDown");
    assert_eq!(browser.eval("document.activeElement.getAttribute('aria-level')"), "2");
    browser.press("Enter");
    browser.until("document.querySelector('#tree .detail') !== null");
    assert!(browser.text("#tree .detail").contains("Spawned at"), "{}", browser.text("#tree .detail"));
    browser.press("ArrowLeft");
    browser.press("ArrowLeft");
    browser.until("document.activeElement.getAttribute('aria-expanded') === 'false'");
    browser.press("ArrowRight");
    browser.until("document.activeElement.getAttribute('aria-expanded') === 'true'");
}

#[test]
fn siblings_alike_and_queues_are_shown() {
    let Some((_watched, _open, mut browser)) = page() else { return };
    browser.until("/reader-\\* ×5/.test(document.querySelector('#tree').innerText)");
    browser.eval("document.querySelector('#fold').click()");
    browser.until("/reader-4/.test(document.querySelector('#tree').innerText)");
    browser.until("/3 of 3/.test(document.querySelector('#queue-rows').innerText)");
    assert!(browser.text("#queue-rows").contains("main/walker"), "{}", browser.text("#queue-rows"));
    browser.until("/is no address/.test(document.querySelector('#log-rows').innerText)");
}

/// As in pictures, tables and metrics. A name with a number that no other one resembles is no pool.
#[test]
fn names_that_differ_in_any_numbers_are_a_pool() {
    let Some((_watched, _open, mut browser)) = page() else { return };
    browser.until("/peer \\*.\\*.\\*.\\*:\\* ×3/.test(document.querySelector('#tree').innerText)");
    let labels = browser.eval("[...document.querySelectorAll('#tree .label')].map((one) => one.textContent)");
    let has = |name: &str| labels.as_array().unwrap().iter().any(|label| label == name);
    for name in ["shard-1-of-9", "sha256", "7"] {
        assert!(has(name), "{name}: {labels}");
    }
    assert!(!has("peer 10.0.0.7:1"), "{labels}");
    // A link to a member opens its pool.
    browser.eval("reveal([...known.threads.values()].find((one) => one.path.endsWith('10.0.0.12:1')).id)");
    browser.until("document.activeElement.querySelector('.label')?.textContent === 'peer 10.0.0.12:1'");
}

#[test]
fn a_flamegraph_is_recorded_zoomed_and_searched() {
    let Some((_watched, _open, mut browser)) = page() else { return };
    browser.eval("document.querySelector('#seconds').value = '3'; document.querySelector('#record').click()");
    // On a busy machine the recording may be over before the first look.
    let is_drawn = "document.querySelectorAll('#flame-box .frame').length > 3";
    browser.until(&format!("/Recording/.test(document.querySelector('#flame-line').innerText) || {is_drawn}"));
    browser.until(is_drawn);
    browser.eval("document.querySelector('#find').value = 'watched::work'; drawFlame()");
    browser.until("/\\u00a0% found/.test(document.querySelector('#found').innerText)");
    assert_ne!(browser.eval("document.querySelectorAll('#flame-box .hit').length"), 0);
    browser.eval("document.querySelector('#flame-box .hit').click()");
    browser.until("document.querySelectorAll('#flame-box .below').length > 1");
    browser.press("Escape");
    browser.until("document.querySelectorAll('#flame-box .below').length === 0");
    // Waits can be chosen in the same place, and the timeline is beside it.
    browser.eval("document.querySelector('#seconds').value = '1'; document.querySelector('#clock').value = 'waits'");
    browser.eval("document.querySelector('#record').click()");
    browser.until("/ of waits in 1 s/.test(document.querySelector('#flame-line').innerText)");
    browser.until("[...document.querySelectorAll('#flame-box .frame')].some((one) => /waiting for/.test(one.title))");
    let clocks = "[...document.querySelectorAll('#clock option')].map((one) => one.value).join()";
    assert_eq!(browser.eval(clocks), "cpu,wall,waits,blame");
    browser.eval("const s = document.querySelector('#seconds'); s.value = '10'; s.dispatchEvent(new Event('input'))");
    assert_eq!(browser.eval("document.querySelector('#timeline').getAttribute('href')"), "timeline?seconds=10");
    assert_eq!(browser.complaints, [""; 0]);
}

#[test]
fn it_fits_a_phone_and_follows_the_color_scheme() {
    let Some((_watched, _open, mut browser)) = page() else { return };
    browser.until("document.querySelectorAll('#tree .row').length > 5");
    let mut colors = Vec::new();
    for (width, scheme) in [(390, "light"), (390, "dark"), (320, "dark"), (1280, "dark"), (2560, "light")] {
        browser.look(width, 800, scheme);
        browser.until(&format!("innerWidth === {width}"));
        let wide = browser.eval("document.documentElement.scrollWidth - innerWidth");
        assert!(wide.as_i64().unwrap() <= 0, "the page is {wide} pixels too wide at {width}");
        let nav = browser
            .eval("(() => { const nav = document.querySelector('nav'); return nav.scrollWidth - nav.clientWidth; })()");
        assert!(nav.as_i64().unwrap() <= 0, "the navigation is cut by {nav} pixels at {width}");
        colors.push(browser.eval("getComputedStyle(document.body).backgroundColor"));
    }
    assert_ne!(colors[0], colors[1]);
    assert_eq!(colors[1], colors[2]);
}
