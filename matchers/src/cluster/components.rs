//! Connected components by union-find with path halving and union by the smaller index (Tarjan 1975).

/// Groups `0..count` by `edges`. Each group is sorted, groups come in the order of their smallest member.
///
/// ```
/// use veridem_matchers::cluster::connected_components;
/// assert_eq!(connected_components(4, [(3, 1)].into_iter()), vec![vec![0], vec![1, 3], vec![2]]);
/// ```
pub fn connected_components(
    count: usize,
    edges: impl Iterator<Item = (usize, usize)>,
) -> Vec<Vec<usize>> {
    let mut parents: Vec<usize> = (0..count).collect();
    for (left, right) in edges {
        let (left, right) = (root(&mut parents, left), root(&mut parents, right));
        parents[left.max(right)] = left.min(right);
    }
    let mut group_of_root = vec![usize::MAX; count];
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for member in 0..count {
        let root = root(&mut parents, member);
        if group_of_root[root] == usize::MAX {
            group_of_root[root] = groups.len();
            groups.push(Vec::new());
        }
        groups[group_of_root[root]].push(member);
    }
    groups
}

fn root(parents: &mut [usize], mut member: usize) -> usize {
    while parents[member] != member {
        parents[member] = parents[parents[member]];
        member = parents[member];
    }
    member
}
