//! Pure: what the output of the stock tools owes to Java: the order of a `HashMap`.

/// Sorts items as `HashMap` iterates over them after they were put in this order into a map that
/// was made for `capacity` entries (16 when none is given).
pub fn hash_map_order<T>(items: &mut [T], capacity: usize, key: impl Fn(&T) -> &str) {
    let mut table = capacity.next_power_of_two().max(1);
    while items.len() > table * 3 / 4 {
        table *= 2;
    }
    let mask = table as u32 - 1;
    items.sort_by_key(|item| {
        let hash = hash_code(key(item)).cast_unsigned();
        (hash ^ (hash >> 16)) & mask
    });
}

/// `String.hashCode`.
#[must_use]
pub fn hash_code(text: &str) -> i32 {
    text.encode_utf16().fold(0, |hash: i32, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_the_stock_tool() {
        // As kafka-topics.sh --describe printed these four topics.
        let mut names = ["t1", "t2.x_y", "t4", "t6"];
        hash_map_order(&mut names, 4, |name| name);
        assert_eq!(names, ["t4", "t6", "t2.x_y", "t1"]);
        let mut configs = ["retention.ms", "cleanup.policy"];
        hash_map_order(&mut configs, 16, |name| name);
        assert_eq!(configs, ["cleanup.policy", "retention.ms"]);
    }
}
