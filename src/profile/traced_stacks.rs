//! The named stacks of a trace: of its samples, and of its blocking calls. Knows no threads and no
//! times.

use super::raw::{Ending, OwnStack, SAMPLER, StacksByNumber};
use super::shown_stacks::{OTHERS, RUNTIME, ShownStacks};
use super::symbols::Resolve;
use super::trace::{StackNumber, Trace, TracedThread};
use crate::flame::{Location, Module, Stacks};
use std::collections::{BTreeSet, HashMap};

/// The named stacks: indexes into `locations`, the leaf first.
#[derive(Clone, Debug, Default)]
pub(super) struct TracedStacks {
    of_samples: HashMap<StackNumber, Vec<usize>>,
    of_waits: HashMap<StackNumber, Vec<usize>>,
    pub(super) locations: Vec<Location>,
    pub(super) modules: Vec<Module>,
}

impl TracedStacks {
    /// `stacks`: of samples. A sample whose stack is not among them has the stack `[others]`. `own`: of
    /// blocking calls.
    pub(super) fn new(
        trace: &Trace,
        stacks: &StacksByNumber,
        own: &[OwnStack],
        names: &mut dyn Resolve,
    ) -> TracedStacks {
        let (samplers, others): (Vec<_>, Vec<_>) = trace.threads.iter().partition(|thread| *thread.path == *SAMPLER);
        let numbers = |threads: &[&TracedThread]| -> BTreeSet<StackNumber> {
            threads.iter().flat_map(|thread| &thread.samples).filter_map(|sample| sample.stack).collect()
        };
        let (of_samplers, of_samples) = (numbers(&samplers), numbers(&others));
        let waits = trace.threads.iter().flat_map(|thread| &thread.waits);
        let of_waits: BTreeSet<StackNumber> = waits.filter_map(|wait| wait.stack).collect();
        let mut shown = ShownStacks::new(names);
        let runtime = shown.remark(RUNTIME);
        let of_samplers = of_samplers.into_iter().map(|number| (number, vec![runtime]));
        let of_samples = of_samples.into_iter().map(|number| match stacks.get(&number.stack()) {
            Some((generation, addresses)) => (number, shown.stack(addresses, number.ending(), *generation, false)),
            None => (number, vec![shown.remark(OTHERS)]),
        });
        // A stack that another thread has too is shown as that thread's.
        let of_samples = of_samplers.chain(of_samples.collect::<Vec<_>>()).collect();
        let of_waits = of_waits.into_iter().filter_map(|number| {
            let OwnStack { addresses, ending, generation } = own.get(number.0 as usize)?;
            Some((number, shown.stack(addresses, *ending, *generation, true)))
        });
        let of_waits = of_waits.collect();
        let Stacks { locations, modules, .. } = shown.finish(Vec::new());
        TracedStacks { of_samples, of_waits, locations, modules }
    }

    /// The frames of a sample's stack; none if it is not known.
    pub(super) fn of_sample(&self, stack: StackNumber) -> &[usize] {
        self.of_samples.get(&stack).map_or(&[], Vec::as_slice)
    }

    /// The frames of a blocking call's stack, without the code of this crate; none if it is not
    /// known.
    pub(super) fn of_wait(&self, stack: StackNumber) -> &[usize] {
        self.of_waits.get(&stack).map_or(&[], Vec::as_slice)
    }
}

impl StackNumber {
    /// Of a sample: the number of its addresses.
    fn stack(self) -> u32 {
        self.0 >> 2
    }

    /// Of a sample.
    fn ending(self) -> Ending {
        match self.0 & 3 {
            0 => Ending::Root,
            1 => Ending::Deep,
            2 => Ending::Broken,
            _ => Ending::Leaf,
        }
    }
}

#[cfg(test)]
impl TracedStacks {
    /// Stacks of these functions, the leaf first, with the numbers 0, 1, …: of samples, and of waits.
    pub(super) fn of_functions(samples: &[&[&str]], waits: &[&[&str]]) -> TracedStacks {
        use crate::flame::Line;
        use std::sync::Arc;
        let module = Module {
            start: 0x1000,
            end: 0x9000,
            file_offset: 0,
            file: "/usr/bin/program".into(),
            build_id: "ab12".into(),
        };
        let mut stacks = TracedStacks { modules: vec![module], ..TracedStacks::default() };
        let mut add = |names: &[&str]| -> Vec<usize> {
            let mut frames = Vec::new();
            for name in names {
                let known = stacks.locations.iter().position(|location| &*location.lines[0].function == *name);
                frames.push(known.unwrap_or_else(|| {
                    let address = 0x2000 + 16 * stacks.locations.len() as u64;
                    let name: Arc<str> = (*name).into();
                    let line = Line { function: name.clone(), system_name: name, file: "src/main.rs".into(), line: 7 };
                    stacks.locations.push(Location { address, module: Some(0), lines: vec![line] });
                    stacks.locations.len() - 1
                }));
            }
            frames
        };
        let mut all = |of: &[&[&str]]| {
            of.iter().enumerate().map(|(number, names)| (StackNumber(number as u32), add(names))).collect()
        };
        let (of_samples, of_waits) = (all(samples), all(waits));
        TracedStacks { of_samples, of_waits, ..stacks }
    }
}
