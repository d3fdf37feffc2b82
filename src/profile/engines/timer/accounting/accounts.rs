//! The accounts: for each thread its lifetime, and the samples and weights of its stacks. What
//! every clock needs; `cpu.rs` and `wall.rs` add the samples.

use super::room::Room;
use super::wait_names::WaitNames;
use crate::profile::engines::timer::stacks::{EMPTY, Stacks};
use crate::profile::raw::{Ending, Lifetime, Nanos, Owner, RawProfile, RawSample, Stack, StacksByNumber};
use crate::wait::{Context, ContextNumbers, Label};
use std::collections::HashMap;
use std::hash::RandomState;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

/// The accounts of all threads of a recording.
#[derive(Default)]
pub(in super::super) struct Accounting {
    /// Nanoseconds of the CPU clock after which a sample is due. 0: by the wall clock, where stacks
    /// are requested.
    pub(super) period: u64,
    pub(super) accounts: Vec<SampleAccount>,
    /// Indexes of accounts that were folded into others.
    pub(super) unused: Vec<usize>,
    /// The number of accounts that have ended and are not folded yet, pools included.
    pub(super) ended: usize,
    /// Samples that found no room, and are not counted for a thread yet.
    pub(super) unplaced: u64,
    wait_names: WaitNames,
    /// The contexts of samples, by their numbers.
    contexts: HashMap<u64, Context>,
    pub(super) stacks: Stacks,
    /// How much room there is for stacks and sums, and how much of it is used.
    pub(super) room: Room,
    /// Shared by all accounts: to make a hasher on a new thread takes a system call.
    pub(super) hasher: RandomState,
}

/// The samples of one thread, or of a pool of ended threads, and the time that they stand for.
/// Where the thread's lifetime went is in `profile::Account`.
#[derive(Clone)]
pub(super) struct SampleAccount {
    /// `false`: it was folded into another one.
    pub(super) is_used: bool,
    pub(super) lifetime: Lifetime,
    /// The call that spawned its thread.
    pub(super) spawned_at: Option<&'static Location<'static>>,
    /// Nanoseconds without a sample.
    pub(super) unsampled: u64,
    pub(super) sums: HashMap<SampleKey, SampleSum, RandomState>,
}

/// What samples with equal keys have together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SampleSum {
    pub(super) samples: u64,
    /// Nanoseconds.
    pub(super) weight: u64,
    /// The number of readings before the last addition.
    pub(super) reading: u32,
}

/// Samples with equal keys are added up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct SampleKey {
    /// The stack's number in [`Stacks`]; or `EMPTY` or `OTHERS`, which stand for no single stack.
    pub(super) stack: u32,
    pub(super) ending: Ending,
    pub(super) waiting: Option<Arc<str>>,
    /// The number of the thread's context; 0: none.
    pub(super) context: u64,
}

impl Accounting {
    /// For threads that are sampled after each `period` of their CPU clocks.
    pub(in super::super) fn new(period: Duration) -> Accounting {
        Accounting { period: period.as_nanos() as u64, ..Accounting::default() }
    }

    /// Opens an account, and returns its index.
    pub(in super::super) fn open(&mut self, path: Arc<str>, os_thread: Option<u64>, started: Nanos) -> usize {
        let mut account = SampleAccount::unused(self.hasher.clone());
        account.is_used = true;
        account.lifetime = Lifetime { path, os_thread, started, ..account.lifetime };
        match self.unused.pop() {
            Some(index) => {
                self.accounts[index] = account;
                index
            }
            None => {
                self.accounts.push(account);
                self.accounts.len() - 1
            }
        }
    }

    /// Notes which call spawned the account's thread. Threads of the same call and similar paths
    /// are one pool.
    pub(in super::super) fn set_spawn_site(&mut self, account: usize, place: Option<&'static Location<'static>>) {
        self.accounts[account].spawned_at = place;
    }

    /// The frames of a wait with that label, a line each.
    pub(in super::super) fn wait_frames(&mut self, label: &Label) -> Arc<str> {
        self.wait_names.frames(label)
    }

    /// The number of a sample's context, which is kept from now on; 0: none. Another number than
    /// asked for, if the context was forgotten before its sample was read.
    pub(super) fn context(&mut self, number: u64) -> u64 {
        if number == 0 || self.contexts.contains_key(&number) {
            return number;
        }
        let (number, context) = ContextNumbers::find(number);
        self.contexts.insert(number, context);
        number
    }

    /// From the next record on, addresses are looked up in that generation of the loader's list.
    pub(in super::super) fn begin_generation(&mut self, generation: u32) {
        self.stacks.begin_generation(generation);
    }

    pub(in super::super) fn generation(&self) -> u32 {
        self.stacks.generation()
    }

    /// The CPU time of all closed accounts, in nanoseconds.
    pub(in super::super) fn cpu(&self) -> u64 {
        self.accounts.iter().map(|account| account.lifetime.cpu.as_nanos() as u64).sum()
    }

    /// Opens an account for CPU time that was not sampled.
    pub(in super::super) fn add_unsampled(&mut self, path: Arc<str>, weight: u64) {
        let account = self.open(path, None, 0);
        self.accounts[account].unsampled = weight;
        self.accounts[account].lifetime.cpu = Duration::from_nanos(weight);
    }

    /// The account's thread has ended.
    pub(in super::super) fn end(&mut self, account: usize, ended: Nanos) {
        self.accounts[account].lifetime.ended = Some(ended);
        self.fold_if_many();
    }

    /// A copy that is only closed and read. Notes that the accounts are read.
    pub(in super::super) fn copy_to_close(&mut self) -> Accounting {
        self.note_reading();
        Accounting {
            accounts: self.accounts.clone(),
            unused: self.unused.clone(),
            contexts: self.contexts.clone(),
            stacks: self.stacks.copy_to_read(),
            room: self.room.clone(),
            hasher: self.hasher.clone(),
            wait_names: WaitNames::default(),
            ..*self
        }
    }

    /// The samples and lifetimes of all accounts.
    pub(in super::super) fn into_raw_profile(self) -> RawProfile {
        let kept = self.stacks.list().iter();
        let mut stacks: StacksByNumber =
            kept.map(|stack| (stack.number, (stack.generation, stack.addresses.clone()))).collect();
        stacks.insert(EMPTY, (0, Arc::default()));
        let are_contexts_too_many = ContextNumbers::are_too_many();
        let mut found = RawProfile { are_contexts_too_many, ..RawProfile::default() };
        for account in self.accounts.into_iter().filter(|account| account.is_used) {
            let owner = Owner::Lifetime(found.lifetimes.len());
            let sums = account.sums.into_iter().map(|(key, SampleSum { samples, weight, .. })| RawSample {
                owner: owner.clone(),
                context: self.contexts.get(&key.context).cloned(),
                stack: key.into_stack(&stacks),
                samples,
                weight,
            });
            found.samples.extend(sums);
            if account.unsampled > 0 {
                found.samples.push(RawSample {
                    owner,
                    stack: Stack::Unsampled,
                    context: None,
                    samples: 0,
                    weight: account.unsampled,
                });
            }
            found.lifetimes.push(account.lifetime);
        }
        found.stacks = stacks;
        found
    }
}

impl SampleKey {
    fn into_stack(self, stacks: &StacksByNumber) -> Stack {
        let SampleKey { stack, ending, waiting, .. } = self;
        match stacks.get(&stack) {
            Some((generation, addresses)) => {
                Stack::Sampled { addresses: addresses.clone(), ending, generation: *generation, waiting }
            }
            None => Stack::Others { ending, waiting },
        }
    }
}

impl SampleAccount {
    /// An empty account that belongs to no thread.
    pub(super) fn unused(hasher: RandomState) -> SampleAccount {
        let lifetime = Lifetime {
            path: Arc::default(),
            os_thread: None,
            started: 0,
            ended: None,
            cpu: Duration::ZERO,
            lost: Some(0),
            merged: 0,
            pool: None,
            held: Vec::new(),
        };
        SampleAccount { is_used: false, lifetime, spawned_at: None, unsampled: 0, sums: HashMap::with_hasher(hasher) }
    }
}
