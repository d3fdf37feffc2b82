//! What a thread publishes, as the readers of its slot see it.

use super::*;

fn name(wait: Option<Wait>) -> Option<String> {
    wait.map(|wait| wait.name().to_owned())
}

#[test]
fn the_innermost_wait_shows_whichever_ends_first() {
    let slot = Arc::<Slot>::default();
    let _me = become_thread("main/waits".into(), slot.clone());
    let (outer, middle, inner) =
        (publish("queue", "outer".into()), publish("queue", "middle".into()), publish("queue", "inner".into()));
    assert_eq!(name(slot.get()).as_deref(), Some("inner"));
    drop(middle);
    assert_eq!(name(slot.get()).as_deref(), Some("inner"));
    drop(inner);
    assert_eq!(name(slot.get()).as_deref(), Some("outer"));
    drop(outer);
    assert!(slot.get().is_none());
}

#[test]
fn two_calls_have_different_serials() {
    let slot = Arc::<Slot>::default();
    let _me = become_thread("main/waits".into(), slot.clone());
    let serial = || {
        let _published = publish("queue", "jobs".into());
        slot.get().unwrap().serial()
    };
    assert_ne!(serial(), serial());
}

#[test]
fn a_thread_is_itself_again_after_the_guard() {
    let before = tree_path();
    let guard = become_thread("main/inner".into(), Arc::default());
    let inner = tree_path();
    assert_eq!(inner.as_deref(), Some("main/inner"));
    assert!(is_tree_path(inner.as_ref()) && !is_tree_path(Some(&Arc::from("main/inner"))) && !is_tree_path(None));
    drop(guard);
    assert!(!is_tree_path(inner.as_ref()) && is_tree_path(before.as_ref()));
}

#[cfg(feature = "profiling")]
#[test]
fn each_change_has_another_number() {
    let slot = Arc::<Slot>::default();
    let _me = become_thread("main/changes".into(), slot.clone());
    let before = slot.get_with_changes().0;
    let published = publish("queue", "jobs".into());
    let within = slot.get_with_changes().0;
    drop(published);
    let after = slot.get_with_changes().0;
    assert!(before != within && within != after && before != after);
}

/// A listener that looks all the time at one that changes all the time, and both are interrupted anywhere.
#[cfg(feature = "profiling")]
#[test]
fn whose_bell_has_not_rung_has_not_changed() {
    let (slot, stop) = (Arc::<Slot>::default(), Arc::new(AtomicBool::new(false)));
    let (mut bells, mut heard_ones, mut silent) = (Bells::default(), 0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _me = become_thread("main/changes".into(), slot.clone());
            while !stop.load(Ordering::Relaxed) {
                drop(publish("queue", "q".into()));
                std::thread::yield_now();
            }
        });
        let deadline = Instant::now() + Duration::from_secs(60);
        while (heard_ones < 2_000 || silent < 2_000) && Instant::now() < deadline {
            let changes = slot.get_with_changes().0;
            if !slot.hang_up(changes, &mut bells, 5) {
                continue;
            }
            loop {
                let (before, mut heard) = (slot.get_with_changes().0, false);
                bells.hear(|number| heard |= number == 5);
                if heard {
                    heard_ones += 1;
                    break;
                }
                silent += 1;
                if before != changes {
                    stop.store(true, Ordering::Relaxed);
                }
                assert_eq!(before, changes, "it had changed, and did not ring");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(heard_ones > 0 && silent > 0, "{heard_ones}, {silent}");
}
