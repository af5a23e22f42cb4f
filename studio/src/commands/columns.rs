use serde_json::{Value, json};

use super::Output;
use crate::resources::{Columns, tables};

/// Writes every column with its class, and how long the rows of its table are kept.
pub(super) fn run(output: &Output) -> u8 {
    let mut text = String::new();
    let mut documents = Vec::new();
    for table in tables() {
        documents.push(document(table));
        let kept = json!(table.retention);
        text += &format!("{} {kept}\n", table.table);
        for (column, class) in table.columns {
            text += &format!("  {column} {}\n", class.as_str());
        }
    }
    output.result(text.trim_end(), &json!({ "tables": documents }));
    0
}

fn document(table: &Columns) -> Value {
    let columns = table.columns.iter();
    let columns: Vec<Value> = columns
        .map(|(column, class)| json!({ "column": column, "class": class.as_str() }))
        .collect();
    json!({ "table": table.table, "retention": table.retention, "columns": columns })
}
