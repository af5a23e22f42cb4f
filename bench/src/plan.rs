//! The plan of a statement, as the server itself had it: PostgreSQL writes it into its log, and here its shape is read, the
//! nodes and their indexes, without a figure.

use serde_json::Value;

/// What the app role's connections do from now on: each statement's plan goes into the log. As a superuser.
pub(crate) const EXPLAIN: &str =
    "ALTER ROLE studio_app SET session_preload_libraries = 'auto_explain';
    ALTER ROLE studio_app SET auto_explain.log_min_duration = 0;
    ALTER ROLE studio_app SET auto_explain.log_format = 'json'";

/// The same connections, as they were.
pub(crate) const QUIET: &str = "ALTER ROLE studio_app RESET session_preload_libraries;
    ALTER ROLE studio_app RESET auto_explain.log_min_duration;
    ALTER ROLE studio_app RESET auto_explain.log_format";

/// The shape of the last plan in a log of a statement that has these words.
pub(crate) fn last(log: &str, words: &str) -> Option<String> {
    let plans = log.split("  plan:\n").skip(1);
    let json = plans.filter_map(|text| {
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
        values.next()?.ok()
    });
    let plan = json
        .filter(|plan| {
            plan["Query Text"]
                .as_str()
                .is_some_and(|sql| sql.contains(words))
        })
        .last()?;
    let mut shape = String::new();
    draw(&plan["Plan"], 0, &mut shape);
    Some(shape)
}

fn draw(node: &Value, depth: usize, shape: &mut String) {
    let text = |name: &str| node[name].as_str();
    let mut line = "  ".repeat(depth);
    if let Some(name) = text("Subplan Name") {
        line.push_str(&format!("{name}: "));
    }
    line.push_str(text("Node Type").unwrap_or("?"));
    for (name, word) in [
        ("Join Type", ""),
        ("Index Name", " by "),
        ("Relation Name", " of "),
        ("CTE Name", " of "),
        ("Function Name", " of "),
    ] {
        if let Some(value) = text(name) {
            match word {
                "" => line.push_str(&format!(" ({})", value.to_lowercase())),
                word => line.push_str(&format!("{word}{value}")),
            }
        }
    }
    shape.push_str(&line);
    shape.push('\n');
    for inner in node["Plans"].as_array().into_iter().flatten() {
        draw(inner, depth + 1, shape);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_plan_of_the_statement_is_drawn_without_figures() {
        let plan = |sql: &str, index: &str| {
            format!(
                "2031 LOG:  duration: 1.2 ms  plan:\n\t{{\"Query Text\": \"{sql}\", \"Plan\": {{\"Node Type\": \"Nested Loop\", \"Join Type\": \"Left\",
                 \"Total Cost\": 12.3, \"Plans\": [{{\"Node Type\": \"Index Scan\", \"Index Name\": \"{index}\", \"Relation Name\": \"t\"}}]}}}}\n2031 LOG:  more\n"
            )
        };
        let log = [
            plan("asked", "one"),
            plan("asked", "two"),
            plan("other", "three"),
        ]
        .concat();
        assert_eq!(
            last(&log, "asked").unwrap(),
            "Nested Loop (left)\n  Index Scan by two of t\n"
        );
        assert_eq!(last(&log, "nothing"), None);
    }
}
