//! Update masks: which fields of a resource a request writes. Omitted, those that are set in it; `*`, all of them.

use std::collections::BTreeSet;

use prost_types::FieldMask;

use super::convert::Faults;

/// The fields that are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    paths: BTreeSet<String>,
}

/// One field that may be written, and whether the request sets it.
pub type Writable = (&'static str, bool);

impl Mask {
    /// Reads a mask. A path that is none of `writable` is noted as a fault, unless it lies inside one of `open` (a map whose
    /// entries may be written one by one).
    pub fn read(mask: Option<&FieldMask>, writable: &[Writable], open: &[&str], faults: &mut Faults) -> Self {
        let Some(mask) = mask.filter(|m| !m.paths.is_empty()) else {
            return Self {
                paths: writable.iter().filter(|(_, set)| *set).map(|(path, _)| (*path).to_owned()).collect(),
            };
        };
        let all = || writable.iter().map(|(path, _)| (*path).to_owned());
        let mut paths = BTreeSet::new();
        for path in &mask.paths {
            let inside = path.split_once('.').is_some_and(|(map, key)| open.contains(&map) && !key.is_empty());
            match path.as_str() {
                "*" if mask.paths.len() == 1 => paths.extend(all()),
                known if inside || writable.iter().any(|(w, _)| *w == known) => {
                    paths.insert(known.to_owned());
                }
                _ => {
                    let names = all().collect::<Vec<_>>().join(", ");
                    faults
                        .note("update_mask", format!("{path:?} cannot be written; what can be is {names}, or * alone"));
                }
            }
        }
        Self { paths }
    }

    /// Every field: what a new resource writes.
    #[must_use]
    pub fn all(writable: &[Writable]) -> Self {
        Self { paths: writable.iter().map(|(path, _)| (*path).to_owned()).collect() }
    }

    /// Whether the field is written.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.paths.contains(path)
    }

    /// The value, if its field is written.
    pub fn take<T>(&self, path: &str, value: T) -> Option<T> {
        self.has(path).then_some(value)
    }

    /// The entries of a map that are written one by one.
    pub fn inside<'a>(&'a self, map: &'a str) -> impl Iterator<Item = &'a str> {
        self.paths.iter().filter_map(move |path| path.split_once('.').filter(|(of, _)| *of == map).map(|(_, key)| key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITABLE: [Writable; 3] = [("name", true), ("locale", false), ("attributes", false)];

    fn read(paths: &[&str]) -> (Mask, usize) {
        let mask = FieldMask { paths: paths.iter().map(|p| (*p).to_owned()).collect() };
        let mut faults = Faults::default();
        let mask = Mask::read(Some(&mask), &WRITABLE, &["attributes"], &mut faults);
        (mask, faults.len())
    }

    #[test]
    fn omitted_it_is_what_is_set_and_a_star_is_all() {
        let omitted = Mask::read(None, &WRITABLE, &[], &mut Faults::default());
        assert_eq!((omitted.has("name"), omitted.has("locale")), (true, false));
        let (all, faults) = read(&["*"]);
        assert_eq!((all.has("name"), all.has("locale"), faults), (true, true, 0));
    }

    #[test]
    fn unknown_paths_and_a_star_among_others_are_refused() {
        assert_eq!(read(&["name", "create_time", "nothing"]).1, 2);
        assert_eq!(read(&["name", "*"]).1, 1);
        assert_eq!(read(&["name.x"]).1, 1);
    }

    #[test]
    fn entries_of_an_open_map_are_written_one_by_one() {
        let (mask, faults) = read(&["attributes.ward", "attributes.zone"]);
        assert_eq!((mask.inside("attributes").collect::<Vec<_>>(), faults), (vec!["ward", "zone"], 0));
    }
}
