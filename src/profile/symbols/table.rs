//! Names of functions by symbol tables. Keeps only the functions at the wanted addresses.

use super::ending::Rounds;
use super::sections::Elf;
use object::{Object, ObjectSymbol, ObjectSymbolTable, SymbolKind};

/// For each of the sorted `addresses`, the name of the function there, by the tables of `full`, and
/// by the table of the exports of `dynamic`. All tables are read: each may have names that the
/// others lack.
pub(super) fn names(full: &[&Elf<'_>], dynamic: Option<&Elf<'_>>, addresses: &[u64]) -> Vec<Option<String>> {
    // For each address, the best symbol that begins behind the address before it.
    let mut best: Vec<Option<Symbol<_>>> = addresses.iter().map(|_| None).collect();
    let full = full.iter().filter_map(|file| file.symbol_table());
    let mut rounds = Rounds::default();
    for table in full.chain(dynamic.and_then(|file| file.dynamic_symbol_table())) {
        for entry in table.symbols().take_while(|_| !rounds.is_over()) {
            if !entry.is_definition() || entry.kind() != SymbolKind::Text {
                continue;
            }
            let start = entry.address();
            let Some(place) = best.get_mut(addresses.partition_point(|&address| address < start)) else { continue };
            let symbol = Symbol { start, length: entry.size(), entry };
            if place.as_ref().is_none_or(|known| symbol.is_better_than(known)) {
                *place = Some(symbol);
            }
        }
    }
    let mut last: Option<Symbol<_>> = None;
    let names = best.into_iter().zip(addresses).map(|(own, address)| {
        last = own.or(last.take());
        let found = last.as_ref().filter(|symbol| symbol.holds(*address))?;
        Some(String::from_utf8_lossy(found.name()?).into_owned())
    });
    names.collect()
}

/// Returns `true` if the file has a table of all its symbols.
pub(super) fn is_full(file: &Elf<'_>) -> bool {
    file.symbol_table().is_some_and(|table| table.symbols().any(|symbol| symbol.kind() == SymbolKind::Text))
}

struct Symbol<S> {
    start: u64,
    length: u64,
    /// Its name is read when it is needed: most symbols are given up for a better one before.
    entry: S,
}

impl<'a, S: ObjectSymbol<'a>> Symbol<S> {
    /// `None` if it cannot be read.
    fn name(&self) -> Option<&'a [u8]> {
        self.entry.name_bytes().ok()
    }

    /// The nearer symbol is better; at one address the longer one; of equally long symbols the
    /// public name.
    fn is_better_than(&self, other: &Self) -> bool {
        let key = |symbol: &Self| (symbol.start, symbol.length);
        // A name that cannot be read is the worst.
        let rank = |symbol: &Self| symbol.name().map_or((usize::MAX, &[][..]), |name| (internality(name), name));
        key(self) > key(other) || (key(self) == key(other) && rank(self) < rank(other))
    }

    /// Returns `true` if the address is in the symbol. A symbol without a length, from assembler
    /// code, reaches to the next symbol.
    fn holds(&self, address: u64) -> bool {
        self.length == 0 || address < self.start.saturating_add(self.length)
    }
}

/// How far a name is from the public name: glibc has `__GI___libc_read`, `__libc_read`, `__read`
/// and `read` for one function.
fn internality(name: &[u8]) -> usize {
    let public = name.strip_prefix(b"__GI_").unwrap_or(name);
    let underscores = public.iter().take_while(|byte| **byte == b'_').count();
    let is_of_libc = public[underscores..].starts_with(b"libc_");
    usize::from(public.len() < name.len()) * 8 + underscores + usize::from(is_of_libc)
}

#[cfg(test)]
mod tests {
    use super::internality;

    #[test]
    fn of_several_aliases_the_public_name_is_taken() {
        for names in [
            ["__GI___libc_read", "__libc_read", "__read", "read"].as_slice(),
            &["__GI_sched_yield", "__sched_yield", "sched_yield"],
            &["__GI___clone3", "__clone3"],
        ] {
            let best = names.iter().min_by_key(|name| (internality(name.as_bytes()), **name)).unwrap();
            assert_eq!(best, names.last().unwrap());
        }
    }
}
