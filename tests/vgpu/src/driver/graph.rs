//! Graphs: what a capture noted down, to be executed as often as one likes.

use super::args::Out;
use super::capture;
use super::context;
use super::errors::{INVALID_HANDLE, INVALID_VALUE, Result};
use super::handles::Table;
use super::state::state;
use super::stream::{self, Work};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

static GRAPHS: Table<Graph> = Table::new(6);
static EXECUTABLES: Table<Graph> = Table::new(7);

/// One piece of work and the earlier ones that it needs.
#[derive(Clone)]
pub struct Node {
    /// Indices of nodes before it.
    pub after: Vec<usize>,
    /// What it does.
    pub work: Work,
}

/// A graph, or an executable one.
struct Graph {
    handle: u64,
    context: u64,
    nodes: Arc<Vec<Node>>,
    launches: AtomicU64,
}

/// The handle of a new graph.
pub fn make(context: u64, nodes: Vec<Node>) -> u64 {
    insert(&GRAPHS, context, Arc::new(nodes))
}

fn insert(table: &Table<Graph>, context: u64, nodes: Arc<Vec<Node>>) -> u64 {
    table.insert(|handle| Graph { handle, context, nodes, launches: AtomicU64::new(0) }).handle
}

/// The context dies, and its graphs with it.
pub fn destroy_all(context: u64) {
    GRAPHS.remove_all(|graph| graph.context == context);
    EXECUTABLES.remove_all(|graph| graph.context == context);
}

/// Nodes in an order that their dependencies allow: as captured for seed 0, else one drawn by it. Work that was captured in
/// two streams without an event between them then shows whether it needed one.
fn order(nodes: &[Node], seed: u64) -> Vec<usize> {
    if seed == 0 {
        return (0..nodes.len()).collect();
    }
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut missing: Vec<usize> = nodes.iter().map(|node| node.after.len()).collect();
    let mut ready: Vec<usize> = (0..nodes.len()).filter(|node| missing[*node] == 0).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while !ready.is_empty() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let node = ready.swap_remove((random >> 16) as usize % ready.len());
        order.push(node);
        for (next, _) in nodes.iter().enumerate().filter(|(_, next)| next.after.contains(&node)) {
            missing[next] -= 1;
            if missing[next] == 0 {
                ready.push(next);
            }
        }
    }
    order
}

const AUTO_FREE_ON_LAUNCH: u64 = 1;
const DEVICE_LAUNCH: u64 = 4;

fn instantiate(place: Out<u64>, graph: u64, flags: u64) -> Result {
    context::current()?;
    let graph = GRAPHS.get(graph, INVALID_VALUE)?;
    let device_and_free = AUTO_FREE_ON_LAUNCH | DEVICE_LAUNCH;
    if flags > 15 || flags & device_and_free == device_and_free {
        return Err(INVALID_VALUE);
    }
    place.set(insert(&EXECUTABLES, graph.context, graph.nodes.clone()))
}

api! {
    fn cuGraphInstantiateWithFlags(place: Out<u64>, graph: u64, flags: u64) { instantiate(place, graph, flags) }

    fn cuGraphUpload(graph: u64, stream: u64) {
        stream::by_handle(stream)?;
        EXECUTABLES.get(graph, INVALID_VALUE).map(|_| ())
    }

    fn cuGraphLaunch(graph: u64, stream: u64) {
        let stream = stream::by_handle(stream)?;
        let graph = EXECUTABLES.get(graph, INVALID_VALUE)?;
        capture::refuse_in_stream(&stream)?;
        let launch = graph.launches.fetch_add(1, Ordering::Relaxed);
        let seed = match state().config().seed {
            0 => 0,
            seed => seed.wrapping_add(launch),
        };
        for node in order(&graph.nodes, seed) {
            stream.submit(graph.nodes[node].work.clone())?;
        }
        Ok(())
    }

    /// Number of nodes; the nodes themselves have no handles here, so asking for them finds none.
    fn cuGraphGetNodes(graph: u64, nodes: Out<u64>, count: Out<usize>) {
        let graph = GRAPHS.get(graph, INVALID_VALUE)?;
        if nodes.is_wanted() {
            return Err(super::errors::NOT_SUPPORTED);
        }
        count.set(graph.nodes.len())
    }

    fn cuGraphExecDestroy(graph: u64) { EXECUTABLES.remove(graph, INVALID_HANDLE).map(|_| ()) }
    fn cuGraphDestroy(graph: u64) { GRAPHS.remove(graph, INVALID_HANDLE).map(|_| ()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_respects_what_nodes_wait_for() {
        let node = |after: &[usize]| Node { after: after.to_vec(), work: Arc::new(|| Ok(())) };
        let nodes = [node(&[]), node(&[0]), node(&[0]), node(&[1, 2]), node(&[])];
        assert_eq!(order(&nodes, 0), [0, 1, 2, 3, 4]);
        let mut seen = std::collections::BTreeSet::new();
        for seed in 1..200 {
            let order = order(&nodes, seed);
            let place = |node: usize| order.iter().position(|other| *other == node).unwrap();
            for (index, node) in nodes.iter().enumerate() {
                assert!(node.after.iter().all(|before| place(*before) < place(index)), "{order:?}");
            }
            seen.insert(order);
        }
        assert_eq!(seen.len(), 10, "a diamond and a free node have ten orders");
    }
}
