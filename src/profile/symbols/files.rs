//! This process's programs and libraries, each read when the first address in it is asked for.

use super::elf::Image;
use super::{Resolve, Texts};
use crate::flame::{Location, Module};
use crate::os::mapped::give_memory_back;
use crate::profile::loader::{History, Loaded};

/// This process, by its debug information and symbol tables. Dropping it gives back what was read of them.
pub(in crate::profile) struct OfThisProcess {
    history: History,
    modules: Vec<Module>,
    /// For each of the history, where its modules begin.
    first_module: Vec<usize>,
    /// `None`: not asked for yet.
    images: Vec<Option<Image>>,
    texts: Texts,
}

impl OfThisProcess {
    pub(in crate::profile) fn new(history: History) -> OfThisProcess {
        let (mut modules, mut first_module, mut images) = (Vec::new(), Vec::new(), Vec::new());
        for loaded in history.all() {
            first_module.push(modules.len());
            modules.extend(loaded.modules());
            images.push(None);
        }
        OfThisProcess { history, modules, first_module, images, texts: Texts::default() }
    }
}

impl Drop for OfThisProcess {
    fn drop(&mut self) {
        self.images.clear();
        give_memory_back();
    }
}

impl Resolve for OfThisProcess {
    fn resolve(&mut self, address: u64, exact: bool, generation: u32) -> Location {
        let instruction = if exact { address } else { address.wrapping_sub(1) };
        let Some(index) = self.history.find(instruction, generation) else {
            let lines = vec![self.texts.remark("[unknown code]".into())];
            return Location { address: instruction, module: None, lines };
        };
        let loaded = self.history.get(index);
        let image = self.images[index].get_or_insert_with(|| Image::open(loaded));
        let in_file = instruction.wrapping_sub(loaded.bias);
        let mut lines = image.lines(in_file, &mut self.texts);
        if lines.is_empty() {
            lines.push(self.texts.remark(unnamed(loaded, in_file)));
        }
        let segment = loaded.code.iter().position(|(range, _)| range.contains(&instruction));
        let module = segment.map(|segment| self.first_module[index] + segment);
        Location { address: instruction, module, lines }
    }

    fn modules(&mut self) -> Vec<Module> {
        std::mem::take(&mut self.modules)
    }
}

/// `[libfoo.so+0x1234]`: the address as it stands in the file, so that others can look it up there.
fn unnamed(loaded: &Loaded, in_file: u64) -> String {
    let name = loaded.name.file_name().unwrap_or(loaded.name.as_os_str()).to_string_lossy();
    format!("[{}+{in_file:#x}]", name.trim_matches(['[', ']']))
}
