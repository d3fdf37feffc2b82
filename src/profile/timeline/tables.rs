//! The shared tables: strings, functions, frames and stacks, each kept once.

use super::format::{Lib, Shared};
use crate::profile::traced_stacks::TracedStacks;
use std::collections::HashMap;
use std::sync::Arc;

/// Indexes of the categories.
pub(super) const CODE: usize = 1;

/// The tables while they are filled.
pub(super) struct Tables<'a> {
    named: &'a TracedStacks,
    pub(super) shared: Shared,
    pub(super) libs: Vec<Lib>,
    strings: HashMap<Arc<str>, usize>,
    /// By name and library.
    functions: HashMap<(usize, i64), usize>,
    files: HashMap<usize, usize>,
    /// By location and line in it.
    frames: HashMap<(usize, usize), usize>,
    /// By frame and caller.
    stacks: HashMap<(usize, Option<usize>), usize>,
    /// By the frames, the leaf first.
    whole: HashMap<Vec<usize>, Option<usize>>,
}

impl<'a> Tables<'a> {
    pub(super) fn new(named: &'a TracedStacks) -> Tables<'a> {
        let mut tables = Tables {
            named,
            shared: Shared::default(),
            libs: Vec::new(),
            strings: HashMap::new(),
            functions: HashMap::new(),
            files: HashMap::new(),
            frames: HashMap::new(),
            stacks: HashMap::new(),
            whole: HashMap::new(),
        };
        for module in &named.modules {
            let name = module.file.rsplit('/').next().unwrap_or(&module.file).to_owned();
            let text = tables.string(&name);
            let resources = &mut tables.shared.resource_table;
            resources.lib.push(Some(tables.libs.len()));
            resources.name.push(text);
            resources.host.push(None);
            resources.kind.push(1);
            resources.length += 1;
            tables.libs.push(Lib {
                arch: std::env::consts::ARCH,
                debug_name: name.clone(),
                name,
                path: module.file.clone(),
                debug_path: module.file.clone(),
                // Nothing is left to look up: all functions have their names.
                breakpad_id: String::new(),
                code_id: (!module.build_id.is_empty()).then(|| module.build_id.clone()),
            });
        }
        tables
    }

    /// The index of the text.
    pub(super) fn string(&mut self, text: &str) -> usize {
        if let Some(&known) = self.strings.get(text) {
            return known;
        }
        let index = self.shared.string_array.len();
        self.shared.string_array.push(text.to_owned());
        self.strings.insert(text.into(), index);
        index
    }

    /// The index of a stack of locations, the leaf first. `None`: it has no frames.
    pub(super) fn stack(&mut self, locations: &[usize]) -> Option<usize> {
        if let Some(&known) = self.whole.get(locations) {
            return known;
        }
        let named = self.named;
        let mut caller = None;
        for &location in locations.iter().rev() {
            // The last line is the function, the lines before it are inlined into it.
            for line in (0..named.locations[location].lines.len()).rev() {
                let frame = self.frame(location, line);
                caller = Some(self.called(frame, caller));
            }
        }
        self.whole.insert(locations.to_vec(), caller);
        caller
    }

    /// The index of the stack with this frame on top of `caller`.
    fn called(&mut self, frame: usize, caller: Option<usize>) -> usize {
        let table = &mut self.shared.stack_table;
        *self.stacks.entry((frame, caller)).or_insert_with(|| {
            let index = table.length;
            table.frame.push(frame);
            table.prefix_offset.push(caller.map_or(0, |caller| index - caller));
            table.length += 1;
            index
        })
    }

    fn frame(&mut self, location: usize, line: usize) -> usize {
        if let Some(&known) = self.frames.get(&(location, line)) {
            return known;
        }
        let place = &self.named.locations[location];
        let code = &place.lines[line];
        let module = place.module.and_then(|module| self.named.modules.get(module));
        let address = module.map_or(-1, |module| {
            let in_file = place.address.wrapping_sub(module.start).wrapping_add(module.file_offset);
            i64::try_from(in_file).unwrap_or(-1)
        });
        let resource = place.module.and_then(|module| i64::try_from(module).ok()).unwrap_or(-1);
        let func = self.function(&code.function, resource, &code.file);
        let table = &mut self.shared.frame_table;
        let index = table.length;
        table.address.push(address);
        table.inline_depth.push((place.lines.len() - 1 - line) as u32);
        table.category.push(Some(CODE));
        table.subcategory.push(Some(0));
        table.func.push(func);
        table.native_symbol.push(None);
        table.inner_window_id.push(0);
        table.line.push((code.line > 0).then_some(code.line));
        table.column.push(None);
        table.original_location.push(None);
        table.length += 1;
        self.frames.insert((location, line), index);
        index
    }

    fn function(&mut self, name: &str, resource: i64, file: &str) -> usize {
        let name = self.string(name);
        if let Some(&known) = self.functions.get(&(name, resource)) {
            return known;
        }
        let source = (!file.is_empty()).then(|| self.file(file));
        let table = &mut self.shared.func_table;
        let index = table.length;
        table.name.push(name);
        table.is_js.push(false);
        table.relevant_for_js.push(false);
        table.resource.push(resource);
        table.source.push(source);
        table.line_number.push(None);
        table.column_number.push(None);
        table.original_location.push(None);
        table.length += 1;
        self.functions.insert((name, resource), index);
        index
    }

    fn file(&mut self, file: &str) -> usize {
        let name = self.string(file);
        let table = &mut self.shared.sources;
        *self.files.entry(name).or_insert_with(|| {
            table.id.push(None);
            table.filename.push(name);
            table.start_line.push(1);
            table.start_column.push(1);
            table.source_map_url.push(None);
            table.content.push(None);
            table.length += 1;
            table.length - 1
        })
    }
}
