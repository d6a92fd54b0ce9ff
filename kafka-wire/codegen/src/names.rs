//! Pure: Kafka's names as Rust names.

/// `TopicName` as `topic_name`; `KRaft` is one word.
#[must_use]
pub fn snake(name: &str) -> String {
    let name = name.replace("KRaft", "Kraft");
    let letters: Vec<char> = name.chars().collect();
    let mut result = String::new();
    for (index, &letter) in letters.iter().enumerate() {
        let after_lower = index > 0 && !letters[index - 1].is_ascii_uppercase();
        let before_lower = letters.get(index + 1).is_some_and(char::is_ascii_lowercase);
        if index > 0 && letter.is_ascii_uppercase() && (after_lower || before_lower) {
            result.push('_');
        }
        result.push(letter.to_ascii_lowercase());
    }
    result
}

/// The name of a struct's field: [`snake`], raw where Rust reserves the word.
#[must_use]
pub fn field(name: &str) -> String {
    let name = snake(name);
    if matches!(name.as_str(), "type" | "match") {
        format!("r#{name}")
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snake_case() {
        for (kafka, ours) in [
            ("isKRaftController", "is_kraft_controller"),
            ("V3AndBelowTopics", "v3_and_below_topics"),
            ("ResultsByTopicV3AndBelow", "results_by_topic_v3_and_below"),
            ("V0Host", "v0_host"),
            ("LeaderAndIsr", "leader_and_isr"),
            ("timeoutMs", "timeout_ms"),
        ] {
            assert_eq!(snake(kafka), ours);
        }
        assert_eq!(field("Type"), "r#type");
    }
}
