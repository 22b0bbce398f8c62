//! What objects and columns are made of: `describe`, the list of objects, and the metadata of a query's columns.
//!
//! Clients read few of these members (name, type, whether it can be filtered); the others stand with likely values.

use serde_json::{Value, json};

use super::soql::{Kind, Table};

/// The objects that a query can ask for, with the prefixes of their ids.
pub(super) const OBJECTS: [(&str, &str); 5] = [
    ("EventLogFile", "0AT"),
    ("LoginEvent", "0Ya"),
    ("Organization", "00D"),
    ("User", "005"),
    ("UserPermissionAccess", "0fv"),
];

/// `sobjects/NAME/describe`.
pub(super) fn object(table: &Table, version: u32) -> Value {
    let fields: Vec<Value> = table.columns.iter().map(field).collect();
    let mut described = summary(table.name, version);
    if let Some(members) = described.as_object_mut() {
        members.insert("fields".to_owned(), Value::Array(fields));
        for name in ["actionOverrides", "childRelationships", "recordTypeInfos", "supportedScopes"] {
            members.insert(name.to_owned(), json!([]));
        }
    }
    described
}

/// What the list of objects says of one.
pub(super) fn summary(name: &str, version: u32) -> Value {
    let root = format!("/services/data/v{version}.0/sobjects/{name}");
    let prefix = OBJECTS.iter().find(|(known, _)| *known == name).map(|(_, prefix)| *prefix);
    json!({
        "name": name,
        "label": name,
        "labelPlural": name,
        "keyPrefix": prefix,
        "custom": false,
        "createable": false,
        "updateable": false,
        "deletable": false,
        "layoutable": false,
        "queryable": true,
        "retrieveable": true,
        "searchable": false,
        "triggerable": false,
        "urls": {
            "sobject": root,
            "describe": format!("{root}/describe"),
            "rowTemplate": format!("{root}/{{ID}}"),
        },
    })
}

fn field((name, kind): &(&'static str, Kind)) -> Value {
    // Type, SOAP type, length in characters and in digits.
    let (type_name, soap_type, length, precision) = match kind {
        Kind::Boolean => ("boolean", "xsd:boolean", 0, 0),
        Kind::Id => ("id", "tns:ID", 18, 0),
        Kind::Integer => ("int", "xsd:int", 0, 9),
        Kind::Number => ("double", "xsd:double", 0, 18),
        Kind::Text => ("string", "xsd:string", 255, 0),
        Kind::Time => ("datetime", "xsd:dateTime", 0, 0),
    };
    json!({
        "name": name,
        "label": name,
        "type": type_name,
        "soapType": soap_type,
        "length": length,
        "byteLength": length * 3,
        "precision": precision,
        "scale": 0,
        "digits": 0,
        "nillable": *kind != Kind::Id && *kind != Kind::Boolean,
        "filterable": true,
        "groupable": *kind != Kind::Time,
        "sortable": true,
        "createable": false,
        "updateable": false,
        "calculated": false,
        "custom": false,
        "unique": false,
        "nameField": *name == "Name",
        "referenceTo": [],
        "relationshipName": null,
        "picklistValues": [],
    })
}

/// What `query?columns=true` answers instead of records.
pub(super) fn columns(table: &Table, selected: &[usize], version: u32) -> Value {
    let chosen = selected.iter().filter_map(|&index| table.columns.get(index));
    let metadata: Vec<Value> = chosen.clone().map(column).collect();
    let summary = summary(table.name, version);
    json!({
        "columnMetadata": metadata,
        "entityName": table.name,
        "groupBy": false,
        "idSelected": chosen.clone().any(|(_, kind)| *kind == Kind::Id),
        "keyPrefix": summary.get("keyPrefix"),
    })
}

fn column((name, kind): &(&'static str, Kind)) -> Value {
    json!({
        "aggregate": false,
        "apexType": match kind {
            Kind::Boolean => "Boolean",
            Kind::Id => "Id",
            Kind::Integer => "Integer",
            Kind::Number => "Double",
            Kind::Text => "String",
            Kind::Time => "Datetime",
        },
        "booleanType": *kind == Kind::Boolean,
        "columnName": name,
        "custom": false,
        "displayName": name,
        "foreignKeyName": null,
        "insertable": false,
        "joinColumns": [],
        "numberType": matches!(kind, Kind::Integer | Kind::Number),
        "textType": matches!(kind, Kind::Id | Kind::Text),
        "updatable": false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_tells_its_fields_and_a_query_its_columns() {
        let table = Table { name: "User", columns: vec![("Id", Kind::Id), ("Name", Kind::Text)], rows: Vec::new() };
        let described = object(&table, 60);
        assert_eq!((&described["keyPrefix"], &described["fields"][1]["name"]), (&json!("005"), &json!("Name")));
        assert_eq!(described["fields"][0]["type"], "id");
        let columns = columns(&table, &[1], 60);
        assert_eq!((&columns["entityName"], &columns["idSelected"]), (&json!("User"), &json!(false)));
        assert_eq!(columns["columnMetadata"][0]["columnName"], "Name");
        assert_eq!(columns["columnMetadata"].as_array().unwrap().len(), 1);
    }
}
