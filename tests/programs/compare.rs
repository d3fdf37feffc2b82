//! Ten functions of known names and different weight on four threads, for a comparison with other
//! profilers: `compare SECONDS [FILE]`. Writes its own profile, folded, to stdout, and as a pprof
//! file.

use selvedge::profile::{self, Options};
use std::hint::black_box;
use std::time::{Duration, Instant};

macro_rules! hot {
    ($($name:ident $rounds:literal)*) => {
        $(
            #[inline(never)]
            fn $name(mut x: u64) -> u64 {
                for i in 0..$rounds {
                    x = black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(i + $rounds));
                }
                x
            }
        )*
        fn all(x: u64) -> u64 {
            [$($name(x)),*].into_iter().fold(0, u64::wrapping_add)
        }
    };
}

hot! {
    hot_a 1000 hot_b 2000 hot_c 3000 hot_d 4000 hot_e 5000
    hot_f 6000 hot_g 7000 hot_h 8000 hot_i 9000 hot_j 10000
}

pub(crate) fn main() {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).expect("seconds");
    let recording = profile::start(Options::new()).expect("it starts");
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let threads: Vec<_> = (0..4)
        .map(|n| {
            selvedge::spawn(format!("worker-{n}"), move |_| {
                let mut x = n;
                while Instant::now() < end {
                    x = all(x);
                }
                x
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no panic");
    }
    let profile = recording.finish();
    profile.write_folded(std::io::stdout()).expect("stdout takes it");
    if let Some(file) = std::env::args().nth(2) {
        profile.write_pprof(std::fs::File::create(file).expect("a file")).expect("it takes it");
    }
}
