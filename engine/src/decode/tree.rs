//! A trie of tokens that hangs below the end of a sequence, in the form a pass takes it.

use crate::model::TreeNode;
use std::collections::HashMap;

/// A place in a tree: `None` is the end of the sequence below which the tree hangs, `Some` a node.
pub(super) type Place = Option<u32>;

/// Nodes with parents before children; no two children of one place have the same token.
#[derive(Debug, Default)]
pub(super) struct Tree {
    nodes: Vec<TreeNode>,
    children: HashMap<(Place, u32), u32>,
}

impl Tree {
    pub fn nodes(&self) -> &[TreeNode] {
        &self.nodes
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn child(&self, place: Place, token: u32) -> Place {
        self.children.get(&(place, token)).copied()
    }

    /// The child of `place` by `token`, made if absent.
    pub fn grow(&mut self, place: Place, token: u32) -> u32 {
        let next = self.nodes.len() as u32;
        let node = *self.children.entry((place, token)).or_insert(next);
        if node == next {
            self.nodes.push(TreeNode { token, parent: place });
        }
        node
    }

    /// Nodes that `path` would add.
    pub fn missing(&self, path: &[u32]) -> usize {
        let mut place = None;
        let known = path.iter().take_while(|&&token| {
            place = self.child(place, token);
            place.is_some()
        });
        path.len() - known.count()
    }

    /// Inserts `path` from the root; the node of each of its tokens.
    pub fn insert(&mut self, path: &[u32]) -> Vec<u32> {
        let mut place = None;
        let mut nodes = Vec::with_capacity(path.len());
        for &token in path {
            let node = self.grow(place, token);
            nodes.push(node);
            place = Some(node);
        }
        nodes
    }
}
