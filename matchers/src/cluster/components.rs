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
    let mut parents: Vec<u32> = (0..u32::try_from(count).expect("at most 2^32 records")).collect();
    for (left, right) in edges {
        let (left, right) = (root(&mut parents, left), root(&mut parents, right));
        parents[left.max(right) as usize] = left.min(right);
    }
    let mut group_of_root = vec![u32::MAX; count];
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for member in 0..count {
        let group = &mut group_of_root[root(&mut parents, member) as usize];
        if *group == u32::MAX {
            *group = groups.len() as u32;
            groups.push(Vec::new());
        }
        groups[*group as usize].push(member);
    }
    groups
}

fn root(parents: &mut [u32], member: usize) -> u32 {
    let mut member = member as u32;
    while parents[member as usize] != member {
        parents[member as usize] = parents[parents[member as usize] as usize];
        member = parents[member as usize];
    }
    member
}
