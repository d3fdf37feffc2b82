//! The output of the writers for made-up stacks.

use super::*;
use std::sync::Arc;
use std::time::Duration;

fn location(address: u64, functions: &[&str]) -> Location {
    let line = |name: &&str| Line {
        function: (*name).into(),
        system_name: format!("_Z{name}").into(),
        file: "src/a.rs".into(),
        line: 12,
    };
    Location { address, module: Some(0), lines: functions.iter().map(line).collect() }
}

fn stacks() -> Stacks {
    let stack = |label: &str, frames: &[usize], samples: u64, weight: u64| Stack {
        label: label.into(),
        frames: frames.to_vec(),
        labels: Vec::new(),
        samples,
        weight,
    };
    Stacks {
        stacks: vec![
            stack("main/fetcher;1", &[0, 1], 2, 2_000_001),
            stack("main", &[2], 1, 5_000_000),
            stack("main/fetcher;1", &[3, 1], 1, 3_000_000),
        ],
        locations: vec![
            location(0x10, &["<[u8; 8]>::fmt", "app::parse"]),
            location(0x20, &["app::main"]),
            Location::remark("[no stack]"),
            // Reads like location 0.
            location(0x30, &["<[u8; 8]>::fmt", "app::parse"]),
        ],
        modules: vec![Module {
            start: 0,
            end: 0x100,
            file_offset: 0,
            file: "/bin/app".into(),
            build_id: "ab12".into(),
        }],
    }
}

#[test]
fn folded_lines_are_sorted_and_equal_ones_are_one() {
    let mut text = Vec::new();
    write_folded(&stacks(), &mut text).unwrap();
    let expected = "main;[no stack] 5000000\n\
                    main;fetcher:1;app::main;app::parse;<[u8: 8]>::fmt 5000001\n";
    assert_eq!(String::from_utf8(text).unwrap(), expected);
}

#[test]
fn the_picture_has_its_titles_frames_and_unit() {
    let mut text = Vec::new();
    write_svg(&stacks(), "title & all", "sub", &FlameOptions::new(), &mut text).unwrap();
    let svg = String::from_utf8(text).unwrap();
    let expected =
        ["title &amp; all", ">sub<", "app::parse (5 ms, 50.00%)", "&lt;[u8: 8]&gt;::fmt (5 ms", "fetcher:1 (5 ms"];
    for part in expected {
        assert!(svg.contains(part), "{part} is missing in {svg}");
    }
    // Threads, remarks and code have different colours.
    let colour = |frame: &str| {
        let after = &svg[svg.find(&format!("<title>{frame} (")).unwrap()..];
        after.split("fill=\"").nth(1).unwrap().split('"').next().unwrap()
    };
    assert_eq!(colour("main"), "rgb(120,165,225)");
    assert_eq!(colour("fetcher:1"), "rgb(134,179,239)");
    assert_eq!(colour("[no stack]"), "rgb(190,190,190)");
    assert_ne!(colour("app::parse"), "rgb(190,190,190)");
}

#[test]
fn options_override_the_titles() {
    let mut text = Vec::new();
    let options = FlameOptions::new().title("mine").subtitle("also mine");
    write_svg(&stacks(), "title", "sub", &options, &mut text).unwrap();
    let svg = String::from_utf8(text).unwrap();
    assert!(svg.contains(">mine<") && svg.contains(">also mine<") && !svg.contains(">sub<"));
}

#[test]
fn short_stacks_are_shown_in_microseconds() {
    let mut stacks = stacks();
    stacks.stacks[1].weight = 7_000;
    let mut text = Vec::new();
    write_svg(&stacks, "", "", &FlameOptions::new(), &mut text).unwrap();
    assert!(String::from_utf8(text).unwrap().contains("[no stack] (7 µs"));
}

#[test]
fn a_writer_that_refuses_is_an_io_error() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("no space left"))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let facts = facts();
    let results = [
        write_folded(&stacks(), Full),
        write_svg(&stacks(), "", "", &FlameOptions::new(), Full),
        write_pprof(&stacks(), &facts, Full),
    ];
    for result in &results {
        let error = result.as_ref().unwrap_err();
        assert!(error.is_io() && error.to_string().ends_with("no space left"), "{error}");
    }
}

fn facts() -> Facts<'static> {
    Facts {
        values: [["samples", "count"], ["cpu", "nanoseconds"]],
        started: std::time::UNIX_EPOCH,
        duration: Duration::from_secs(2),
        period_type: ["cpu", "nanoseconds"],
        period: 10_000_000,
        label_key: "thread",
        comments: &[],
    }
}

/// Decoded by the types of the pprof crate, which were made from the format's own description.
#[test]
fn the_pprof_tables_refer_to_each_other() {
    use ::pprof::protos::{self, Message};
    use std::io::Read;

    let stacks = stacks();
    let mut file = Vec::new();
    write_pprof(&stacks, &facts(), &mut file).unwrap();
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(&file[..]).read_to_end(&mut bytes).unwrap();
    let proto = protos::Profile::decode(&bytes[..]).unwrap();
    let text = |index: i64| proto.string_table[index as usize].as_str();
    assert_eq!(proto.string_table[0], "");
    let types: Vec<_> = proto.sample_type.iter().map(|value| (text(value.ty), text(value.unit))).collect();
    assert_eq!(types, [("samples", "count"), ("cpu", "nanoseconds")]);
    assert_eq!(text(proto.default_sample_type), "cpu");
    let period_type = proto.period_type.as_ref().unwrap();
    assert_eq!((text(period_type.ty), text(period_type.unit), proto.period), ("cpu", "nanoseconds", 10_000_000));
    for (stack, sample) in stacks.stacks.iter().zip(&proto.sample) {
        assert_eq!(sample.value, [stack.samples as i64, stack.weight as i64]);
        assert_eq!(text(sample.label[0].str), &*stack.label);
        let ids: Vec<_> = stack.frames.iter().map(|&frame| frame as u64 + 1).collect();
        assert_eq!(sample.location_id, ids);
        let location = &proto.location[sample.location_id[0] as usize - 1];
        let names = location.line.iter().map(|line| text(proto.function[line.function_id as usize - 1].name));
        let expected: Vec<Arc<str>> =
            stacks.locations[stack.frames[0]].lines.iter().map(|line| line.function.clone()).collect();
        assert!(names.eq(expected.iter().map(|name| &**name)));
    }
    // A function is there once, however many locations are in it.
    assert_eq!(proto.function.len(), 4);
    assert_eq!((proto.location[2].mapping_id, proto.location[2].address), (0, 0));
    assert_eq!(text(proto.mapping[0].build_id), "ab12");
    let function = &proto.function[0];
    assert_eq!((text(function.system_name), text(function.filename)), ("_Z<[u8; 8]>::fmt", "src/a.rs"));
}

#[test]
fn a_grown_share_is_red_and_a_shrunk_one_blue() {
    let (before, mut after) = (stacks(), stacks());
    // Twice as long, and `[no stack]` has grown more than that.
    for stack in &mut after.stacks {
        stack.weight *= if &*stack.label == "main" { 4 } else { 1 };
    }
    let mut text = Vec::new();
    write_svg_difference(&before, &after, "change", &FlameOptions::new(), &mut text).unwrap();
    let svg = String::from_utf8(text).unwrap();
    let colour = |frame: &str| {
        let after = &svg[svg.find(&format!("<title>{frame} (")).unwrap()..];
        let rgb = after.split("fill=\"rgb(").nth(1).unwrap().split(')').next().unwrap();
        rgb.split(',').map(|part| part.trim().parse().unwrap()).collect::<Vec<u8>>()
    };
    let (grown, shrunk) = (colour("[no stack]"), colour("&lt;[u8: 8]&gt;::fmt"));
    assert!(grown[0] > grown[2] && shrunk[2] > shrunk[0], "{grown:?} {shrunk:?}");
    write_svg_difference(&Stacks::default(), &Stacks::default(), "", &FlameOptions::new(), Vec::new()).unwrap();
    write_svg_difference(&Stacks::default(), &after, "", &FlameOptions::new(), Vec::new()).unwrap();
}

/// In the order of text, ` ` and `:` come before `;`, so that stacks of another function come between.
#[test]
fn a_function_between_its_namesakes_is_one_frame() {
    let stack =
        |frame, weight| Stack { label: "main".into(), frames: vec![frame], labels: Vec::new(), samples: 1, weight };
    let stacks = Stacks {
        stacks: vec![stack(0, 2_000_000), stack(1, 5_000_000), stack(2, 3_000_000)],
        locations: vec![
            location(0x10, &["make"]),
            location(0x20, &["make::{closure}"]),
            location(0x30, &["helper", "make"]),
        ],
        modules: Vec::new(),
    };
    let (mut picture, mut change, mut folded) = (Vec::new(), Vec::new(), Vec::new());
    write_svg(&stacks, "", "", &FlameOptions::new(), &mut picture).unwrap();
    write_svg_difference(&stacks, &stacks, "", &FlameOptions::new(), &mut change).unwrap();
    for picture in [picture, change] {
        let svg = String::from_utf8(picture).unwrap();
        assert_eq!(svg.matches("<title>make (").count(), 1, "{svg}");
        assert!(svg.contains("<title>make (5 ms, 50.00%") || svg.contains("<title>make (5 ms, 50%"), "{svg}");
    }
    write_folded(&stacks, &mut folded).unwrap();
    let lines = "main;make 2000000\nmain;make;helper 3000000\nmain;make::{closure} 5000000\n";
    assert_eq!(String::from_utf8(folded).unwrap(), lines);
}

#[test]
fn any_title_and_name_gives_well_formed_xml() {
    let mut stacks = stacks();
    stacks.stacks[0].label = "main/odd\u{FFFE}name\u{1b}[1m<&\"'>]]>".into();
    stacks.locations[1] = location(0x20, &["lib\0fn\u{FFFF}"]);
    let options = FlameOptions::new().title("build \u{1b}[1mrelease\u{1b}[0m").subtitle("a\u{0}b & <c>");
    let difference = |out: &mut Vec<u8>| write_svg_difference(&stacks, &stacks, "t\u{8}", &options, out).unwrap();
    let (mut picture, mut change) = (Vec::new(), Vec::new());
    write_svg(&stacks, "", "", &options, &mut picture).unwrap();
    difference(&mut change);
    for svg in [picture, change] {
        let text = String::from_utf8(svg).unwrap();
        let is_xml =
            |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..);
        assert!(text.chars().all(is_xml));
        assert!(!text.contains("<&") && !text.contains("<c>"), "markup was not escaped");
    }
}

#[test]
fn a_large_pool_is_drawn_as_one_by_default() {
    let mut stacks = stacks();
    let connection = |n: usize| Stack { label: format!("main/conn-{n}").into(), ..stacks.stacks[1].clone() };
    stacks.stacks = (0..40).map(connection).collect();
    let drawn = |options: FlameOptions| {
        let mut text = Vec::new();
        write_svg(&stacks, "", "", &options, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        (text.contains("<title>conn-* ("), text.contains("<title>conn-7 ("))
    };
    assert_eq!(drawn(FlameOptions::new()), (true, false));
    assert_eq!(drawn(FlameOptions::new().keep_pools()), (false, true));
    let mut folded = Vec::new();
    write_folded(&stacks, &mut folded).unwrap();
    assert_eq!(String::from_utf8(folded).unwrap().lines().count(), 40, "folded lines keep each thread");
}

#[test]
fn hidden_threads_of_the_runtime_are_counted_in_the_subtitle() {
    let mut stacks = stacks();
    let own = |name: &str| Stack { label: format!("main/selvedge/{name}").into(), ..stacks.stacks[1].clone() };
    stacks.stacks = vec![stacks.stacks[1].clone(), own("sampler"), own("watcher")];
    let drawn = |options: FlameOptions| {
        let mut text = Vec::new();
        write_svg(&stacks, "", "10 samples", &options, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    };
    let hidden = drawn(FlameOptions::new().hide_runtime());
    assert!(hidden.contains(">10 samples · 2 threads of the runtime hidden (10.0ms)<"), "{hidden}");
    assert!(!hidden.contains("<title>selvedge (") && !hidden.contains("<title>watcher ("));
    let shown = drawn(FlameOptions::new().show_runtime());
    assert!(shown.contains("<title>selvedge (") && shown.contains(">10 samples<"));
    let mut change = Vec::new();
    write_svg_difference(&stacks, &stacks, "", &FlameOptions::new().hide_runtime(), &mut change).unwrap();
    let change = String::from_utf8(change).unwrap();
    assert!(change.contains(">2 threads of the runtime hidden (10.0ms)<") && !change.contains("<title>watcher ("));
}

#[test]
fn an_icicle_has_its_root_at_the_top() {
    let root = |options: FlameOptions| {
        let mut text = Vec::new();
        write_svg(&stacks(), "", "", &options, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let y = |frame: &str| {
            let frame = &text[text.find(&format!("<title>{frame} (")).unwrap()..];
            frame.split(" y=\"").nth(1).unwrap().split('"').next().unwrap().parse::<u32>().unwrap()
        };
        (y("main"), y("app::main"))
    };
    let (main, code) = root(FlameOptions::new());
    assert!(main > code);
    let (main, code) = root(FlameOptions::new().icicle());
    assert!(main < code);
}

#[test]
fn a_missing_subtree_gives_an_empty_picture() {
    let mut text = Vec::new();
    write_svg(&stacks(), "", "", &FlameOptions::new().subtree("main/missing"), &mut text).unwrap();
    assert!(String::from_utf8(text).unwrap().contains("[no samples]"));
}
