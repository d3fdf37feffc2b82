//! The tables of the Firefox Profiler's processed format, version 66, as it reads them. Data only.
//! Times are milliseconds. See `docs-developer/processed-profile-format.md` and
//! `src/types/profile.ts` of github.com/firefox-devtools/profiler.
#![allow(clippy::struct_field_names)]

use serde::Serialize;

/// Newer viewers upgrade older versions; an older viewer refuses a newer one. 66 is the first with
/// this shape of the stack table.
pub(super) const VERSION: u32 = 66;
/// Of the format that Firefox itself writes, as of the same time. It is required, and not used.
const GECKO_VERSION: u32 = 34;

#[derive(Serialize)]
pub(super) struct File {
    pub(super) meta: Meta,
    pub(super) libs: Vec<Lib>,
    pub(super) shared: Shared,
    pub(super) threads: Vec<Thread>,
    pub(super) counters: Vec<Counter>,
    pub(super) pages: [(); 0],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Meta {
    /// Between two samples.
    pub(super) interval: f64,
    /// Since 1970.
    pub(super) start_time: f64,
    pub(super) profiling_start_time: f64,
    pub(super) profiling_end_time: f64,
    process_type: u32,
    pub(super) categories: Vec<Category>,
    pub(super) product: String,
    stackwalk: u32,
    version: u32,
    preprocessed_profile_version: u32,
    symbolicated: bool,
    symbolication_not_supported: bool,
    pub(super) marker_schema: Vec<Schema>,
    sample_units: Units,
    uses_only_one_stack_type: bool,
    source_code_is_not_on_searchfox: bool,
    keep_profile_thread_order: bool,
    pub(super) initial_visible_threads: Vec<usize>,
    pub(super) extra: Vec<Section>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Units {
    time: &'static str,
    event_delay: &'static str,
    #[serde(rename = "threadCPUDelta")]
    thread_cpu_delta: &'static str,
}

#[derive(Serialize)]
pub(super) struct Category {
    pub(super) name: &'static str,
    pub(super) color: &'static str,
    pub(super) subcategories: [&'static str; 1],
}

/// What the page about the profile shows.
#[derive(Serialize)]
pub(super) struct Section {
    pub(super) label: &'static str,
    pub(super) entries: Vec<Entry>,
}

#[derive(Serialize)]
pub(super) struct Entry {
    pub(super) label: &'static str,
    pub(super) format: &'static str,
    pub(super) value: String,
}

/// How markers of a type are shown.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Schema {
    pub(super) name: &'static str,
    pub(super) tooltip_label: &'static str,
    pub(super) table_label: &'static str,
    pub(super) chart_label: &'static str,
    pub(super) display: &'static [&'static str],
    pub(super) fields: Vec<Field>,
    pub(super) description: &'static str,
    pub(super) is_stack_based: bool,
}

#[derive(Serialize)]
pub(super) struct Field {
    pub(super) key: &'static str,
    pub(super) label: &'static str,
    pub(super) format: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Lib {
    pub(super) arch: &'static str,
    pub(super) name: String,
    pub(super) path: String,
    pub(super) debug_name: String,
    pub(super) debug_path: String,
    pub(super) breakpad_id: String,
    pub(super) code_id: Option<String>,
}

/// The tables that all threads share.
#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shared {
    pub(super) stack_table: StackTable,
    pub(super) frame_table: FrameTable,
    pub(super) func_table: FuncTable,
    pub(super) resource_table: ResourceTable,
    pub(super) native_symbols: NativeSymbols,
    pub(super) string_array: Vec<String>,
    pub(super) sources: Sources,
    pub(super) source_location_table: SourceLocations,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct StackTable {
    pub(super) frame: Vec<usize>,
    /// How far before it its caller is; 0: it has none.
    pub(super) prefix_offset: Vec<usize>,
    pub(super) length: usize,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct FrameTable {
    /// In the library; -1: no address.
    pub(super) address: Vec<i64>,
    pub(super) inline_depth: Vec<u32>,
    pub(super) category: Vec<Option<usize>>,
    pub(super) subcategory: Vec<Option<usize>>,
    pub(super) func: Vec<usize>,
    pub(super) native_symbol: Vec<Option<usize>>,
    #[serde(rename = "innerWindowID")]
    pub(super) inner_window_id: Vec<u32>,
    pub(super) line: Vec<Option<u32>>,
    pub(super) column: Vec<Option<u32>>,
    pub(super) original_location: Vec<Option<usize>>,
    pub(super) length: usize,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct FuncTable {
    pub(super) name: Vec<usize>,
    #[serde(rename = "isJS")]
    pub(super) is_js: Vec<bool>,
    #[serde(rename = "relevantForJS")]
    pub(super) relevant_for_js: Vec<bool>,
    /// -1: none.
    pub(super) resource: Vec<i64>,
    pub(super) source: Vec<Option<usize>>,
    pub(super) line_number: Vec<Option<u32>>,
    pub(super) column_number: Vec<Option<u32>>,
    pub(super) original_location: Vec<Option<usize>>,
    pub(super) length: usize,
}

#[derive(Serialize, Default)]
pub(super) struct ResourceTable {
    pub(super) lib: Vec<Option<usize>>,
    pub(super) name: Vec<usize>,
    pub(super) host: Vec<Option<usize>>,
    /// 1: a library.
    #[serde(rename = "type")]
    pub(super) kind: Vec<u32>,
    pub(super) length: usize,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct NativeSymbols {
    lib_index: [(); 0],
    address: [(); 0],
    name: [(); 0],
    function_size: [(); 0],
    length: usize,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sources {
    pub(super) length: usize,
    pub(super) id: Vec<Option<String>>,
    pub(super) filename: Vec<usize>,
    pub(super) start_line: Vec<u32>,
    pub(super) start_column: Vec<u32>,
    #[serde(rename = "sourceMapURL")]
    pub(super) source_map_url: Vec<Option<usize>>,
    pub(super) content: Vec<Option<String>>,
}

#[derive(Serialize, Default)]
pub(super) struct SourceLocations {
    source: [(); 0],
    line: [(); 0],
    column: [(); 0],
    length: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Thread {
    pub(super) process_type: &'static str,
    pub(super) process_startup_time: f64,
    pub(super) process_shutdown_time: Option<f64>,
    pub(super) register_time: f64,
    /// `None`: it lived to the end.
    pub(super) unregister_time: Option<f64>,
    pub(super) paused_ranges: [(); 0],
    pub(super) show_markers_in_timeline: bool,
    pub(super) name: String,
    pub(super) is_main_thread: bool,
    pub(super) process_name: String,
    pub(super) pid: String,
    pub(super) tid: u64,
    pub(super) samples: Samples,
    pub(super) markers: Markers,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Samples {
    pub(super) stack: Vec<Option<usize>>,
    pub(super) time: Vec<f64>,
    pub(super) weight: Option<Vec<u64>>,
    pub(super) weight_type: &'static str,
    /// Nanoseconds since the sample before.
    #[serde(rename = "threadCPUDelta")]
    pub(super) thread_cpu_delta: Vec<u64>,
    pub(super) length: usize,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct Markers {
    pub(super) data: Vec<Payload>,
    pub(super) name: Vec<usize>,
    pub(super) start_time: Vec<f64>,
    /// `None` for an instant.
    pub(super) end_time: Vec<Option<f64>>,
    /// 0: an instant, 1: an interval.
    pub(super) phase: Vec<u32>,
    pub(super) category: Vec<usize>,
    pub(super) length: usize,
}

/// The rest of a marker. Numbers are indexes of strings.
#[derive(Serialize)]
#[serde(tag = "type")]
pub(super) enum Payload {
    Wait {
        what: usize,
        #[serde(rename = "endedBy")]
        ended_by: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        cause: Option<CauseStack>,
    },
    /// Of the thread that ended a wait.
    Wakes {
        thread: usize,
        what: usize,
        flow: usize,
    },
    /// Of the thread whose wait was ended, until it runs.
    Woken {
        by: usize,
        flow: usize,
    },
    /// Of the thread that spawned another.
    Spawns {
        thread: usize,
        flow: usize,
    },
    Spawned {
        by: usize,
        flow: usize,
    },
    Ends {
        path: usize,
    },
    Span {
        name: usize,
    },
    Log {
        level: usize,
        message: usize,
        place: usize,
    },
}

/// A number that goes up and down. The viewer adds up `count`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Counter {
    pub(super) name: String,
    pub(super) category: &'static str,
    pub(super) description: &'static str,
    pub(super) pid: String,
    pub(super) main_thread_index: usize,
    pub(super) samples: CounterSamples,
    pub(super) display: CounterDisplay,
}

#[derive(Serialize, Default)]
pub(super) struct CounterSamples {
    pub(super) time: Vec<f64>,
    /// By how much it has changed since the one before.
    pub(super) count: Vec<i64>,
    pub(super) length: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CounterDisplay {
    pub(super) graph_type: &'static str,
    pub(super) unit: &'static str,
    pub(super) color: &'static str,
    pub(super) marker_schema_location: Option<&'static str>,
    pub(super) sort_weight: u32,
    pub(super) label: String,
    pub(super) tooltip_rows: [TooltipRow; 2],
}

#[derive(Serialize)]
pub(super) struct TooltipRow {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) source: &'static str,
    pub(super) format: TooltipFormat,
    pub(super) label: &'static str,
}

#[derive(Serialize)]
pub(super) struct TooltipFormat {
    pub(super) unit: &'static str,
}

/// Where the thread stood.
#[derive(Serialize)]
pub(super) struct CauseStack {
    pub(super) stack: usize,
}

impl Meta {
    pub(super) fn new(product: String, interval: f64, start_time: f64, length: f64) -> Meta {
        Meta {
            interval,
            start_time,
            profiling_start_time: 0.0,
            profiling_end_time: length,
            process_type: 0,
            categories: Vec::new(),
            product,
            stackwalk: 1,
            version: GECKO_VERSION,
            preprocessed_profile_version: VERSION,
            symbolicated: true,
            symbolication_not_supported: true,
            marker_schema: Vec::new(),
            sample_units: Units { time: "ms", event_delay: "ms", thread_cpu_delta: "ns" },
            uses_only_one_stack_type: true,
            source_code_is_not_on_searchfox: true,
            keep_profile_thread_order: true,
            initial_visible_threads: Vec::new(),
            extra: Vec::new(),
        }
    }
}

/// The format's unit of time.
pub(super) fn millis(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}
