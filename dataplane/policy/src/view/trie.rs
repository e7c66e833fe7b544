//! A radix tree over path prefixes: one walk down a path finds every route that asks for a prefix of it.

/// What a route asks of the byte after its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// Nothing (Istio `prefix`).
    Anything,
    /// A slash, or the path's end (Gateway API `PathPrefix`).
    Boundary,
    /// A slash (a bytewise prefix that ends in one, without it).
    Slash,
    /// The path's end (an exact path).
    End,
}

/// A route at the node of its key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub route: u32,
    pub after: After,
}

/// The tree. Keys are inserted in the order of their routes.
pub(crate) struct Trie {
    nodes: Vec<Node>,
    /// Keys are lower case and paths are read as such.
    ignore_case: bool,
}

struct Node {
    /// Bytes between the parent's key and this one's; empty only for the root.
    label: Box<[u8]>,
    /// By first byte of their labels, sorted.
    children: Vec<(u8, u32)>,
    /// Ascending routes.
    entries: Vec<Entry>,
}

impl Trie {
    pub(crate) fn new(ignore_case: bool) -> Trie {
        Trie { nodes: vec![Node::new(b"")], ignore_case }
    }

    pub(crate) fn insert(&mut self, key: &[u8], route: u32, after: After) {
        let folded;
        let key = if self.ignore_case {
            folded = key.to_ascii_lowercase();
            &folded[..]
        } else {
            key
        };
        let node = self.node_of(key);
        self.nodes[node].entries.push(Entry { route, after });
    }

    /// Gives back the room that building left.
    pub(crate) fn shrink(&mut self) {
        self.nodes.shrink_to_fit();
        for node in &mut self.nodes {
            node.children.shrink_to_fit();
            node.entries.shrink_to_fit();
        }
    }

    /// Calls `visit` with the routes of each node whose key is a prefix of `path`, from short to long, and the shape of what follows the key
    /// (to be tested with [`Entry::allows`]).
    #[inline]
    pub(crate) fn walk(&self, path: &[u8], visit: impl FnMut(&[Entry], Following)) {
        // Most hosts have no such keys: they do not pay for the call.
        if self.nodes.len() > 1 || !self.nodes[0].entries.is_empty() {
            self.walk_nodes(path, visit);
        }
    }

    fn walk_nodes(&self, path: &[u8], mut visit: impl FnMut(&[Entry], Following)) {
        let mut node = &self.nodes[0];
        let mut rest = path;
        loop {
            if !node.entries.is_empty() {
                visit(&node.entries, Following::of(rest));
            }
            let Some(first) = rest.first() else { return };
            let Some(child) = node.child(self.fold(*first)) else { return };
            node = &self.nodes[child];
            let Some((start, tail)) = rest.split_at_checked(node.label.len()) else { return };
            let equal = if self.ignore_case { start.eq_ignore_ascii_case(&node.label) } else { start == &*node.label };
            if !equal {
                return;
            }
            rest = tail;
        }
    }

    fn fold(&self, byte: u8) -> u8 {
        if self.ignore_case { byte.to_ascii_lowercase() } else { byte }
    }

    /// The node of `key`, made if there is none.
    fn node_of(&mut self, key: &[u8]) -> usize {
        let (mut at, mut rest) = (0, key);
        while let Some(first) = rest.first() {
            let Some(child) = self.nodes[at].child(*first) else { return self.add(at, rest) };
            let label = &self.nodes[child].label;
            let common = label.iter().zip(rest).take_while(|(a, b)| a == b).count();
            if common < label.len() {
                self.split(child, common);
            }
            (at, rest) = (child, &rest[common..]);
        }
        at
    }

    fn add(&mut self, parent: usize, label: &[u8]) -> usize {
        let child = self.nodes.len();
        self.nodes.push(Node::new(label));
        self.nodes[parent].attach(label[0], child);
        child
    }

    /// Cuts the node's label after `common` bytes: the node keeps the front and its place, a new child takes all the rest.
    fn split(&mut self, at: usize, common: usize) {
        let lower = self.nodes.len();
        let node = &mut self.nodes[at];
        let label = std::mem::take(&mut node.label);
        let (front, back) = label.split_at(common);
        let tail = Node {
            label: back.into(),
            children: std::mem::take(&mut node.children),
            entries: std::mem::take(&mut node.entries),
        };
        node.label = front.into();
        node.attach(back[0], lower);
        self.nodes.push(tail);
    }
}

impl Node {
    fn new(label: &[u8]) -> Node {
        Node { label: label.into(), children: Vec::new(), entries: Vec::new() }
    }

    #[inline]
    fn child(&self, first: u8) -> Option<usize> {
        let found = self.children.binary_search_by_key(&first, |(byte, _)| *byte).ok()?;
        Some(self.children[found].1 as usize)
    }

    fn attach(&mut self, first: u8, child: usize) {
        let place = self.children.partition_point(|(byte, _)| *byte < first);
        // Node numbers fit: there are at most two nodes a route, and routes are counted in u32.
        self.children.insert(place, (first, child as u32));
    }
}

/// What stands behind a key in a path.
#[derive(Clone, Copy)]
pub(crate) enum Following {
    Nothing,
    Slash,
    Other,
}

impl Following {
    fn of(rest: &[u8]) -> Following {
        match rest.first() {
            None => Following::Nothing,
            Some(b'/') => Following::Slash,
            Some(_) => Following::Other,
        }
    }
}

impl Entry {
    #[inline]
    pub(crate) fn allows(self, following: Following) -> bool {
        match self.after {
            After::Anything => true,
            After::Boundary => !matches!(following, Following::Other),
            After::Slash => matches!(following, Following::Slash),
            After::End => matches!(following, Following::Nothing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(trie: &Trie, path: &str) -> Vec<u32> {
        let mut routes = Vec::new();
        trie.walk(path.as_bytes(), |entries, following| {
            routes.extend(entries.iter().filter(|e| e.allows(following)).map(|e| e.route));
        });
        routes
    }

    #[test]
    fn prefixes_of_a_path() {
        let mut trie = Trie::new(false);
        for (route, (key, after)) in [
            ("/api/v1", After::Anything),
            ("/api/v2", After::Boundary),
            ("/api", After::Boundary),
            ("", After::Boundary),
            ("/api/v1/items", After::End),
            ("/", After::Anything),
            ("/ap", After::Anything),
        ]
        .into_iter()
        .enumerate()
        {
            trie.insert(key.as_bytes(), route as u32, after);
        }
        for (path, routes) in [
            ("/", &[3, 5][..]),
            ("", &[3]),
            ("*", &[]),
            ("/api", &[3, 5, 6, 2]),
            ("/apix", &[3, 5, 6]),
            ("/api/v1", &[3, 5, 6, 2, 0]),
            ("/api/v1x", &[3, 5, 6, 2, 0]),
            ("/api/v2x", &[3, 5, 6, 2]),
            ("/api/v2/x", &[3, 5, 6, 2, 1]),
            ("/api/v1/items", &[3, 5, 6, 2, 0, 4]),
            ("/api/v1/items/1", &[3, 5, 6, 2, 0]),
            ("/API", &[3, 5]),
        ] {
            assert_eq!(found(&trie, path), routes, "{path}");
        }
    }

    #[test]
    fn without_case() {
        let mut trie = Trie::new(true);
        trie.insert(b"/Api/One", 0, After::End);
        trie.insert(b"/aPI", 1, After::Boundary);
        assert_eq!(found(&trie, "/API/one"), [1, 0]);
        assert_eq!(found(&trie, "/api/two"), [1]);
    }
}
