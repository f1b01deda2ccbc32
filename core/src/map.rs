//! Maps in the order of their keys. The standard library's tree is compiled anew for each type of
//! keys and values, some five kilobytes each time, and in a Worker every kilobyte counts. There a
//! sorted list does for them: an isolate has few fetches under way, addresses that guess and rules
//! of queries, and never more than ten thousand of each; natively it is the tree. Both have the same
//! order and the same names, so they give the same.

/// A map in the order of its keys.
#[cfg(not(target_arch = "wasm32"))]
pub type Map<K, V> = std::collections::BTreeMap<K, V>;

/// A map in the order of its keys.
#[cfg(target_arch = "wasm32")]
pub type Map<K, V> = list::List<K, V>;

/// The list.
#[cfg(any(test, target_arch = "wasm32"))]
pub mod list {
    use std::borrow::Borrow;

    /// A sorted list of keys, each with its value.
    #[derive(Debug)]
    pub struct List<K, V>(Vec<(K, V)>);

    impl<K, V> Default for List<K, V> {
        fn default() -> Self {
            Self::new()
        }
    }

    impl<K, V> List<K, V> {
        /// Makes one without a key.
        pub const fn new() -> Self {
            Self(Vec::new())
        }

        /// Counts the keys.
        pub fn len(&self) -> usize {
            self.0.len()
        }

        /// Returns whether there is no key.
        pub fn is_empty(&self) -> bool {
            self.0.is_empty()
        }

        /// Goes through all of it in order.
        pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
            self.0.iter().map(|(key, value)| (key, value))
        }

        /// Goes through the values in the order of their keys.
        pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
            self.0.iter_mut().map(|(_, value)| value)
        }

        /// Forgets what is not to be kept.
        pub fn retain(&mut self, mut keeps: impl FnMut(&K, &mut V) -> bool) {
            self.0.retain_mut(|(key, value)| keeps(key, value));
        }
    }

    impl<K: Ord, V> List<K, V> {
        /// Returns the value of a key.
        pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
        where
            K: Borrow<Q>,
        {
            let position = self.find(key).ok()?;
            self.0.get(position).map(|(_, value)| value)
        }

        /// Returns the value of a key.
        pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
        where
            K: Borrow<Q>,
        {
            let position = self.find(key).ok()?;
            self.0.get_mut(position).map(|(_, value)| value)
        }

        /// Returns whether a key is there.
        pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
        where
            K: Borrow<Q>,
        {
            self.find(key).is_ok()
        }

        /// Gives a key a value. Returns the one that it had.
        pub fn insert(&mut self, key: K, value: V) -> Option<V> {
            match self.find(&key) {
                Ok(position) => {
                    let (_, known) = self.0.get_mut(position)?;
                    Some(std::mem::replace(known, value))
                }
                Err(position) => {
                    self.0.insert(position, (key, value));
                    None
                }
            }
        }

        /// Takes a key and its value out.
        pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
        where
            K: Borrow<Q>,
        {
            let position = self.find(key).ok()?;
            let (_, value) = self.0.remove(position);
            Some(value)
        }

        /// Returns where a key is, or where it would be.
        fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
        where
            K: Borrow<Q>,
        {
            self.0
                .binary_search_by(|(known, _)| known.borrow().cmp(key))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::list::List;
    use crate::hash;

    #[test]
    fn a_list_does_what_the_tree_does() {
        let mut list = List::new();
        let mut tree = BTreeMap::new();
        assert!(list.is_empty());
        for step in 0..4000 {
            let key = hash::draw(1, step) % 97;
            match hash::draw(2, step) % 5 {
                0 | 1 => assert_eq!(list.insert(key, step), tree.insert(key, step)),
                2 => assert_eq!(list.remove(&key), tree.remove(&key)),
                3 => {
                    assert_eq!(list.get_mut(&key), tree.get_mut(&key));
                    assert_eq!(list.contains_key(&key), tree.contains_key(&key));
                }
                _ if step % 100 == 4 => {
                    list.retain(|key, value| (*key + *value) % 3 > 0);
                    tree.retain(|key, value| (*key + *value) % 3 > 0);
                }
                _ => assert_eq!(list.get(&key), tree.get(&key)),
            }
            assert_eq!(list.len(), tree.len());
            assert!(list.iter().eq(&tree), "{step}");
        }
        assert!(list.values_mut().eq(tree.values_mut()));
    }
}
