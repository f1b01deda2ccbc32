//! Sorting. The standard library's sort is compiled anew for each type, some five kilobytes each
//! time, and in a Worker every kilobyte counts. There one merge sort of positions does for all
//! types; natively it is the standard library's, which is faster. Both keep the order of equals, so
//! they give the same.

use std::cmp::Ordering;

/// Sorts, and keeps the order of equals.
#[cfg(not(target_arch = "wasm32"))]
pub fn sort_by<T>(items: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
    items.sort_by(compare);
}

/// Sorts, and keeps the order of equals.
#[cfg(target_arch = "wasm32")]
pub fn sort_by<T>(items: &mut Vec<T>, compare: impl Fn(&T, &T) -> Ordering) {
    sort_by_positions(items, compare);
}

#[cfg(any(test, target_arch = "wasm32"))]
fn sort_by_positions<T>(items: &mut Vec<T>, compare: impl Fn(&T, &T) -> Ordering) {
    let comes_before = |one: usize, other: usize| match (items.get(one), items.get(other)) {
        (Some(one), Some(other)) => compare(one, other) == Ordering::Less,
        (_, None) | (None, _) => false,
    };
    let order = sorted_positions(items.len(), &comes_before);
    let mut taken: Vec<Option<T>> = items.drain(..).map(Some).collect();
    items.extend(
        order
            .into_iter()
            .filter_map(|position| taken.get_mut(position)?.take()),
    );
}

/// Returns the positions of so many items in their order: runs of one are merged to runs of two,
/// those to runs of four, and so on.
#[cfg(any(test, target_arch = "wasm32"))]
fn sorted_positions(count: usize, comes_before: &dyn Fn(usize, usize) -> bool) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    let mut width = 1;
    while width < count {
        let mut merged = Vec::with_capacity(count);
        for runs in order.chunks(width * 2) {
            let (left, right) = runs.split_at_checked(width).unwrap_or((runs, &[]));
            merge(left, right, comes_before, &mut merged);
        }
        order = merged;
        width *= 2;
    }
    order
}

#[cfg(any(test, target_arch = "wasm32"))]
fn merge(
    mut left: &[usize],
    mut right: &[usize],
    comes_before: &dyn Fn(usize, usize) -> bool,
    into: &mut Vec<usize>,
) {
    while let ([first_left, rest_left @ ..], [first_right, rest_right @ ..]) = (left, right) {
        if comes_before(*first_right, *first_left) {
            into.push(*first_right);
            right = rest_right;
        } else {
            into.push(*first_left);
            left = rest_left;
        }
    }
    into.extend_from_slice(left);
    into.extend_from_slice(right);
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::hash;

    #[test]
    fn both_sorts_give_the_same() {
        for seed in 0..300 {
            let count = hash::draw(seed, 0) % 70;
            let items: Vec<(u64, u64)> = (0..count)
                .map(|n| (hash::draw(seed, n + 1) % 9, n))
                .collect();
            let mut expected = items.clone();
            expected.sort_by_key(|(key, _)| *key);
            let mut sorted = items.clone();
            sort_by_positions(&mut sorted, |(a, _), (b, _)| a.cmp(b));
            assert_eq!(sorted, expected, "{seed}");
        }
    }
}
