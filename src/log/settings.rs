//! Converts the settings of a component, read from YAML, into the form that log4rs takes.

use serde_value::Value as Out;

use crate::yaml::{Node, Value};

/// The settings in `node`, without the entries named in `leave_out`.
pub(super) fn for_log4rs(node: &Node, leave_out: &[&str]) -> Out {
    match node.value() {
        Value::Nothing => Out::Unit,
        Value::Bool(value) => Out::Bool(*value),
        Value::Integer(value) => match (u64::try_from(*value), i64::try_from(*value)) {
            (Ok(value), _) => Out::U64(value),
            (_, Ok(value)) => Out::I64(value),
            _ => Out::String(value.to_string()),
        },
        Value::Float(value) => Out::F64(*value),
        Value::Text(value) => Out::String(value.clone()),
        Value::List(nodes) => Out::Seq(nodes.iter().map(|node| for_log4rs(node, &[])).collect()),
        Value::Map(entries) => Out::Map(
            entries
                .iter()
                .filter(|entry| !leave_out.contains(&entry.key()))
                .map(|entry| (Out::String(entry.key().to_owned()), for_log4rs(entry.node(), &[])))
                .collect(),
        ),
    }
}
